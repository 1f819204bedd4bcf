//! Files to pictures.

mod gif;
mod jpeg;
#[cfg(feature = "jxl")]
mod jxl;
mod png;
mod small;
mod tiff;
mod webp;

use moxcms::ColorProfile;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(not(feature = "jxl"))]
use crate::format::not_built;
use crate::{
    Error, Format, Limits, Metadata, Notice, Picture, Planes, Result, alpha,
    color_space::{self, Stated},
    exif,
    orientation::Orientation,
    raster::{Layout, Raster},
};

pub(crate) use jpeg::segments;
pub(crate) use tiff::tags;

/// What a decoder hands over: pixels as stored, and everything else.
struct Decoded {
    raster: Raster,
    /// Whether colour was multiplied by opacity.
    premultiplied: bool,
    metadata: Metadata,
    /// The container's own statement; where there is none, EXIF's counts.
    orientation: Option<Orientation>,
    notices: Vec<Notice>,
}

impl Decoded {
    fn new(raster: Raster) -> Self {
        Self {
            raster,
            premultiplied: false,
            metadata: Metadata::default(),
            orientation: None,
            notices: Vec::new(),
        }
    }
}

/// Decodes a picture file of any format that is read, upright.
///
/// # Errors
/// An input error for a damaged, truncated or lying file or one that is no picture, an unsupported error for a variant
/// that is not read, a limit error before anything is allocated for a picture over `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let format = Format::detect(bytes)?;
    let decoder = match format {
        Format::Png => png::decode,
        Format::Jpeg => jpeg::decode,
        Format::Webp => webp::decode,
        Format::Tiff => tiff::decode,
        Format::Gif => gif::decode,
        #[cfg(feature = "jxl")]
        Format::Jxl => jxl::decode,
        #[cfg(not(feature = "jxl"))]
        Format::Jxl => return Err(not_built("JPEG XL", "jxl")),
        // Never detected.
        Format::Avif => return Err(Error::unsupported("AVIF is written only")),
        Format::Bmp | Format::Pnm | Format::Qoi | Format::Tga => small::decode,
    };
    // Decoders of others may panic on hostile files; nothing of theirs outlives the call.
    catch_unwind(AssertUnwindSafe(|| finish(decoder(bytes, limits)?, format)))
        .unwrap_or_else(|_| Err(Error::input(format!("damaged {} file", format.name()))))
}

/// An error of a decoder, named after the format.
fn damaged(format: Format, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = error.to_string();
    let line = message.lines().next().unwrap_or_default();
    Error::input(format!("damaged {} file: {line}", format.name())).with_source(error)
}

/// Planes, upright and not multiplied by opacity, from what a decoder hands over.
fn finish(decoded: Decoded, format: Format) -> Result<Picture> {
    let Decoded { raster, premultiplied, mut metadata, orientation, mut notices } = decoded;
    let (layout, depth) = (raster.layout, raster.samples.depth());
    let planes = raster.to_planes()?;
    drop(raster);
    let (mut color, alpha) = separate(planes, layout)?;
    if let Some(alpha) = alpha.as_ref().filter(|_| premultiplied) {
        alpha::unmultiply(&mut color, alpha);
    }
    manage_color(&mut color, layout, &mut metadata, &mut notices);
    let exif_orientation = || metadata.exif.as_deref().and_then(exif::orientation);
    let orientation = orientation
        .or_else(|| exif_orientation().map(Orientation::from_exif))
        .unwrap_or(Orientation::UPRIGHT);
    if let Some(exif) = &mut metadata.exif {
        exif::set_upright(exif);
    }
    if orientation.transposes() {
        metadata.density = metadata.density.map(crate::Density::transposed);
    }
    Ok(Picture {
        color: orientation.apply(color),
        alpha: alpha.map(|alpha| orientation.apply(alpha)),
        grey: layout.is_grey(),
        depth,
        format,
        metadata,
        notices,
    })
}

/// Colour (grey three times) and opacity.
fn separate(planes: Planes, layout: Layout) -> Result<(Planes, Option<Planes>)> {
    let (width, height) = (planes.width(), planes.height());
    let area = width * height;
    let mut data = planes.into_vec();
    let alpha = layout.has_alpha().then(|| data.split_off(data.len() - area));
    if layout.is_grey() {
        data.reserve_exact(2 * area);
        data.extend_from_within(..area);
        data.extend_from_within(..area);
    }
    let color = Planes::from_vec(data.len() / area, height, width, data)?;
    let alpha = alpha.map(|data| Planes::from_vec(1, height, width, data)).transpose()?;
    Ok((color, alpha))
}

/// Brings colours that could not be brought back to their own space to sRGB, for good.
fn manage_color(color: &mut Planes, layout: Layout, metadata: &mut Metadata, notices: &mut Vec<Notice>) {
    if layout == Layout::Cmyk {
        let profile = metadata.icc.take();
        let parsed = profile.as_deref().and_then(|icc| ColorProfile::new_from_slice(icc).ok());
        let managed = parsed.and_then(|parsed| color_space::tables_to_srgb(&parsed, color));
        let how = match (&managed, &profile) {
            (Some(_), _) => "CMYK was converted to sRGB by its profile",
            (None, Some(_)) => "CMYK was converted to sRGB without its profile, which cannot be used",
            (None, None) => "CMYK was converted to sRGB without a profile",
        };
        *color = managed.unwrap_or_else(|| ink_to_rgb(color));
        notices.push(Notice::converted(how));
        return;
    }
    match color_space::stated(metadata, layout.is_grey()) {
        Stated::Srgb | Stated::Simple(_) => {}
        Stated::Tables(profile) => {
            if let Some(converted) = color_space::tables_to_srgb(&profile, color) {
                *color = converted;
                metadata.icc = None;
                notices
                    .push(Notice::converted("colours were converted to sRGB: their profile leads one way"));
            }
        }
        Stated::Unknown => {
            notices.push(Notice::converted(
                "colours are taken for sRGB: their colour space is not one that can be used",
            ));
        }
    }
}

/// Ink without a profile: each ink and black take light away.
fn ink_to_rgb(ink: &Planes) -> Planes {
    let mut color = Planes::filled(3, ink.height(), ink.width(), 0.0);
    for channel in 0..3 {
        let inks = ink.plane(channel).iter().zip(ink.plane(3));
        for (value, (ink, black)) in color.plane_mut(channel).iter_mut().zip(inks) {
            *value = (1.0 - ink) * (1.0 - black);
        }
    }
    color
}
