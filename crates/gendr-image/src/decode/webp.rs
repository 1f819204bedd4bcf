//! WebP, lossy and lossless.

use std::{borrow::Cow, io::Cursor};

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
    let mut decoder = WebPDecoder::new(Cursor::new(announce_opacity(bytes))).map_err(error)?;
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

/// The file with opacity announced in its head where the lossless picture in it has some: exiftool, for one, adds heads that
/// say otherwise, and the decoder believes them.
fn announce_opacity(bytes: &[u8]) -> Cow<'_, [u8]> {
    const FLAGS: usize = 20;
    const ANIMATED: u8 = 0x02;
    const OPACITY: u8 = 0x10;
    let flags = bytes.get(FLAGS).filter(|_| bytes.get(12..16) == Some(b"VP8X"));
    let silent = flags.is_some_and(|flags| flags & (ANIMATED | OPACITY) == 0);
    if !silent || !has_lossless_opacity(&bytes[12..]) {
        return Cow::Borrowed(bytes);
    }
    let mut bytes = bytes.to_vec();
    bytes[FLAGS] |= OPACITY;
    Cow::Owned(bytes)
}

/// Whether the first lossless picture among `chunks` says that it has opacity.
fn has_lossless_opacity(mut chunks: &[u8]) -> bool {
    while let Some((head, data)) = chunks.split_first_chunk::<8>() {
        let [kind @ .., a, b, c, d] = *head;
        if kind == *b"VP8L" {
            return data.get(4).is_some_and(|byte| byte & 0x10 != 0);
        }
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        chunks = data.get(length.saturating_add(length & 1)..).unwrap_or_default();
    }
    false
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
