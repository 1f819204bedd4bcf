//! AVIF, lossy.

use ravif::{Encoder, Img, RGB8, RGBA8};

use super::{failed, note_beyond_exif_and_xmp, note_dropped};
use crate::{
    Error, Metadata, Notice, OutputFormat, Result,
    raster::{Layout, Raster, Samples},
};

/// Of 1 (best) to 10: some seconds for a picture of 4 megapixels.
const SPEED: u8 = 7;

pub(super) fn encode(
    raster: &Raster,
    metadata: &Metadata,
    quality: u8,
    notices: &mut Vec<Notice>,
) -> Result<Vec<u8>> {
    let Samples::Eight(samples) = &raster.samples else {
        return Err(Error::argument("AVIF is written with 8 bits"));
    };
    let quality = f32::from(quality);
    let mut encoder = Encoder::new().with_quality(quality).with_alpha_quality(quality).with_speed(SPEED);
    if let Some(exif) = &metadata.exif {
        encoder = encoder.with_exif(exif);
    }
    let (width, height) = (raster.width, raster.height);
    let opaque = |r, g, b| RGB8 { r, g, b };
    let rgb: Vec<RGB8> = match raster.layout {
        Layout::Grey => samples.iter().map(|&v| opaque(v, v, v)).collect(),
        Layout::Rgb | Layout::Cmyk => {
            samples.as_chunks().0.iter().map(|&[r, g, b]| opaque(r, g, b)).collect()
        }
        Layout::GreyAlpha | Layout::Rgba => Vec::new(),
    };
    let encoded = if raster.layout.has_alpha() {
        let rgba: Vec<RGBA8> = match raster.layout {
            Layout::GreyAlpha => samples.as_chunks().0.iter().map(|&[v, a]| RGBA8::new(v, v, v, a)).collect(),
            _ => samples.as_chunks().0.iter().map(|&[r, g, b, a]| RGBA8::new(r, g, b, a)).collect(),
        };
        encoder.encode_rgba(Img::new(&rgba, width, height))
    } else {
        encoder.encode_rgb(Img::new(&rgb, width, height))
    };
    note_dropped("XMP", OutputFormat::Avif, metadata.xmp.is_some(), notices);
    note_beyond_exif_and_xmp(metadata, OutputFormat::Avif, notices);
    Ok(encoded.map_err(failed)?.avif_file)
}
