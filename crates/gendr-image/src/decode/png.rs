//! PNG, with every chunk that says something about the picture.

pub(super) mod rows;

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Info, Transformations, Unit};

use super::{Decoded, damaged};
use crate::{
    Density, DensityUnit, Error, Format, Limits, Metadata, Notice, PngColor, Result, Text,
    decode::segments::XMP as XMP_SEGMENT,
    photoshop,
    raster::{Layout, Raster, Samples},
};

/// Most memory for profile, texts and the like.
const MAX_ANCILLARY: usize = 64 << 20;
/// Longest text taken from one chunk after decompression.
const MAX_TEXT: usize = 4 << 20;
const XMP_KEYWORD: &str = "XML:com.adobe.xmp";

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(error)?.clone();
    let sample_bytes = if header.bit_depth == BitDepth::Sixteen { 2 } else { 1 };
    limits.check(header.width.into(), header.height.into(), 4, sample_bytes)?;
    let (width, height) = (header.width as usize, header.height as usize);
    // Besides the pixels: some rows, and what profiles and texts unpack to.
    let row_bytes = width.saturating_mul(8);
    decoder.set_limits(png::Limits { bytes: row_bytes.saturating_mul(4).saturating_add(MAX_ANCILLARY) });
    let (color, narrow) = (header.color_type, (header.bit_depth as u8) < 8);

    let mut reader = decoder.read_info().map_err(error)?;
    let size = reader.output_buffer_size().ok_or_else(|| Error::limit("the PNG is too large to address"))?;
    let mut data = vec![0; size];
    let frame = reader.next_frame(&mut data).map_err(error)?;
    // Texts may stand behind the pixels, and the end must be there.
    reader.finish().map_err(error)?;
    data.truncate(frame.buffer_size());

    let (layout, samples) = (layout_of(frame.color_type), samples_of(data, frame.bit_depth));
    let mut decoded = Decoded::new(Raster { width, height, layout, samples });
    let info = reader.info();
    read_metadata(info, &mut decoded.metadata, &mut decoded.notices);
    if info.animation_control.is_some() {
        decoded.notices.push(Notice::dropped("only the first frame of the animation is used"));
    }
    if color == ColorType::Indexed {
        decoded.notices.push(Notice::converted("the palette became full colour"));
    } else if narrow {
        decoded.notices.push(Notice::converted("samples of fewer than 8 bits became 8 bits"));
    }
    Ok(decoded)
}

fn layout_of(color: ColorType) -> Layout {
    match color {
        ColorType::Grayscale => Layout::Grey,
        ColorType::GrayscaleAlpha => Layout::GreyAlpha,
        ColorType::Rgb | ColorType::Indexed => Layout::Rgb,
        ColorType::Rgba => Layout::Rgba,
    }
}

fn samples_of(data: Vec<u8>, depth: BitDepth) -> Samples {
    match depth {
        BitDepth::Sixteen => Samples::sixteen(&data, u16::from_be_bytes),
        _ => Samples::Eight(data),
    }
}

fn error(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::input("the PNG ends early").with_source(source)
        }
        DecodingError::LimitsExceeded => {
            Error::limit("decoding the PNG needs more memory than the limit allows")
        }
        other => damaged(Format::Png, other),
    }
}

fn read_metadata(info: &Info<'_>, metadata: &mut Metadata, notices: &mut Vec<Notice>) {
    metadata.icc = info.icc_profile.as_ref().map(|profile| profile.to_vec());
    metadata.exif = info.exif_metadata.as_ref().map(|exif| crate::metadata::bare_exif(exif).to_vec());
    metadata.density = info.pixel_dims.map(|dims| Density {
        x: dims.xppu.into(),
        y: dims.yppu.into(),
        unit: match dims.unit {
            Unit::Meter => DensityUnit::Metre,
            Unit::Unspecified => DensityUnit::Ratio,
        },
    });
    metadata.png_color = PngColor {
        srgb_intent: info.srgb.map(|intent| intent as u8),
        gamma: info.gama_chunk.map(png::ScaledFloat::into_scaled),
        chromaticities: info.chrm_chunk.map(|chunk| {
            [chunk.white, chunk.red, chunk.green, chunk.blue]
                .map(|(x, y)| [x.into_scaled(), y.into_scaled()])
                .as_flattened()
                .try_into()
                .unwrap_or_default()
        }),
        cicp: info.coding_independent_code_points.map(|points| {
            [
                points.color_primaries,
                points.transfer_function,
                points.matrix_coefficients,
                points.is_video_full_range_image.into(),
            ]
        }),
    };
    let mut texts: Vec<(&str, Option<String>)> = Vec::new();
    for chunk in &info.uncompressed_latin1_text {
        texts.push((&chunk.keyword, Some(chunk.text.clone())));
    }
    for chunk in &info.compressed_latin1_text {
        let mut plain = chunk.clone();
        let text = plain.decompress_text_with_limit(MAX_TEXT).and_then(|()| plain.get_text());
        texts.push((&chunk.keyword, text.ok()));
    }
    for chunk in &info.utf8_text {
        let mut plain = chunk.clone();
        let text = plain.decompress_text_with_limit(MAX_TEXT).and_then(|()| plain.get_text());
        texts.push((&chunk.keyword, text.ok()));
    }
    for (keyword, value) in texts {
        match value {
            Some(value) => take_text(keyword, value, metadata),
            None => notices.push(Notice::dropped(format!("the damaged text chunk {keyword} was dropped"))),
        }
    }
}

/// Texts that carry other metadata are unpacked, as ImageMagick and exiftool write them; chunks made for those count more.
fn take_text(keyword: &str, value: String, metadata: &mut Metadata) {
    if keyword == XMP_KEYWORD {
        metadata.xmp = Some(value.into_bytes());
        return;
    }
    let raw = keyword.strip_prefix("Raw profile type ").zip(raw_profile(&value));
    match raw {
        Some(("iptc" | "8bim", block)) => {
            let resources = photoshop::read(&block);
            metadata.photoshop = resources.others;
            metadata.iptc = match resources.iptc {
                None if metadata.photoshop.is_none() => Some(block),
                found => found,
            };
        }
        Some(("exif", block)) => take_exif(&block, metadata),
        Some(("APP1", block)) if block.starts_with(XMP_SEGMENT) => {
            metadata.xmp.get_or_insert_with(|| block[XMP_SEGMENT.len()..].to_vec());
        }
        Some(("APP1", block)) => take_exif(&block, metadata),
        Some(("xmp", block)) => {
            metadata.xmp.get_or_insert(block);
        }
        Some(("icc" | "icm", block)) => {
            metadata.icc.get_or_insert(block);
        }
        _ => metadata.texts.push(Text { keyword: keyword.to_owned(), value }),
    }
}

fn take_exif(block: &[u8], metadata: &mut Metadata) {
    metadata.exif.get_or_insert_with(|| crate::metadata::bare_exif(block).to_vec());
}

/// A block in hexadecimal after a line with its name and a line with its length.
fn raw_profile(text: &str) -> Option<Vec<u8>> {
    let mut lines = text.trim_start().lines();
    lines.next()?;
    let length: usize = lines.next()?.trim().parse().ok()?;
    let digits: Vec<u8> = lines.flat_map(str::bytes).filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let block: Option<Vec<u8>> =
        digits.as_chunks().0.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    block.filter(|block| block.len() == length)
}
