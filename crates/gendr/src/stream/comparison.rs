//! The result compared with its input while it is written.

use gendr_image::{ColorSpace, Planes, Rect, Resampling, Resize};

use super::{
    bands,
    row_buffer::RowBuffer,
    source::{Enlarged, Source},
};
use crate::{Result, drift::DriftMap, drift::difference};

/// Scales the result down band by band and keeps how far it lies from the input.
pub(super) struct Comparison {
    input: Enlarged,
    space: Option<ColorSpace>,
    alpha: Option<Planes>,
    resize: Resize,
    buffer: RowBuffer,
    /// Rows of the map, which are known from the top.
    map: Vec<f32>,
    done: usize,
}

impl Comparison {
    /// Both pictures are compared at the smaller of their sizes.
    pub(super) fn new(
        source: Source,
        space: Option<ColorSpace>,
        alpha: Option<&Planes>,
        target: (usize, usize),
    ) -> Result<Self> {
        let input = source.size();
        let size = (input.0.min(target.0), input.1.min(target.1));
        let alpha = alpha.map(|alpha| gendr_image::resize(alpha, size.0, size.1, Resampling::PILLOW_BICUBIC));
        Ok(Self {
            input: Enlarged::by(source, size, Resampling::PILLOW_BICUBIC)?,
            space,
            alpha: alpha.transpose()?,
            resize: Resize::to_size(target, size, Resampling::PILLOW_BICUBIC)?,
            buffer: RowBuffer::new(3, target.0),
            map: Vec::new(),
            done: 0,
        })
    }

    /// Takes the next rows of the result, in its own colour space.
    pub(super) fn push(&mut self, band: &Planes) -> Result<()> {
        self.buffer.push(band);
        let (width, height) = self.resize.output_size();
        for rows in bands(self.done..height) {
            let window = Rect { x: 0, y: rows.start, width, height: rows.len() };
            let needed = self.resize.source_of(window);
            if needed.y + needed.height > self.buffer.end() {
                break;
            }
            let part = self.buffer.window(needed.y..needed.y + needed.height)?;
            let result = self.resize.window(&part, (0, needed.y), window)?;
            let mut input = self.input.rows(rows.clone())?;
            if let Some(space) = &self.space {
                space.from_srgb(&mut input);
            }
            let alpha =
                self.alpha.as_ref().map(|alpha| alpha.crop(0, rows.start, width, rows.len())).transpose()?;
            self.map.extend_from_slice(difference(&input, &result, alpha.as_ref()).data());
            self.done = rows.end;
            self.buffer.drop_before(needed.y);
        }
        Ok(())
    }

    /// The whole map.
    pub(super) fn end(self) -> Result<DriftMap> {
        let (width, height) = self.resize.output_size();
        Ok(DriftMap::of(Planes::from_vec(1, height, width, self.map)?))
    }
}
