//! Files read strip by strip, for pictures larger than memory.

use std::{
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use super::{Conversion, Decoded, decode_raster, guarded, png, take_orientation, tiff};
use crate::{
    Error, Format, Limits, Picture, Planes, Result,
    file::open_file,
    orientation::Orientation,
    raster::{Raster, Samples},
};

/// Most bytes that tell a format.
const HEAD: u64 = 512;

/// What rows are read from.
pub(super) trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}
pub(super) type Stream = BufReader<Box<dyn Source>>;

/// Some whole rows of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// R'G'B', `[3, rows, width]` in `[0, 1]`, in the colour space that the header's metadata name.
    pub color: Planes,
    /// Opacity, `[1, rows, width]` in `[0, 1]`.
    pub alpha: Option<Planes>,
}

/// Reads a picture from top to bottom, upright, in bands of any height; together they are what [`decode`](crate::decode)
/// gives.
///
/// PNG (not interlaced) and TIFF (strips and tiles, pixel by pixel) that stand upright are decoded row by row, and no more
/// than a strip or a row of tiles is held. Of every other picture the reader holds the samples at the depth of the file, a
/// quarter of the planes or less; [`StripReader::held_bytes`] tells how much that is.
///
/// ```no_run
/// # fn main() -> gendr_image::Result<()> {
/// let mut reader = gendr_image::StripReader::open("large.tif".as_ref(), &gendr_image::Limits::default())?;
/// let (width, height) = reader.size();
/// while let Some(band) = reader.read(256)? {
///     assert_eq!(band.color.width(), width);
/// }
/// # Ok(())
/// # }
/// ```
pub struct StripReader {
    rows: Box<dyn Rows>,
    conversion: Conversion,
    header: Picture,
    size: (usize, usize),
    done: usize,
}

/// Rows as stored, upright, from the first to the last.
pub(super) trait Rows: Send {
    /// The next `count` rows, of which there are at least as many.
    fn next(&mut self, count: usize) -> Result<Raster>;

    /// Checks what follows the last row.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// Bytes held besides the rows handed over, about.
    fn held_bytes(&self) -> u64;
}

/// What there is to say of a picture (with a raster of one pixel); none where its rows cannot be read one after the other.
type Look = fn(&mut Stream, &Limits) -> Result<Option<Decoded>>;

/// A reader of rows, and the columns and rows there are.
type Open = fn(Stream, &Limits) -> Result<(Box<dyn Rows>, (usize, usize))>;

impl StripReader {
    /// Opens a file. Its pixels may be damaged still; [`StripReader::read`] would tell.
    ///
    /// # Errors
    /// Those of [`read`](crate::read); the message ends with the path. The byte limit holds for what is kept at a time.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self> {
        Self::new(open_file(path)?, limits).map_err(|error| error.at(path))
    }

    /// The same from a file that is open or held in memory.
    ///
    /// # Errors
    /// Those of [`StripReader::open`].
    pub fn new(source: impl Read + Seek + Send + 'static, limits: &Limits) -> Result<Self> {
        let mut stream: Stream = BufReader::with_capacity(256 << 10, Box::new(source));
        let mut head = Vec::new();
        stream.by_ref().take(HEAD).read_to_end(&mut head)?;
        let format = Format::detect(&head)?;
        stream.seek(SeekFrom::Start(0))?;
        guarded(format, || Self::of_format(stream, format, limits))
    }

    fn of_format(mut stream: Stream, format: Format, limits: &Limits) -> Result<Self> {
        let by_rows: Option<(Look, Open)> = match format {
            Format::Png => Some((png::rows::look, png::rows::open)),
            Format::Tiff => Some((tiff::rows::look, tiff::rows::open)),
            _ => None,
        };
        if let Some((look, open)) = by_rows {
            let about = look(&mut stream, limits)?;
            stream.seek(SeekFrom::Start(0))?;
            if let Some(about) = about {
                let (rows, size) = open(stream, limits)?;
                return Self::assemble(rows, size, about, format);
            }
        }
        let (held, about) = Held::new(stream, format, limits)?;
        let size = held.orientation.upright_size((held.raster.width, held.raster.height));
        Self::assemble(Box::new(held), size, about, format)
    }

    fn assemble(
        rows: Box<dyn Rows>,
        size: (usize, usize),
        mut about: Decoded,
        format: Format,
    ) -> Result<Self> {
        let conversion = Conversion::new(&mut about);
        let Decoded { raster, metadata, notices, .. } = about;
        let (color, alpha) = conversion.apply(&raster)?;
        let (grey, depth) = (raster.layout.is_grey(), raster.samples.depth());
        let header = Picture { color, alpha, grey, depth, format, metadata, notices };
        Ok(Self { rows, conversion, header, size, done: 0 })
    }

    /// All that the file says besides its pixels: depth, metadata, notices, and by the presence of `alpha` whether there is
    /// opacity. The planes are a single pixel of no meaning; the true size is [`StripReader::size`].
    pub fn header(&self) -> &Picture {
        &self.header
    }

    /// Columns and rows of the upright picture.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Rows that were not read yet.
    pub fn remaining(&self) -> usize {
        self.size.1 - self.done
    }

    /// Bytes that the reader holds, about, besides the bands that it has handed over.
    pub fn held_bytes(&self) -> u64 {
        self.rows.held_bytes()
    }

    /// The next `most` rows, fewer at the end, none behind it.
    ///
    /// # Errors
    /// An argument error for no rows, an input error where the file is damaged or ends early, after which the reader is of
    /// no use.
    pub fn read(&mut self, most: usize) -> Result<Option<Band>> {
        let count = most.min(self.remaining());
        match (count, most) {
            (0, 0) => return Err(Error::argument("a band without rows")),
            (0, _) => return Ok(None),
            _ => {}
        }
        let raster = guarded(self.header.format, || {
            let raster = self.rows.next(count)?;
            if count == self.size.1 - self.done {
                self.rows.finish()?;
            }
            Ok(raster)
        })?;
        self.done += count;
        let (color, alpha) = self.conversion.apply(&raster)?;
        Ok(Some(Band { color, alpha }))
    }
}

/// A picture whose decoder gives all rows at once, or whose rows are not stored from top to bottom.
struct Held {
    raster: Raster,
    orientation: Orientation,
    done: usize,
}

impl Held {
    fn new(mut stream: Stream, format: Format, limits: &Limits) -> Result<(Self, Decoded)> {
        let mut bytes = Vec::new();
        stream.by_ref().take(limits.max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limits.max_bytes {
            return Err(Error::limit(format!("a file over the limit of {} MiB", limits.max_bytes >> 20)));
        }
        let mut about = decode_raster(&bytes, format, limits)?;
        let orientation = take_orientation(&mut about);
        let layout = about.raster.layout;
        if about.raster.samples.len() != about.raster.width * about.raster.height * layout.channels() {
            return Err(Error::input("the file holds too few or too many samples"));
        }
        let samples = about.raster.samples.gather(0..layout.channels());
        let pixel = Raster { width: 1, height: 1, layout, samples };
        let raster = std::mem::replace(&mut about.raster, pixel);
        Ok((Self { raster, orientation, done: 0 }, about))
    }
}

impl Rows for Held {
    fn next(&mut self, count: usize) -> Result<Raster> {
        let Raster { width, height, layout, ref samples } = self.raster;
        let (columns, _) = self.orientation.upright_size((width, height));
        let (channels, from) = (layout.channels(), self.done);
        let pixels = (from..from + count).flat_map(|y| (0..columns).map(move |x| (x, y)));
        let stored = pixels.map(|at| self.orientation.stored(at, (width, height)));
        let places =
            stored.flat_map(|(x, y)| (0..channels).map(move |channel| (y * width + x) * channels + channel));
        let samples: Samples = samples.gather(places);
        self.done += count;
        Ok(Raster { width: columns, height: count, layout, samples })
    }

    fn held_bytes(&self) -> u64 {
        self.raster.samples.byte_length() as u64
    }
}
