//! Colours to sRGB, which networks know, and back to the space of the source.

mod curve;

use std::sync::Arc;

use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile, DataColorSpace, Layout,
    Matrix3d, MatrixCoefficients, ToneReprCurve, TransferCharacteristics, TransformF32Executor,
    TransformOptions, Vector3d, XyY, curve_from_gamma,
};
use rayon::prelude::*;

use crate::{Metadata, Picture, Planes, PngColor};
use curve::Curve;

/// A colour space other than sRGB that can be left and entered again without loss, but for rounding.
///
/// Colours outside sRGB become values outside `[0, 1]`.
#[derive(Clone, Debug)]
pub struct ColorSpace {
    curves: [Curve; 3],
    to_srgb: Matrix3d,
    from_srgb: Matrix3d,
}

/// What a file's statements of colour come to.
#[derive(Clone, Debug)]
pub(crate) enum Stated {
    /// sRGB, or nothing at all.
    Srgb,
    /// Curves and a matrix.
    Simple(Box<ColorSpace>),
    /// Tables, which lead to sRGB but not back.
    Tables(Box<ColorProfile>),
    /// HDR, or a damaged or unknown profile.
    Unknown,
}

/// Differences under this are taken for none.
const SAME: f64 = 0.002;

impl Picture {
    /// The space of the picture's colours; none for sRGB, or where it cannot be told (which a notice says).
    pub fn color_space(&self) -> Option<ColorSpace> {
        match stated(&self.metadata, self.grey) {
            Stated::Simple(space) => Some(*space),
            _ => None,
        }
    }
}

impl ColorSpace {
    /// Brings colour, `[3, height, width]`, to sRGB.
    pub fn to_srgb(&self, color: &mut Planes) {
        let srgb = Curve::SRGB;
        self.convert(color, |pixel| {
            let linear = std::array::from_fn(|channel| self.curves[channel].linear(pixel[channel]));
            multiply(&self.to_srgb, linear).map(|value| srgb.encoded(value))
        });
    }

    /// Brings colour, `[3, height, width]`, back from sRGB.
    pub fn from_srgb(&self, color: &mut Planes) {
        let srgb = Curve::SRGB;
        self.convert(color, |pixel| {
            let linear = multiply(&self.from_srgb, pixel.map(|value| srgb.linear(value)));
            std::array::from_fn(|channel| self.curves[channel].encoded(linear[channel]))
        });
    }

    fn convert(&self, color: &mut Planes, pixel: impl Fn([f64; 3]) -> [f64; 3] + Sync) {
        const RUN: usize = 4096;
        let area = color.width() * color.height();
        let (red, rest) = color.data_mut().split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        let runs = red.par_chunks_mut(RUN).zip(green.par_chunks_mut(RUN)).zip(blue.par_chunks_mut(RUN));
        runs.for_each(|((red, green), blue)| {
            for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
                let result = pixel([*red, *green, *blue].map(f64::from));
                [*red, *green, *blue] = result.map(|value| value as f32);
            }
        });
    }

    /// None where the profile is not made of curves and an invertible matrix.
    fn new(profile: &ColorProfile) -> Option<Self> {
        let (curves, to_srgb) = if profile.color_space == DataColorSpace::Gray {
            let curve = Curve::new(profile.gray_trc.as_ref()?)?;
            (std::array::from_fn(|_| curve.clone()), Matrix3d::IDENTITY)
        } else {
            let curve = |curve: &Option<ToneReprCurve>| curve.as_ref().and_then(Curve::new);
            let curves = [curve(&profile.red_trc)?, curve(&profile.green_trc)?, curve(&profile.blue_trc)?];
            let srgb = ColorProfile::new_srgb().rgb_to_xyz_matrix();
            (curves, srgb.inverse().mat_mul(profile.rgb_to_xyz_matrix()))
        };
        let from_srgb = to_srgb.inverse();
        let sound = |matrix: &Matrix3d| matrix.v.iter().flatten().all(|value| value.is_finite());
        (sound(&to_srgb) && sound(&from_srgb)).then_some(Self { curves, to_srgb, from_srgb })
    }

    /// Whether colours are those of sRGB, but for the rounding of a profile's numbers.
    fn is_srgb(&self) -> bool {
        let srgb = Curve::SRGB;
        let curve_is = |curve: &Curve| {
            [0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 1.0]
                .into_iter()
                .all(|value| (srgb.encoded(curve.linear(value)) - value).abs() < SAME)
        };
        // In light: near black, sRGB's curve makes much of differences that nobody sees.
        let matrix_is = self.to_srgb.v.iter().flatten().zip(Matrix3d::IDENTITY.v.iter().flatten());
        self.curves.iter().all(curve_is) && matrix_is.into_iter().all(|(got, want)| (got - want).abs() < SAME)
    }
}

/// What the metadata say of colour, in PNG's order of precedence: cICP, the profile, sRGB, gamma and chromaticities.
pub(crate) fn stated(metadata: &Metadata, grey: bool) -> Stated {
    let profile = match (&metadata.icc, metadata.png_color) {
        (_, PngColor { cicp: Some(points), .. }) => from_cicp(points),
        (Some(icc), _) => ColorProfile::new_from_slice(icc).ok(),
        (None, color) => match from_png(color) {
            Some(profile) => Some(profile),
            None => return Stated::Srgb,
        },
    };
    let Some(profile) = profile else { return Stated::Unknown };
    let fits = match profile.color_space {
        DataColorSpace::Gray => grey,
        DataColorSpace::Rgb => true,
        _ => false,
    };
    if !fits {
        return Stated::Unknown;
    }
    let tables = profile.lut_a_to_b_perceptual.is_some() || profile.lut_a_to_b_colorimetric.is_some();
    match ColorSpace::new(&profile) {
        Some(space) if space.is_srgb() => Stated::Srgb,
        Some(space) => Stated::Simple(Box::new(space)),
        None if tables => Stated::Tables(Box::new(profile)),
        None => Stated::Unknown,
    }
}

/// The colour space of PNG's chunks as an ICC profile, for formats that hold nothing else.
pub(crate) fn as_icc(color: PngColor) -> Option<Vec<u8>> {
    let profile = color.cicp.map_or_else(|| from_png(color), from_cicp)?;
    let mut icc = profile.encode().ok()?;
    // The standard wants a length divisible by four, and libpng refuses any other.
    icc.resize(icc.len().next_multiple_of(4), 0);
    let length = u32::try_from(icc.len()).ok()?;
    icc.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
    Some(icc)
}

/// The way from a profile of tables to sRGB.
pub(crate) struct TablesToSrgb {
    transform: Arc<TransformF32Executor>,
    channels: usize,
}

impl TablesToSrgb {
    /// None where the profile is of another kind of colour (3 channels are RGB, 4 CMYK) or damaged.
    pub(crate) fn new(profile: &ColorProfile, channels: usize) -> Option<Self> {
        // A four-channel layout stands for any four channels.
        let (layout, kind) = match channels {
            3 => (Layout::Rgb, DataColorSpace::Rgb),
            4 => (Layout::Rgba, DataColorSpace::Cmyk),
            _ => return None,
        };
        if profile.color_space != kind {
            return None;
        }
        let srgb = ColorProfile::new_srgb();
        let transform =
            profile.create_transform_f32(layout, &srgb, Layout::Rgb, TransformOptions::default()).ok()?;
        Some(Self { transform, channels })
    }

    /// Colours of `[channels, height, width]` in sRGB, `[3, height, width]`.
    pub(crate) fn apply(&self, color: &Planes) -> Planes {
        let (channels, width) = (self.channels, color.width());
        let rows: Vec<Vec<f32>> = (0..color.height())
            .into_par_iter()
            .map(|y| {
                let source: Vec<f32> =
                    (0..width * channels).map(|at| color.row(at % channels, y)[at / channels]).collect();
                let mut row = vec![0.0; width * 3];
                // Fails only for rows of unequal length.
                let _ = self.transform.transform(&source, &mut row);
                row
            })
            .collect();
        let mut result = Planes::filled(3, color.height(), width, 0.0);
        for (y, row) in rows.iter().enumerate() {
            for channel in 0..3 {
                let line = &mut result.plane_mut(channel)[y * width..(y + 1) * width];
                line.iter_mut()
                    .zip(row.chunks_exact(3))
                    .for_each(|(value, pixel)| *value = pixel[channel].clamp(0.0, 1.0));
            }
        }
        result
    }
}

fn from_cicp([primaries, transfer, _, full_range]: [u8; 4]) -> Option<ColorProfile> {
    let color_primaries = CicpColorPrimaries::try_from(primaries).ok()?;
    let transfer_characteristics = TransferCharacteristics::try_from(transfer).ok()?;
    let hdr =
        matches!(transfer_characteristics, TransferCharacteristics::Smpte2084 | TransferCharacteristics::Hlg);
    (!hdr).then(|| {
        ColorProfile::new_from_cicp(CicpProfile {
            color_primaries,
            transfer_characteristics,
            matrix_coefficients: MatrixCoefficients::Identity,
            full_range: full_range != 0,
        })
    })
}

/// From gamma and chromaticities; none where sRGB is stated or nothing is.
fn from_png(color: PngColor) -> Option<ColorProfile> {
    if color.srgb_intent.is_some() || (color.gamma.is_none() && color.chromaticities.is_none()) {
        return None;
    }
    let mut profile = ColorProfile::new_srgb();
    profile.cicp = None;
    if let Some(gamma) = color.gamma.filter(|&gamma| gamma > 0) {
        // sRGB's curve is what a gamma of 1 / 2.2 stands for.
        if gamma.abs_diff(45_455) > 50 {
            let curve = curve_from_gamma(100_000.0 / gamma as f32);
            profile.red_trc = Some(curve.clone());
            profile.green_trc = Some(curve.clone());
            profile.blue_trc = Some(curve);
        }
    }
    if let Some(points) = color.chromaticities {
        let [white, red, green, blue] =
            [0, 2, 4, 6].map(|at| (f64::from(points[at]) / 1e5, f64::from(points[at + 1]) / 1e5));
        let point = |(x, y): (f64, f64)| Chromaticity { x: x as f32, y: y as f32 };
        let primaries = ColorPrimaries { red: point(red), green: point(green), blue: point(blue) };
        profile.update_rgb_colorimetry(XyY { x: white.0, y: white.1, yb: 1.0 }, primaries);
    }
    Some(profile)
}

fn multiply(matrix: &Matrix3d, vector: [f64; 3]) -> [f64; 3] {
    matrix.mul_vector(Vector3d { v: vector }).v
}
