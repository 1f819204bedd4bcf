//! AVIF: AV1 pictures, whole or in a grid, 8 to 12 bits, with opacity.

pub(crate) mod container;
mod yuv;

use re_rav1d::dav1d::{Decoder, Error as Av1Error, Picture as Frame, Settings};

use super::Decoded;
use crate::{
    Error, Limits, Metadata, PngColor, Result,
    orientation::Orientation,
    raster::{Layout, Raster, Samples},
};
use container::{Coded, Container, Properties};
use yuv::Channels;

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let container = Container::read(bytes)?;
    let properties = container.properties();
    if let Some((width, height)) = properties.size {
        // Planes of the decoder and samples of 16 bits.
        limits.check(width.into(), height.into(), 4, 4)?;
    }
    let color = channels(&container.primary()?, properties.cicp, limits)?;
    let alpha = container.alpha()?;
    let opacity = match &alpha {
        Some((coded, _)) => Some(channels(coded, None, limits)?),
        None => None,
    };
    if opacity.as_ref().is_some_and(|opacity| opacity.size != color.size) {
        return Err(Error::input("damaged AVIF file: its opacity is of another size"));
    }
    let mut decoded = Decoded::new(raster(&color, opacity.as_ref()));
    decoded.premultiplied = alpha.is_some_and(|(_, multiplied)| multiplied);
    decoded.orientation = Some(orientation(&properties));
    decoded.metadata = Metadata {
        exif: container.exif(),
        xmp: container.xmp(),
        png_color: PngColor { cicp: stated_color(&properties), ..PngColor::default() },
        icc: properties.icc,
        ..Metadata::default()
    };
    Ok(decoded)
}

/// Turning comes before mirroring; EXIF's statement does not count.
fn orientation(properties: &Properties) -> Orientation {
    Orientation::from_exif(match (properties.turns, properties.mirror) {
        (0, Some(1)) | (2, Some(0)) => 2,
        (2, None) => 3,
        (0, Some(_)) | (2, Some(_)) => 4,
        (1, Some(0)) | (3, Some(1)) => 5,
        (3, None) => 6,
        (1, Some(_)) | (3, Some(_)) => 7,
        (1, None) => 8,
        _ => 1,
    })
}

/// Primaries and transfer where they are stated, there is no profile, and they are not sRGB's.
fn stated_color(properties: &Properties) -> Option<[u8; 4]> {
    const UNSPECIFIED: u8 = 2;
    let [primaries, transfer, ..] = properties.cicp.filter(|_| properties.icc.is_none())?;
    let stated = primaries != UNSPECIFIED && transfer != UNSPECIFIED && (primaries, transfer) != (1, 13);
    stated.then_some([primaries, transfer, 0, 1])
}

/// Colour or opacity of a picture, its parts joined.
fn channels(coded: &Coded, cicp: Option<[u8; 4]>, limits: &Limits) -> Result<Channels> {
    let parts = coded.streams.iter().map(|stream| {
        let frame = decode_stream(stream, limits)?;
        Channels::of(&frame, cicp)
    });
    let mut parts = parts.collect::<Result<Vec<_>>>()?;
    match (coded.size, parts.len()) {
        (None, 1) => Ok(parts.remove(0)),
        (Some((width, height)), _) => {
            limits.check(width.into(), height.into(), 4, 4)?;
            Channels::join(&parts, coded.columns, (width as usize, height as usize))
        }
        _ => Err(Error::input("damaged AVIF file: its grid")),
    }
}

fn decode_stream(stream: &[u8], limits: &Limits) -> Result<Frame> {
    if stream.is_empty() {
        return Err(Error::input("the AVIF has a picture without data"));
    }
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_frame_size_limit(u32::try_from(limits.max_pixels).unwrap_or(u32::MAX));
    let mut decoder = Decoder::with_settings(&settings).map_err(failed)?;
    match decoder.send_data(stream.to_vec(), None, None, None) {
        Ok(()) | Err(Av1Error::Again) => {}
        Err(error) => return Err(failed(error)),
    }
    loop {
        match decoder.get_picture() {
            Ok(frame) => {
                limits.check(frame.width().into(), frame.height().into(), 4, 4)?;
                return Ok(frame);
            }
            Err(Av1Error::Again) => match decoder.send_pending_data() {
                // All was sent, and there is no picture.
                Ok(()) => return decoder.get_picture().map_err(failed),
                Err(Av1Error::Again) => {}
                Err(error) => return Err(failed(error)),
            },
            Err(error) => return Err(failed(error)),
        }
    }
}

fn failed(error: Av1Error) -> Error {
    match error {
        Av1Error::Again => Error::input("the AVIF holds no picture"),
        Av1Error::NotEnoughMemory => {
            Error::limit("decoding the AVIF needs more memory than the limit allows")
        }
        other => Error::input(format!("damaged AVIF file: {other}")).with_source(other),
    }
}

/// Samples pixel by pixel, 8 bits where the source has no more, else 16.
fn raster(color: &Channels, opacity: Option<&Channels>) -> Raster {
    let layout = Layout::new(color.planes.len() == 1, opacity.is_some());
    let planes: Vec<&[f32]> =
        color.planes.iter().chain(opacity.map(|opacity| &opacity.planes[0])).map(Vec::as_slice).collect();
    let (width, height) = color.size;
    let values = (0..width * height).flat_map(|pixel| planes.iter().map(move |plane| plane[pixel]));
    let rounded = |most: f32| move |value: f32| value.clamp(0.0, 1.0) * most + 0.5;
    let samples = if color.bits == 8 {
        Samples::Eight(values.map(rounded(255.0)).map(|value| value as u8).collect())
    } else {
        Samples::Sixteen(values.map(rounded(65535.0)).map(|value| value as u16).collect())
    };
    Raster { width, height, layout, samples }
}
