//! JPEG, without chroma subsampling.

use jpeg_encoder::{ColorType, Encoder, PixelDensity, PixelDensityUnit, SamplingFactor};

use super::{failed, note_dropped};
use crate::{
    Density, DensityUnit, Error, Metadata, Notice, OutputFormat, Result,
    decode::segments::{EXTENDED_XMP, EXTENSION_NAME, ICC, PHOTOSHOP, XMP, marker},
    photoshop,
    raster::{Layout, Raster, Samples},
    xmp,
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
    for (prefix, part) in xmp_extension(metadata) {
        add("XMP", marker::APP1, &prefix, Some(part));
    }
    let resources = photoshop::write(metadata.iptc.as_deref(), metadata.photoshop.as_deref());
    for part in resources.unwrap_or_default().chunks(MAX_SEGMENT - PHOTOSHOP.len()) {
        add("IPTC", marker::APP13, PHOTOSHOP, Some(part));
    }
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

/// The extension of the XMP in parts, each with what stands before it, under the name that the packet gives.
fn xmp_extension(metadata: &Metadata) -> Vec<(Vec<u8>, &[u8])> {
    let named = metadata.xmp.as_deref().zip(metadata.xmp_extension.as_deref());
    let Some((name, extension)) =
        named.and_then(|(packet, extension)| Some((xmp::extension_name(packet)?, extension)))
    else {
        return Vec::new();
    };
    let length = (extension.len() as u32).to_be_bytes();
    let most = MAX_SEGMENT - EXTENDED_XMP.len() - EXTENSION_NAME - 8;
    let parts = extension.chunks(most).enumerate();
    parts
        .map(|(index, part)| {
            let place = ((index * most) as u32).to_be_bytes();
            ([EXTENDED_XMP, name.as_bytes(), &length, &place].concat(), part)
        })
        .collect()
}
