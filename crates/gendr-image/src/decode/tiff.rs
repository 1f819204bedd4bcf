//! TIFF: strips and tiles, planar or not, 1 to 16 bits and floats.

pub(super) mod rows;
pub(crate) mod tags;

use std::{
    borrow::Cow,
    io::{Cursor, Read, Seek},
};

use tiff::{
    ColorType, TiffError,
    decoder::{Decoder, DecodingResult},
    tags::Tag,
};

use super::{Decoded, damaged};
use crate::{
    Error, Format, Limits, Notice, Result,
    exif::Exif,
    raster::{Layout, Raster, Samples},
};

/// How the samples of a pixel are to be read.
#[derive(Clone, Copy)]
enum Meaning {
    Layout(Layout),
    Palette,
    Ycbcr,
}

/// A file whose first directory was read, and what that says of the pixels.
struct Begun<R: Read + Seek> {
    decoder: Decoder<R>,
    width: usize,
    height: usize,
    meaning: Meaning,
    channels: usize,
    bits: u8,
}

fn begin<R: Read + Seek>(file: R, palette: bool, length: u64, limits: &Limits) -> Result<Begun<R>> {
    let mut allocation = tiff::decoder::Limits::default();
    allocation.decoding_buffer_size = limits.allocation();
    allocation.intermediate_buffer_size = limits.allocation();
    allocation.ifd_value_size = (64 << 20).min(limits.allocation());
    let mut decoder = Decoder::new(file).map_err(error)?.with_limits(allocation);
    let (width, height) = decoder.dimensions().map_err(error)?;
    let color = decoder.colortype().map_err(error)?;
    let (meaning, channels) = meaning(color, palette)?;
    let bits = color.bit_depth();
    check_extent(&mut decoder, length)?;
    Ok(Begun { decoder, width: width as usize, height: height as usize, meaning, channels, bits })
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let mut pixels = Cow::Borrowed(bytes);
    let palette = tags::unname_palette(&mut pixels);
    let begun = begin(Cursor::new(&*pixels), palette, bytes.len() as u64, limits)?;
    let Begun { mut decoder, width, height, meaning, channels, bits } = begun;
    limits.check(width as u64, height as u64, channels as u64, u64::from(bits).div_ceil(8))?;

    let mut result = DecodingResult::U8(Vec::new());
    let buffer = decoder.read_image_to_buffer(&mut result).map_err(error)?;
    let mut notices = Vec::new();
    let samples = to_samples(result, &mut notices)?;
    let samples = match samples {
        Samples::Eight(packed) if bits < 8 => {
            Samples::Eight(unpack(&packed, width, height, bits, matches!(meaning, Meaning::Palette)))
        }
        whole => whole,
    };
    let samples = if buffer.planes > 1 { join_planes(samples, buffer.planes) } else { samples };
    let (layout, samples) = match meaning {
        Meaning::Layout(layout) => (layout, samples),
        Meaning::Ycbcr => (Layout::Rgb, from_ycbcr(samples)?),
        Meaning::Palette => {
            let map = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(error)?;
            notices.push(Notice::converted("the palette became full colour"));
            (Layout::Rgb, from_palette(samples, &map)?)
        }
    };
    if bits < 8 && layout == Layout::Grey {
        notices.push(Notice::converted("samples of fewer than 8 bits became 8 bits"));
    }
    let mut decoded = Decoded::new(Raster { width, height, layout, samples });
    decoded.notices = notices;
    describe(&mut decoder, Exif::read(bytes), &mut decoded)?;
    Ok(decoded)
}

/// Fills in all that is said besides the pixels.
fn describe<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    exif: Option<Exif>,
    decoded: &mut Decoded,
) -> Result<()> {
    if decoder.more_images() {
        decoded.notices.push(Notice::dropped("only the first page is used"));
    }
    let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(error)?.unwrap_or_default();
    decoded.premultiplied = extra.first() == Some(&1);
    tags::read(exif, decoded);
    Ok(())
}

fn meaning(color: ColorType, palette: bool) -> Result<(Meaning, usize)> {
    Ok(match color {
        ColorType::Gray(1 | 2 | 4 | 8) if palette => (Meaning::Palette, 3),
        ColorType::Gray(1 | 2 | 4 | 8 | 16 | 32 | 64) => (Meaning::Layout(Layout::Grey), 1),
        ColorType::RGB(8 | 16 | 32 | 64) => (Meaning::Layout(Layout::Rgb), 3),
        ColorType::RGBA(8 | 16 | 32 | 64) => (Meaning::Layout(Layout::Rgba), 4),
        ColorType::CMYK(8 | 16 | 32) => (Meaning::Layout(Layout::Cmyk), 4),
        ColorType::Multiband { bit_depth: 8 | 16 | 32, num_samples: 2 } => {
            (Meaning::Layout(Layout::GreyAlpha), 2)
        }
        ColorType::YCbCr(8) => (Meaning::Ycbcr, 3),
        other => return Err(Error::unsupported(format!("a TIFF of {other:?}, which is not supported"))),
    })
}

/// Refuses a file whose pixels lie, even in part, behind its end.
fn check_extent<R: Read + Seek>(decoder: &mut Decoder<R>, length: u64) -> Result<()> {
    for (offsets, counts) in
        [(Tag::StripOffsets, Tag::StripByteCounts), (Tag::TileOffsets, Tag::TileByteCounts)]
    {
        let offsets = decoder.find_tag_unsigned_vec::<u64>(offsets).map_err(error)?.unwrap_or_default();
        let counts = decoder.find_tag_unsigned_vec::<u64>(counts).map_err(error)?.unwrap_or_default();
        let inside =
            |(offset, count): (&u64, &u64)| offset.checked_add(*count).is_some_and(|end| end <= length);
        if !offsets.iter().zip(&counts).all(inside) {
            return Err(Error::input("the TIFF ends early"));
        }
    }
    Ok(())
}

fn to_samples(result: DecodingResult, notices: &mut Vec<Notice>) -> Result<Samples> {
    let mut narrowed = || notices.push(Notice::converted("32-bit samples became floating point"));
    Ok(match result {
        DecodingResult::U8(samples) => Samples::Eight(samples),
        DecodingResult::U16(samples) => Samples::Sixteen(samples),
        DecodingResult::U32(samples) => {
            narrowed();
            let scale = f64::from(u32::MAX);
            Samples::Float(samples.iter().map(|&value| (f64::from(value) / scale) as f32).collect())
        }
        DecodingResult::F16(samples) => Samples::Float(samples.iter().map(|value| value.to_f32()).collect()),
        DecodingResult::F32(samples) => Samples::Float(samples),
        DecodingResult::F64(samples) => Samples::Float(samples.iter().map(|&value| value as f32).collect()),
        _ => return Err(Error::unsupported("a TIFF of signed or 64-bit samples, which is not supported")),
    })
}

/// One byte for each sample of `bits` bits; rows begin at whole bytes. Palette indices keep their value, grey is widened
/// to 0..=255.
fn unpack(packed: &[u8], width: usize, height: usize, bits: u8, indices: bool) -> Vec<u8> {
    let most = (1u8 << bits) - 1;
    let factor = if indices { 1 } else { 255 / most };
    let row_bytes = (width * usize::from(bits)).div_ceil(8);
    let sample = |row: &[u8], x: usize| {
        let position = x * usize::from(bits);
        let shift = 8 - usize::from(bits) - position % 8;
        ((row[position / 8] >> shift) & most) * factor
    };
    packed
        .chunks_exact(row_bytes)
        .take(height)
        .flat_map(|row| (0..width).map(move |x| sample(row, x)))
        .collect()
}

/// Samples plane by plane to samples pixel by pixel.
fn join_planes(samples: Samples, planes: usize) -> Samples {
    fn join<T: Copy>(samples: &[T], planes: usize) -> Vec<T> {
        let area = samples.len() / planes;
        (0..area).flat_map(|pixel| (0..planes).map(move |plane| samples[plane * area + pixel])).collect()
    }
    match samples {
        Samples::Eight(samples) => Samples::Eight(join(&samples, planes)),
        Samples::Sixteen(samples) => Samples::Sixteen(join(&samples, planes)),
        Samples::Float(samples) => Samples::Float(join(&samples, planes)),
    }
}

fn from_palette(samples: Samples, map: &[u16]) -> Result<Samples> {
    let Samples::Eight(indices) = samples else { return Err(Error::input("damaged TIFF file: its palette")) };
    let entries = map.len() / 3;
    let mut pixels = Vec::with_capacity(indices.len() * 3);
    for index in indices {
        for channel in 0..3 {
            let value = (usize::from(index) < entries).then(|| map[channel * entries + usize::from(index)]);
            let value =
                value.ok_or_else(|| Error::input("damaged TIFF file: a colour beyond its palette"))?;
            pixels.push((value >> 8) as u8);
        }
    }
    Ok(Samples::Eight(pixels))
}

fn from_ycbcr(samples: Samples) -> Result<Samples> {
    let Samples::Eight(mut data) = samples else {
        return Err(Error::input("damaged TIFF file: its YCbCr samples"));
    };
    for pixel in data.as_chunks_mut::<3>().0 {
        *pixel = super::jpeg::ycbcr_to_rgb(*pixel);
    }
    Ok(Samples::Eight(data))
}

fn error(error: TiffError) -> Error {
    match error {
        TiffError::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::input("the TIFF ends early").with_source(source)
        }
        TiffError::LimitsExceeded => {
            Error::limit("decoding the TIFF needs more memory than the limit allows")
        }
        TiffError::UnsupportedError(what) => {
            Error::unsupported(format!("a TIFF that is not supported: {what}")).with_source(what)
        }
        other => damaged(Format::Tiff, other),
    }
}
