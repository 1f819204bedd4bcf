//! Files to pictures.

#[cfg(feature = "avif")]
mod avif;
mod conversion;
mod gif;
mod jpeg;
#[cfg(feature = "jxl")]
mod jxl;
mod png;
mod small;
mod strips;
mod tiff;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(not(all(feature = "jxl", feature = "avif")))]
use crate::format::not_built;
use crate::{
    Error, Format, Limits, Metadata, Notice, Picture, Result, exif, orientation::Orientation, raster::Raster,
};
use conversion::Conversion;

#[cfg(feature = "avif")]
pub(crate) use avif::container;
pub(crate) use jpeg::segments;
pub use strips::{Band, StripReader};
pub(crate) use tiff::tags;

/// What a decoder hands over: pixels as stored, and everything else.
struct Decoded {
    raster: Raster,
    /// Whether colour was multiplied by opacity.
    premultiplied: bool,
    metadata: Metadata,
    /// The container's own statement; where there is none, EXIF's counts.
    orientation: Option<Orientation>,
    notices: Vec<Notice>,
}

impl Decoded {
    fn new(raster: Raster) -> Self {
        Self {
            raster,
            premultiplied: false,
            metadata: Metadata::default(),
            orientation: None,
            notices: Vec::new(),
        }
    }
}

/// Decodes a picture file of any format that is read, upright.
///
/// # Errors
/// An input error for a damaged, truncated or lying file or one that is no picture, an unsupported error for a variant
/// that is not read, a limit error before anything is allocated for a picture over `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let format = Format::detect(bytes)?;
    guarded(format, || finish(decode_raster(bytes, format, limits)?, format))
}

/// Pixels as stored and everything else.
fn decode_raster(bytes: &[u8], format: Format, limits: &Limits) -> Result<Decoded> {
    let decoder = match format {
        Format::Png => png::decode,
        Format::Jpeg => jpeg::decode,
        Format::Webp => webp::decode,
        Format::Tiff => tiff::decode,
        Format::Gif => gif::decode,
        #[cfg(feature = "jxl")]
        Format::Jxl => jxl::decode,
        #[cfg(not(feature = "jxl"))]
        Format::Jxl => return Err(not_built("JPEG XL", "jxl")),
        #[cfg(feature = "avif")]
        Format::Avif => avif::decode,
        #[cfg(not(feature = "avif"))]
        Format::Avif => return Err(not_built("AVIF", "avif")),
        Format::Bmp | Format::Pnm | Format::Qoi | Format::Tga => small::decode,
    };
    decoder(bytes, limits)
}

/// Decoders of others may panic on hostile files; nothing of theirs outlives the call.
fn guarded<T>(format: Format, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::input(format!("damaged {} file", format.name()))))
}

/// An error of a decoder, named after the format.
fn damaged(format: Format, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = error.to_string();
    let line = message.lines().next().unwrap_or_default();
    Error::input(format!("damaged {} file: {line}", format.name())).with_source(error)
}

/// Planes, upright and not multiplied by opacity, from what a decoder hands over.
fn finish(mut decoded: Decoded, format: Format) -> Result<Picture> {
    let orientation = take_orientation(&mut decoded);
    let conversion = Conversion::new(&mut decoded);
    let Decoded { raster, metadata, notices, .. } = decoded;
    let (layout, depth) = (raster.layout, raster.samples.depth());
    let (color, alpha) = conversion.apply(&raster)?;
    drop(raster);
    Ok(Picture {
        color: orientation.apply(color),
        alpha: alpha.map(|alpha| orientation.apply(alpha)),
        grey: layout.is_grey(),
        depth,
        format,
        metadata,
        notices,
    })
}

/// How the pixels must be turned; the metadata then say that they stand upright. Density is EXIF's where the container
/// gives none.
fn take_orientation(decoded: &mut Decoded) -> Orientation {
    let metadata = &mut decoded.metadata;
    let exif_orientation = || metadata.exif.as_deref().and_then(exif::orientation);
    let orientation = decoded
        .orientation
        .or_else(|| exif_orientation().map(Orientation::from_exif))
        .unwrap_or(Orientation::UPRIGHT);
    if let Some(exif) = &mut metadata.exif {
        exif::set_upright(exif);
        metadata.density = metadata.density.or_else(|| exif::density::of_block(exif));
    }
    if orientation.transposes() {
        metadata.density = metadata.density.map(crate::Density::transposed);
    }
    orientation
}
