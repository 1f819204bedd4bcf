//! Rows of the input, from the file as they are needed.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use gendr_image::{ColorSpace, Limits, Picture, Planes, Rect, Resampling, Resize, StripReader};

use super::row_buffer::RowBuffer;
use crate::{Error, Result, restore::visible_color};

/// Rows read at a time.
const BAND: usize = 64;

/// The input's visible colours in sRGB.
pub(super) struct Source {
    path: PathBuf,
    limits: Limits,
    space: Option<ColorSpace>,
    size: (usize, usize),
    part: Part,
    rows: Rows,
}

/// Which part of the colours is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All there is.
    All,
    /// What networks know, clamped to `[0, 1]`.
    Within,
    /// The rest.
    Beyond,
}

enum Rows {
    /// From top to bottom out of the file; going back opens it again.
    Strips { reader: Box<StripReader>, buffer: RowBuffer },
    /// What lies under transparency is filled from all around it, which needs the whole.
    Whole(Arc<Planes>),
}

impl Source {
    /// Rows out of a file that `reader` was just opened for.
    pub(super) fn strips(path: &Path, limits: &Limits, reader: StripReader) -> Self {
        let (space, size) = (reader.header().color_space(), reader.size());
        let rows = Rows::Strips { reader: Box::new(reader), buffer: RowBuffer::new(3, size.0) };
        Self { path: path.to_owned(), limits: *limits, space, size, part: Part::All, rows }
    }

    /// Rows of a picture that was read whole.
    pub(super) fn whole(path: &Path, limits: &Limits, picture: &Picture) -> Self {
        let (space, size) = (picture.color_space(), (picture.width(), picture.height()));
        let mut color = visible_color(picture);
        if let Some(space) = &space {
            space.to_srgb(&mut color);
        }
        let rows = Rows::Whole(Arc::new(color));
        Self { path: path.to_owned(), limits: *limits, space, size, part: Part::All, rows }
    }

    /// The same rows for another reader, who may be elsewhere, and a part of their colours.
    pub(super) fn again(&self, part: Part) -> Result<Self> {
        let rows = match &self.rows {
            Rows::Strips { .. } => {
                let reader = Box::new(StripReader::open(&self.path, &self.limits)?);
                Rows::Strips { reader, buffer: RowBuffer::new(3, self.size.0) }
            }
            Rows::Whole(color) => Rows::Whole(Arc::clone(color)),
        };
        Ok(Self { path: self.path.clone(), space: self.space.clone(), part, rows, ..*self })
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Rows `wanted`. Rows before them are let go of.
    ///
    /// # Errors
    /// Those of reading the file.
    pub(super) fn rows(&mut self, wanted: Range<usize>) -> Result<Planes> {
        let mut band = match &mut self.rows {
            Rows::Whole(color) => color.crop(0, wanted.start, self.size.0, wanted.len())?,
            Rows::Strips { reader, buffer } => {
                if buffer.is_past(wanted.start) {
                    **reader = StripReader::open(&self.path, &self.limits)?;
                    buffer.restart();
                }
                while buffer.end() < wanted.end {
                    let band = reader.read(BAND).map_err(|error| Error::from(error).with_path(&self.path))?;
                    let Some(mut band) = band else { break };
                    if let Some(space) = &self.space {
                        space.to_srgb(&mut band.color);
                    }
                    buffer.push(&band.color);
                    buffer.drop_before(wanted.start);
                }
                buffer.drop_before(wanted.start);
                buffer.window(wanted)?
            }
        };
        Ok(match self.part {
            Part::All => band,
            Part::Within => {
                band.split_beyond();
                band
            }
            Part::Beyond => {
                let nothing = Planes::filled(3, band.height(), band.width(), 0.0);
                band.split_beyond().unwrap_or(nothing)
            }
        })
    }
}

/// The input at another size, a band of rows at a time.
pub(super) struct Enlarged {
    source: Source,
    resize: Resize,
}

impl Enlarged {
    /// The restorer's own enlargement.
    pub(super) fn new(source: Source, size: (usize, usize)) -> Result<Self> {
        Self::by(source, size, Resampling::TORCH_BICUBIC)
    }

    /// Another way of resampling.
    pub(super) fn by(source: Source, size: (usize, usize), resampling: Resampling) -> Result<Self> {
        let resize = Resize::to_size(source.size(), size, resampling)?;
        Ok(Self { source, resize })
    }

    /// Width and height before.
    pub(super) fn input_size(&self) -> (usize, usize) {
        self.source.size()
    }

    /// Whole rows.
    pub(super) fn rows(&mut self, rows: Range<usize>) -> Result<Planes> {
        let width = self.resize.output_size().0;
        let band = Rect { x: 0, y: rows.start, width, height: rows.len() };
        let needed = self.resize.source_of(band);
        let part = self.source.rows(needed.y..needed.y + needed.height)?;
        Ok(self.resize.window(&part, (0, needed.y), band)?)
    }

    /// Rectangles that share their rows.
    pub(super) fn windows(&mut self, rows: Range<usize>, columns: &[Range<usize>]) -> Result<Vec<Planes>> {
        let width = self.resize.output_size().0;
        let needed = self.resize.source_of(Rect { x: 0, y: rows.start, width, height: rows.len() });
        let part = self.source.rows(needed.y..needed.y + needed.height)?;
        let window = |columns: &Range<usize>| {
            let window = Rect { x: columns.start, y: rows.start, width: columns.len(), height: rows.len() };
            Ok(self.resize.window(&part, (0, needed.y), window)?)
        };
        columns.iter().map(window).collect()
    }
}
