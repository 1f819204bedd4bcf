//! JPEG: grey, YCbCr, RGB, CMYK and YCCK, baseline and progressive.

pub(crate) mod segments;

use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

use super::{Decoded, damaged};
use crate::{
    Density, DensityUnit, Error, Format, Limits, Metadata, Notice, Result, Text, photoshop,
    raster::{Layout, Raster, Samples},
};
use segments::{Frame, Segments, marker};

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let segments = Segments::scan(bytes)?;
    let frame = segments.frame()?;
    check_frame(frame)?;
    // Progressive decoding holds 16-bit coefficients besides the samples.
    let sample_bytes = if frame.is_progressive() { 3 } else { 1 };
    limits.check(frame.width.into(), frame.height.into(), frame.components.into(), sample_bytes)?;

    // Strict: a damaged file must not come out half grey.
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(65535).set_max_height(65535);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes[..segments.end]), options);
    decoder.decode_headers().map_err(|error| damaged(Format::Jpeg, error))?;
    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::Unknown);
    let (layout, wanted) = match frame.components {
        1 => (Layout::Grey, ColorSpace::Luma),
        3 => (Layout::Rgb, ColorSpace::RGB),
        _ => (Layout::Cmyk, stored),
    };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(wanted));
    let mut data = decoder.decode().map_err(|error| damaged(Format::Jpeg, error))?;
    if layout == Layout::Cmyk {
        to_ink(&mut data, stored == ColorSpace::YCCK, segments.has_adobe());
    }
    let (width, height) = (frame.width.into(), frame.height.into());
    let mut decoded = Decoded::new(Raster { width, height, layout, samples: Samples::Eight(data) });
    read_metadata(&segments, &mut decoded.metadata, &mut decoded.notices);
    if bytes[segments.end..].iter().any(|&byte| byte != 0) {
        decoded
            .notices
            .push(Notice::dropped("data behind the picture (a second picture or a film) was dropped"));
    }
    Ok(decoded)
}

fn check_frame(frame: Frame) -> Result<()> {
    let unsupported = |what: String| Err(Error::unsupported(format!("{what}, which is not supported")));
    match frame {
        Frame { marker: 0xc3 | 0xc7 | 0xcb | 0xcf, .. } => unsupported("a lossless JPEG".into()),
        Frame { marker: 0xc9.., .. } => unsupported("a JPEG with arithmetic coding".into()),
        Frame { marker: 0xc5.., .. } => unsupported("a hierarchical JPEG".into()),
        Frame { precision, .. } if precision != 8 => unsupported(format!("a JPEG of {precision} bits")),
        Frame { components, .. } if !matches!(components, 1 | 3 | 4) => {
            unsupported(format!("a JPEG of {components} components"))
        }
        Frame { height: 0, width: 1.., .. } => {
            unsupported("a JPEG that gives its height behind the pixels".into())
        }
        _ => Ok(()),
    }
}

/// Stored values to amounts of ink. Adobe's programs store light, not ink.
fn to_ink(data: &mut [u8], ycck: bool, adobe: bool) {
    for pixel in data.as_chunks_mut::<4>().0 {
        if ycck {
            let [y, cb, cr, black] = *pixel;
            let [r, g, b] = ycbcr_to_rgb([y, cb, cr]);
            *pixel = [255 - r, 255 - g, 255 - b, black];
        }
        if adobe {
            *pixel = pixel.map(|value| 255 - value);
        }
    }
}

/// JFIF's full-range YCbCr.
pub(super) fn ycbcr_to_rgb(pixel: [u8; 3]) -> [u8; 3] {
    let [y, cb, cr] = pixel.map(f32::from);
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|value| (value + 0.5).clamp(0.0, 255.0) as u8)
}

fn read_metadata(segments: &Segments<'_>, metadata: &mut Metadata, notices: &mut Vec<Notice>) {
    let blocks =
        |marker, prefix: &'static [u8]| segments.of(marker).filter_map(move |data| data.strip_prefix(prefix));
    metadata.exif = blocks(marker::APP1, b"Exif\0\0").next().map(<[u8]>::to_vec);
    metadata.xmp = blocks(marker::APP1, segments::XMP).next().map(<[u8]>::to_vec);
    match xmp_extension(metadata.xmp.as_deref(), blocks(marker::APP1, segments::EXTENDED_XMP)) {
        Ok(extension) => metadata.xmp_extension = extension,
        Err(()) => notices.push(Notice::dropped("the damaged extension of the XMP packet was dropped")),
    }
    let resources: Vec<u8> = blocks(marker::APP13, segments::PHOTOSHOP).flatten().copied().collect();
    let resources = photoshop::read(&resources);
    (metadata.iptc, metadata.photoshop) = (resources.iptc, resources.others);
    match icc(blocks(marker::APP2, segments::ICC)) {
        Ok(profile) => metadata.icc = profile,
        Err(()) => notices.push(Notice::dropped("the damaged ICC profile was dropped")),
    }
    metadata.density = blocks(marker::APP0, b"JFIF\0").next().and_then(density);
    metadata.texts = (segments.of(marker::COMMENT))
        .map(|text| Text {
            keyword: "Comment".to_owned(),
            value: String::from_utf8_lossy(text).trim_end_matches('\0').to_owned(),
        })
        .collect();
    metadata.jpeg_quality = segments.quality();
}

/// Joins the parts of a profile, each headed by its number (from 1) and the count.
fn icc<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Result<Option<Vec<u8>>, ()> {
    let mut parts: Vec<(u8, u8, &[u8])> = parts
        .map(|part| match part {
            [number, count, data @ ..] => Ok((*number, *count, data)),
            _ => Err(()),
        })
        .collect::<Result<_, ()>>()?;
    parts.sort_by_key(|(number, ..)| *number);
    let complete = parts.iter().enumerate().all(|(index, (number, count, _))| {
        usize::from(*number) == index + 1 && usize::from(*count) == parts.len()
    });
    match (parts.is_empty(), complete) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(parts.into_iter().flat_map(|(.., data)| data).copied().collect())),
        (false, false) => Err(()),
    }
}

/// Joins the parts of the extension that the packet names, each headed by the name, the whole length and its place.
fn xmp_extension<'a>(
    packet: Option<&[u8]>,
    parts: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<Vec<u8>>, ()> {
    let named =
        |name: &[u8]| packet.is_some_and(|packet| packet.windows(name.len()).any(|part| part == name));
    let mut parts: Vec<(u32, u32, &[u8])> = parts
        .filter_map(|part| {
            let (name, rest) = part.split_at_checked(segments::EXTENSION_NAME)?;
            let (length, rest) = rest.split_first_chunk()?;
            let (place, data) = rest.split_first_chunk()?;
            named(name).then_some((u32::from_be_bytes(*place), u32::from_be_bytes(*length), data))
        })
        .collect();
    parts.sort_by_key(|(place, ..)| *place);
    let Some(&(_, length, _)) = parts.first() else { return Ok(None) };
    let mut extension = Vec::new();
    for (place, _, data) in parts {
        if place as usize != extension.len() {
            return Err(());
        }
        extension.extend_from_slice(data);
    }
    (extension.len() == length as usize).then_some(Some(extension)).ok_or(())
}

/// JFIF: version, unit, two densities.
fn density(jfif: &[u8]) -> Option<Density> {
    let &[_, _, unit, x0, x1, y0, y1, ..] = jfif else { return None };
    let (x, y) = (u16::from_be_bytes([x0, x1]), u16::from_be_bytes([y0, y1]));
    let unit = match unit {
        0 => DensityUnit::Ratio,
        1 => DensityUnit::Inch,
        2 => DensityUnit::Centimetre,
        _ => return None,
    };
    // 1:1 without a unit says nothing.
    (x > 0 && y > 0 && (unit != DensityUnit::Ratio || x != y)).then(|| Density {
        x: x.into(),
        y: y.into(),
        unit,
    })
}
