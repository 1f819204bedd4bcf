//! BMP, PNM, QOI and TGA: formats with little besides pixels.

use std::io::Cursor;

use image::{
    ColorType, ImageDecoder, ImageError,
    codecs::{bmp::BmpDecoder, pnm::PnmDecoder, qoi::QoiDecoder, tga::TgaDecoder},
};

use super::{Decoded, damaged};
use crate::{
    Error, Format, Limits, Result,
    raster::{Layout, Raster, Samples},
};

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let reader = Cursor::new(bytes);
    match Format::detect(bytes)? {
        Format::Bmp => read(BmpDecoder::new(reader), limits, Format::Bmp),
        Format::Qoi => read(QoiDecoder::new(reader), limits, Format::Qoi),
        Format::Tga => read(TgaDecoder::new(reader), limits, Format::Tga),
        format => read(PnmDecoder::new(reader), limits, format),
    }
}

fn read(decoder: Result<impl ImageDecoder, ImageError>, limits: &Limits, format: Format) -> Result<Decoded> {
    let failed = |failure: ImageError| error(failure, format);
    let mut decoder = decoder.map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let (layout, wide) = match color {
        ColorType::L8 => (Layout::Grey, false),
        ColorType::La8 => (Layout::GreyAlpha, false),
        ColorType::Rgb8 => (Layout::Rgb, false),
        ColorType::Rgba8 => (Layout::Rgba, false),
        ColorType::L16 => (Layout::Grey, true),
        ColorType::La16 => (Layout::GreyAlpha, true),
        ColorType::Rgb16 => (Layout::Rgb, true),
        ColorType::Rgba16 => (Layout::Rgba, true),
        other => {
            return Err(Error::unsupported(format!(
                "a {} of {other:?}, which is not supported",
                format.name()
            )));
        }
    };
    limits.check(width.into(), height.into(), layout.channels() as u64, if wide { 2 } else { 1 })?;
    let icc = decoder.icc_profile().ok().flatten();
    let mut data = vec![
        0;
        usize::try_from(decoder.total_bytes())
            .map_err(|_| Error::limit("the picture is too large to address"))?
    ];
    decoder.read_image(&mut data).map_err(failed)?;
    let samples = if wide { Samples::sixteen(&data, u16::from_ne_bytes) } else { Samples::Eight(data) };
    let mut decoded =
        Decoded::new(Raster { width: width as usize, height: height as usize, layout, samples });
    decoded.metadata.icc = icc;
    Ok(decoded)
}

fn error(error: ImageError, format: Format) -> Error {
    match error {
        ImageError::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::input(format!("the {} ends early", format.name())).with_source(source)
        }
        ImageError::Limits(_) => Error::limit("decoding needs more memory than the limit allows"),
        ImageError::Unsupported(what) => {
            Error::unsupported(format!("a {} that is not supported: {what}", format.name())).with_source(what)
        }
        other => damaged(format, other),
    }
}
