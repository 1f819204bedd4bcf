//! PNG, 8 and 16 bits.

use std::{borrow::Cow, io::Write};

use png::{
    BitDepth, ColorType, Compression, Encoder, EncodingError, Info, PixelDimensions, Unit, Writer,
    chunk::ChunkType,
    text_metadata::{ITXtChunk, TEXtChunk, ZTXtChunk},
};

use super::failed;
use crate::{
    Density, DensityUnit, Depth, Metadata, PngColor, Result, photoshop,
    raster::{Layout, Raster, Samples},
};

pub(super) fn encode(raster: &Raster, metadata: &Metadata) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let size = (raster.width as u32, raster.height as u32);
    let mut writer =
        begin(&mut bytes, size, raster.layout, raster.samples.depth(), metadata).map_err(failed)?;
    writer.write_image_data(&sample_bytes(&raster.samples)).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

/// Writes all that stands before the pixels.
pub(crate) fn begin<W: Write>(
    target: W,
    (width, height): (u32, u32),
    layout: Layout,
    depth: Depth,
    metadata: &Metadata,
) -> Result<Writer<W>, EncodingError> {
    let mut info = Info::with_size(width, height);
    info.color_type = match layout {
        Layout::Grey => ColorType::Grayscale,
        Layout::GreyAlpha => ColorType::GrayscaleAlpha,
        Layout::Rgb | Layout::Cmyk => ColorType::Rgb,
        Layout::Rgba => ColorType::Rgba,
    };
    info.bit_depth = if depth == Depth::Eight { BitDepth::Eight } else { BitDepth::Sixteen };
    info.pixel_dims = metadata.density.as_ref().map(pixel_dimensions);
    info.icc_profile = metadata.icc.as_deref().map(Cow::Borrowed);
    info.exif_metadata = metadata.exif.as_deref().map(Cow::Borrowed);
    let mut encoder = Encoder::with_info(target, info)?;
    // Photographs hardly shrink further, and restoring a small one would spend most of its time on trying.
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header()?;
    write_color(&mut writer, metadata)?;
    write_texts(&mut writer, metadata)?;
    Ok(writer)
}

/// Samples in the byte order of PNG.
pub(crate) fn sample_bytes(samples: &Samples) -> Cow<'_, [u8]> {
    match samples {
        Samples::Eight(samples) => Cow::Borrowed(samples),
        Samples::Sixteen(samples) => samples.iter().flat_map(|sample| sample.to_be_bytes()).collect(),
        Samples::Float(samples) => samples.iter().flat_map(|sample| sample.to_be_bytes()).collect(),
    }
}

fn pixel_dimensions(density: &Density) -> PixelDimensions {
    let (x, y) = density.per_metre().unwrap_or((density.x, density.y));
    let unit = if density.unit == DensityUnit::Ratio { Unit::Unspecified } else { Unit::Meter };
    PixelDimensions { xppu: x.round() as u32, yppu: y.round() as u32, unit }
}

fn write_color<W: Write>(writer: &mut Writer<W>, metadata: &Metadata) -> Result<(), EncodingError> {
    let PngColor { srgb_intent, gamma, chromaticities, cicp } = metadata.png_color;
    if let Some(points) = cicp {
        writer.write_chunk(ChunkType(*b"cICP"), &points)?;
    }
    // A profile and sRGB exclude each other.
    if let Some(intent) = srgb_intent.filter(|_| metadata.icc.is_none()) {
        writer.write_chunk(ChunkType(*b"sRGB"), &[intent])?;
    }
    if let Some(gamma) = gamma {
        writer.write_chunk(ChunkType(*b"gAMA"), &gamma.to_be_bytes())?;
    }
    if let Some(points) = chromaticities {
        writer.write_chunk(ChunkType(*b"cHRM"), points.map(u32::to_be_bytes).as_flattened())?;
    }
    Ok(())
}

fn write_texts<W: Write>(writer: &mut Writer<W>, metadata: &Metadata) -> Result<(), EncodingError> {
    if let Some(xmp) = &metadata.xmp {
        let text = String::from_utf8_lossy(xmp).into_owned();
        writer.write_text_chunk(&ITXtChunk::new("XML:com.adobe.xmp", text))?;
    }
    if let Some(resources) = photoshop::write(metadata.iptc.as_deref(), metadata.photoshop.as_deref()) {
        let text = raw_profile("iptc", &resources);
        writer.write_text_chunk(&ZTXtChunk::new("Raw profile type iptc", text))?;
    }
    for text in &metadata.texts {
        if text.value.is_ascii() {
            writer.write_text_chunk(&TEXtChunk::new(&text.keyword, &text.value))?;
        } else {
            writer.write_text_chunk(&ITXtChunk::new(&text.keyword, &text.value))?;
        }
    }
    Ok(())
}

/// A block in hexadecimal under its name and length, as ImageMagick writes it and exiftool reads it.
fn raw_profile(name: &str, block: &[u8]) -> String {
    let mut text = format!("\n{name}\n{:8}", block.len());
    for (index, byte) in block.iter().enumerate() {
        if index % 36 == 0 {
            text.push('\n');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('\n');
    text
}
