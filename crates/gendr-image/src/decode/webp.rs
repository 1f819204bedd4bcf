//! WebP, lossy and lossless.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::{Decoded, damaged};
use crate::{
    Error, Format, Limits, Metadata, Notice, Result,
    metadata::bare_exif,
    raster::{Layout, Raster, Samples},
};

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    // The container says how long it is; the decoder would not miss its last bytes.
    let stated =
        bytes.get(4..).and_then(<[u8]>::first_chunk).map_or(0, |size| u64::from(u32::from_le_bytes(*size)));
    if (bytes.len() as u64) < stated + 8 {
        return Err(Error::input("the WebP ends early"));
    }
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(error)?;
    let (width, height) = decoder.dimensions();
    // The decoder works in four channels whatever comes out.
    limits.check(width.into(), height.into(), 4, 2)?;
    decoder.set_memory_limit(limits.allocation());
    let size =
        decoder.output_buffer_size().ok_or_else(|| Error::limit("the WebP is too large to address"))?;
    let mut data = vec![0; size];
    decoder.read_image(&mut data).map_err(error)?;
    let layout = Layout::new(false, decoder.has_alpha());
    let samples = Samples::Eight(data);
    let mut decoded =
        Decoded::new(Raster { width: width as usize, height: height as usize, layout, samples });
    decoded.metadata = Metadata {
        icc: decoder.icc_profile().map_err(error)?,
        exif: decoder.exif_metadata().map_err(error)?.map(|exif| bare_exif(&exif).to_vec()),
        xmp: decoder.xmp_metadata().map_err(error)?,
        ..Metadata::default()
    };
    if decoder.is_animated() {
        decoded.notices.push(Notice::dropped("only the first frame of the animation is used"));
    }
    Ok(decoded)
}

fn error(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::input("the WebP ends early").with_source(source)
        }
        DecodingError::MemoryLimitExceeded => {
            Error::limit("decoding the WebP needs more memory than the limit allows")
        }
        DecodingError::UnsupportedFeature(what) => {
            Error::unsupported(format!("a WebP with {what}, which is not supported"))
        }
        other => damaged(Format::Webp, other),
    }
}
