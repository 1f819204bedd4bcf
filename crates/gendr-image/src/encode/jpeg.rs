//! JPEG, without chroma subsampling.

use jpeg_encoder::{ColorType, Encoder, PixelDensity, PixelDensityUnit, SamplingFactor};

use super::{failed, note_dropped};
use crate::{
    Density, DensityUnit, Error, Metadata, Notice, OutputFormat, Result,
    decode::segments::{ICC, PHOTOSHOP, XMP, marker},
    iptc,
    raster::{Layout, Raster, Samples},
};

/// Most bytes behind the two that give a segment's length.
const MAX_SEGMENT: usize = 65_533;
/// Start of image and the JFIF segment, which the encoder writes first.
const JFIF_END: usize = 20;

pub(super) fn encode(
    raster: &Raster,
    metadata: &Metadata,
    quality: u8,
    notices: &mut Vec<Notice>,
) -> Result<Vec<u8>> {
    let Samples::Eight(samples) = &raster.samples else {
        return Err(Error::argument("JPEG holds 8 bits"));
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    encoder.set_optimized_huffman_tables(true);
    if let Some(density) = metadata.density.as_ref() {
        encoder.set_density(pixel_density(density));
    }
    let color = if raster.layout == Layout::Grey { ColorType::Luma } else { ColorType::Rgb };
    encoder.encode(samples, raster.width as u16, raster.height as u16, color).map_err(failed)?;
    bytes.splice(JFIF_END..JFIF_END, segments(metadata, notices));
    Ok(bytes)
}

fn pixel_density(density: &Density) -> PixelDensity {
    let (x, y, unit) = match (density.unit, density.per_inch()) {
        (DensityUnit::Centimetre, _) => (density.x, density.y, PixelDensityUnit::Centimeters),
        (_, Some((x, y))) => (x, y, PixelDensityUnit::Inches),
        (_, None) => (density.x, density.y, PixelDensityUnit::PixelAspectRatio),
    };
    let short = |value: f64| value.round().clamp(1.0, 65535.0) as u16;
    PixelDensity { density: (short(x), short(y)), unit }
}

/// Metadata as segments.
fn segments(metadata: &Metadata, notices: &mut Vec<Notice>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut add = |what: &str, marker: u8, prefix: &[u8], data: Option<&[u8]>| {
        let Some(data) = data else { return };
        if prefix.len() + data.len() > MAX_SEGMENT {
            notices.push(Notice::dropped(format!("{what} dropped: too long for JPEG")));
            return;
        }
        bytes.extend([0xff, marker]);
        bytes.extend(((prefix.len() + data.len() + 2) as u16).to_be_bytes());
        bytes.extend(prefix);
        bytes.extend(data);
    };
    add("EXIF", marker::APP1, b"Exif\0\0", metadata.exif.as_deref());
    add("XMP", marker::APP1, XMP, metadata.xmp.as_deref());
    let resources = metadata.iptc.as_deref().map(iptc::to_resources);
    add("IPTC", marker::APP13, PHOTOSHOP, resources.as_deref());
    let profile = metadata.icc.as_deref().unwrap_or_default();
    let parts = profile.chunks(MAX_SEGMENT - ICC.len() - 2);
    // The number of a part is one byte.
    if let Ok(count) = u8::try_from(parts.len()) {
        for (number, part) in (1..=count).zip(parts) {
            add("ICC profile", marker::APP2, &[ICC, &[number, count]].concat(), Some(part));
        }
    } else {
        add("ICC profile", marker::APP2, ICC, Some(profile));
    }
    let (comments, others): (Vec<_>, Vec<_>) =
        metadata.texts.iter().partition(|text| text.keyword == "Comment");
    for comment in comments {
        add("comment", marker::COMMENT, b"", Some(comment.value.as_bytes()));
    }
    for text in others {
        note_dropped(&format!("the text {}", text.keyword), OutputFormat::Jpeg, true, notices);
    }
    bytes
}
