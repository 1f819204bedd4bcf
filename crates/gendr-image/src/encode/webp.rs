//! Lossless WebP.

use image_webp::{ColorType, WebPEncoder};

use super::{failed, note_beyond_exif_and_xmp};
use crate::{
    Error, Metadata, Notice, OutputFormat, Result,
    raster::{Layout, Raster, Samples},
};

pub(super) fn encode(raster: &Raster, metadata: &Metadata, notices: &mut Vec<Notice>) -> Result<Vec<u8>> {
    let Samples::Eight(samples) = &raster.samples else {
        return Err(Error::argument("WebP holds 8 bits"));
    };
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new(&mut bytes);
    encoder.set_icc_profile(metadata.icc.clone().unwrap_or_default());
    encoder.set_exif_metadata(metadata.exif.clone().unwrap_or_default());
    encoder.set_xmp_metadata(metadata.xmp.clone().unwrap_or_default());
    let color = match raster.layout {
        Layout::Grey => ColorType::L8,
        Layout::GreyAlpha => ColorType::La8,
        Layout::Rgb | Layout::Cmyk => ColorType::Rgb8,
        Layout::Rgba => ColorType::Rgba8,
    };
    encoder.encode(samples, raster.width as u32, raster.height as u32, color).map_err(failed)?;
    note_beyond_exif_and_xmp(metadata, OutputFormat::Webp, notices);
    Ok(bytes)
}
