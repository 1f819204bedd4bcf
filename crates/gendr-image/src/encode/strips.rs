//! Files written strip by strip, for pictures larger than memory.

use std::io::{Seek, Write};

use super::{
    EncodeOptions, check_size, choose_depth, failed, left, png, prepare_metadata, space_to_leave,
    tiff::TiffWriter,
};
use crate::{
    ColorSpace, Depth, Error, Metadata, Notice, OutputFormat, Picture, Planes, Result,
    raster::{Layout, Raster},
};

/// Rows that PNG's compressor gathers into one chunk, in bytes.
const CHUNK: usize = 1 << 20;

/// Writes a PNG or TIFF from top to bottom, in strips of any height. Write to [`AtomicFile::handle`](crate::AtomicFile::handle)
/// for a file that appears when it is whole; writes are large, so nothing is gained by a buffer, which might hide an error.
pub struct StripWriter<W: Write + Seek + 'static> {
    file: Target<W>,
    width: usize,
    height: usize,
    rows: usize,
    grey: bool,
    alpha: bool,
    depth: Depth,
    /// The space that colours must leave for sRGB.
    space: Option<ColorSpace>,
}

enum Target<W: Write + Seek + 'static> {
    Png(Box<::png::StreamWriter<'static, W>>),
    Tiff(TiffWriter<W>, Box<Metadata>),
}

impl<W: Write + Seek + 'static> StripWriter<W> {
    /// Begins a file of `size`, width and height, with the kind of samples and the metadata of `like`, whose own size does
    /// not matter. Also returns what was dropped or changed for the format.
    ///
    /// # Errors
    /// An unsupported error for another format than PNG and TIFF or a size beyond them, an I/O error where writing fails.
    pub fn new(
        target: W,
        like: &Picture,
        size: (usize, usize),
        options: &EncodeOptions,
    ) -> Result<(Self, Vec<Notice>)> {
        let (width, height) = size;
        if width == 0 || height == 0 {
            return Err(Error::argument("a picture without pixels cannot be written"));
        }
        check_size(options.format, width, height)?;
        let mut notices = Vec::new();
        let mut metadata = prepare_metadata(like, size, options, &mut notices);
        let space = space_to_leave(like, options.format, &mut metadata, &mut notices);
        let depth = choose_depth(like.depth, options, &mut notices);
        let (grey, alpha) = (like.grey, like.alpha.is_some());
        let layout = Layout::new(grey, alpha);
        let size = (width as u32, height as u32);
        let file = match options.format {
            OutputFormat::Png => {
                let writer = png::begin(target, size, layout, depth, &metadata).map_err(failed)?;
                Target::Png(Box::new(writer.into_stream_writer_with_size(CHUNK).map_err(failed)?))
            }
            OutputFormat::Tiff => {
                Target::Tiff(TiffWriter::new(target, size, layout, depth, &metadata)?, Box::new(metadata))
            }
            other => {
                let name = other.format().name();
                return Err(Error::unsupported(format!("{name} cannot be written in strips"))
                    .with_hint("choose PNG or TIFF"));
            }
        };
        Ok((Self { file, width, height, rows: 0, grey, alpha, depth, space }, notices))
    }

    /// Appends the rows of a strip: colour, `[3, rows, width]`, and opacity, `[1, rows, width]`, where there is one.
    ///
    /// # Errors
    /// An argument error for a strip of another width, without the opacity announced or beyond the height; a resource
    /// error where the disk is full, an I/O error where writing fails.
    pub fn write(&mut self, color: &Planes, alpha: Option<&Planes>) -> Result<()> {
        let fits = |planes: &Planes| (planes.width(), planes.height()) == (self.width, color.height());
        if !fits(color)
            || color.channels() != 3
            || alpha.is_some() != self.alpha
            || !alpha.is_none_or(fits)
            || color.height() > self.height - self.rows
        {
            return Err(Error::argument("a strip does not fit the picture that was begun"));
        }
        let in_srgb = self.space.as_ref().map(|space| left(space, color));
        let raster = Raster::from_planes(in_srgb.as_ref().unwrap_or(color), alpha, self.grey, self.depth);
        match &mut self.file {
            Target::Png(writer) => writer.write_all(&png::sample_bytes(&raster.samples))?,
            Target::Tiff(writer, _) => writer.write_rows(&raster.samples)?,
        }
        self.rows += color.height();
        Ok(())
    }

    /// Rows that were appended so far.
    pub fn rows_written(&self) -> usize {
        self.rows
    }

    /// Ends the file.
    ///
    /// # Errors
    /// An argument error where rows are missing; a resource error where the disk is full, an I/O error where writing fails.
    pub fn finish(self) -> Result<()> {
        if self.rows != self.height {
            return Err(Error::argument(format!("{} of {} rows were written", self.rows, self.height)));
        }
        match self.file {
            Target::Png(writer) => writer.finish().map_err(|error| match error {
                ::png::EncodingError::IoError(error) => Error::from(error),
                other => failed(other),
            }),
            Target::Tiff(writer, metadata) => writer.finish(&metadata),
        }
    }
}
