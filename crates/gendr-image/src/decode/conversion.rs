//! From samples as stored to colour and opacity: what is the same for every pixel of a file.

use moxcms::ColorProfile;

use super::Decoded;
use crate::{
    Metadata, Notice, Planes, Result, alpha,
    color_space::{self, Stated, TablesToSrgb},
    raster::{Layout, Raster},
};

/// Turns rows of samples into colour, `[3, height, width]`, and opacity, `[1, height, width]`.
pub(super) struct Conversion {
    layout: Layout,
    premultiplied: bool,
    color: Color,
}

/// What is done to colours that could not be brought back to their own space.
enum Color {
    /// Nothing: their space can be left and entered again.
    Kept,
    /// They go to sRGB by the tables of their profile.
    ByTables(TablesToSrgb),
    /// They are ink without a profile that can be used.
    Ink,
}

impl Conversion {
    /// The conversion for what a decoder hands over. A profile that is true of the source's colours alone is taken from the
    /// metadata, and notices tell of it.
    pub(super) fn new(decoded: &mut Decoded) -> Self {
        let (layout, premultiplied) = (decoded.raster.layout, decoded.premultiplied);
        let (metadata, notices) = (&mut decoded.metadata, &mut decoded.notices);
        let color =
            if layout == Layout::Cmyk { ink(metadata, notices) } else { light(layout, metadata, notices) };
        Self { layout, premultiplied: premultiplied && layout.has_alpha(), color }
    }

    /// Colour (three equal planes for grey) and opacity of whole rows.
    pub(super) fn apply(&self, raster: &Raster) -> Result<(Planes, Option<Planes>)> {
        let (mut color, alpha) = separate(raster.to_planes()?, self.layout)?;
        if let Some(alpha) = alpha.as_ref().filter(|_| self.premultiplied) {
            alpha::unmultiply(&mut color, alpha);
        }
        let color = match &self.color {
            Color::Kept => color,
            Color::ByTables(tables) => tables.apply(&color),
            Color::Ink => ink_to_rgb(&color),
        };
        Ok((color, alpha))
    }
}

fn ink(metadata: &mut Metadata, notices: &mut Vec<Notice>) -> Color {
    let profile = metadata.icc.take();
    let parsed = profile.as_deref().and_then(|icc| ColorProfile::new_from_slice(icc).ok());
    let tables = parsed.and_then(|parsed| TablesToSrgb::new(&parsed, Layout::Cmyk.channels()));
    let how = match (&tables, &profile) {
        (Some(_), _) => "CMYK was converted to sRGB by its profile",
        (None, Some(_)) => "CMYK was converted to sRGB without its profile, which cannot be used",
        (None, None) => "CMYK was converted to sRGB without a profile",
    };
    notices.push(Notice::converted(how));
    tables.map_or(Color::Ink, Color::ByTables)
}

fn light(layout: Layout, metadata: &mut Metadata, notices: &mut Vec<Notice>) -> Color {
    match color_space::stated(metadata, layout.is_grey()) {
        Stated::Srgb | Stated::Simple(_) => {}
        Stated::Tables(profile) => {
            if let Some(tables) = TablesToSrgb::new(&profile, Layout::Rgb.channels()) {
                metadata.icc = None;
                notices
                    .push(Notice::converted("colours were converted to sRGB: their profile leads one way"));
                return Color::ByTables(tables);
            }
        }
        Stated::Unknown => {
            notices.push(Notice::converted(
                "colours are taken for sRGB: their colour space is not one that can be used",
            ));
        }
    }
    Color::Kept
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
