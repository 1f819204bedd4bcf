//! JPEG compression as arithmetic: what quantisation does to a picture, without writing a file.

use crate::interpolate::{InterpolationMode, interpolate};
use gendr_image::{Error, Planes, Result};

const BLOCK: usize = 8;

/// Table K.1 of the JPEG standard (luma), rows are vertical frequencies.
#[rustfmt::skip]
const LUMA: [u16; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];

/// Table K.2 of the JPEG standard (chroma).
#[rustfmt::skip]
const CHROMA: [u16; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
];

/// How much smaller the chroma planes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subsampling {
    /// 4:4:4, full size.
    Full,
    /// 4:2:2, half the width.
    HalfWidth,
    /// 4:2:0, half of both sides.
    Quarter,
}

impl Subsampling {
    /// Vertical and horizontal factors.
    fn factors(self) -> [usize; 2] {
        match self {
            Self::Full => [1, 1],
            Self::HalfWidth => [1, 2],
            Self::Quarter => [2, 2],
        }
    }
}

/// The rules of a compressor: its quantisation tables and what it does at the borders and with chroma.
#[derive(Clone, Debug, PartialEq)]
pub struct JpegTables {
    luma: [f32; 64],
    chroma: [f32; 64],
    subsampling: Subsampling,
    imitates_libjpeg: bool,
}

impl JpegTables {
    /// The formula of the training pipeline (DiffJPEG): a real-valued quality, tables that are neither rounded nor
    /// floored, the luma one transposed as in the reference implementation, 4:2:0, zeros beyond the border, chroma
    /// repeated.
    ///
    /// # Errors
    /// An argument error where the quality is not above 0 and below 100.
    pub fn training(quality: f64) -> Result<Self> {
        if !(quality > 0.0 && quality < 100.0) {
            return Err(Error::argument(format!("the quality must be between 0 and 100, not {quality}")));
        }
        let factor = (if quality < 50.0 { 5000.0 / quality } else { 200.0 - 2.0 * quality } / 100.0) as f32;
        Ok(Self {
            luma: std::array::from_fn(|i| f32::from(LUMA[i % BLOCK * BLOCK + i / BLOCK]) * factor),
            chroma: CHROMA.map(|step| f32::from(step) * factor),
            subsampling: Subsampling::Quarter,
            imitates_libjpeg: false,
        })
    }

    /// What libjpeg does: whole-number tables, the border repeated, chroma interpolated.
    ///
    /// # Errors
    /// An argument error where the quality is not 1 to 100.
    pub fn libjpeg(quality: u8, subsampling: Subsampling) -> Result<Self> {
        if !(1..=100).contains(&quality) {
            return Err(Error::argument(format!("the quality must be 1 to 100, not {quality}")));
        }
        let quality = u32::from(quality);
        let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        let scale = |step: u16| ((u32::from(step) * percent + 50) / 100).clamp(1, 255) as f32;
        Ok(Self { luma: LUMA.map(scale), chroma: CHROMA.map(scale), subsampling, imitates_libjpeg: true })
    }

    /// Luma steps, rows are vertical frequencies.
    pub fn luma(&self) -> &[f32; 64] {
        &self.luma
    }

    /// Chroma steps, rows are vertical frequencies.
    pub fn chroma(&self) -> &[f32; 64] {
        &self.chroma
    }
}

/// Compresses and decompresses an RGB picture in `[0, 1]`; the result is clipped to that range.
///
/// # Errors
/// An argument error where the picture has not three planes or no pixels.
pub fn jpeg(picture: &Planes, tables: &JpegTables) -> Result<Planes> {
    if picture.channels() != 3 || picture.height() == 0 || picture.width() == 0 {
        return Err(Error::argument("JPEG compression takes a picture of three planes"));
    }
    let [down, across] = tables.subsampling.factors();
    let padded = pad(picture, BLOCK * down, BLOCK * across, tables.imitates_libjpeg);
    let [mut luma, mut blue, mut red] = to_ycbcr(&padded);
    if tables.imitates_libjpeg {
        [&mut luma, &mut blue, &mut red]
            .into_iter()
            .for_each(|plane| plane.map_in_place(f32::round_ties_even));
    }
    quantise(&mut luma, &tables.luma);
    let full = [padded.height(), padded.width()];
    let mut chroma = [blue, red];
    for plane in &mut chroma {
        let small = [full[0] / down, full[1] / across];
        *plane = interpolate(plane, small, None, InterpolationMode::Area)?;
        quantise(plane, &tables.chroma);
        // Repeating pixels is what area means come to when enlarging by whole numbers.
        let mode =
            if tables.imitates_libjpeg { InterpolationMode::Bilinear } else { InterpolationMode::Area };
        *plane = interpolate(plane, full, None, mode)?;
    }
    let [blue, red] = &chroma;
    to_rgb(&luma, blue, red).crop(0, 0, picture.width(), picture.height())
}

/// Makes the sides multiples of the given ones, to the right and below, with zeros or the last pixel repeated.
fn pad(picture: &Planes, down: usize, across: usize, repeat: bool) -> Planes {
    let (height, width) = (picture.height(), picture.width());
    let (tall, wide) = (height.next_multiple_of(down), width.next_multiple_of(across));
    let mut out = Planes::filled(picture.channels(), tall, wide, 0.0);
    for channel in 0..picture.channels() {
        for (y, line) in out.plane_mut(channel).chunks_exact_mut(wide).enumerate() {
            if y >= height && !repeat {
                break;
            }
            let row = picture.row(channel, y.min(height - 1));
            line[..width].copy_from_slice(row);
            line[width..].fill(if repeat { row[width - 1] } else { 0.0 });
        }
    }
    out
}

/// JFIF luma and chroma in 8-bit units, chroma centred on 128.
fn to_ycbcr(picture: &Planes) -> [Planes; 3] {
    let plane = |weights: [f32; 3], offset: f32| {
        let mut out = Planes::filled(1, picture.height(), picture.width(), 0.0);
        for (i, value) in out.data_mut().iter_mut().enumerate() {
            let sum = (0..3).map(|channel| weights[channel] * picture.plane(channel)[i]).sum::<f32>();
            *value = sum * 255.0 + offset;
        }
        out
    };
    [
        plane([0.299, 0.587, 0.114], 0.0),
        plane([-0.168_736, -0.331_264, 0.5], 128.0),
        plane([0.5, -0.418_688, -0.081_312], 128.0),
    ]
}

fn to_rgb(luma: &Planes, blue: &Planes, red: &Planes) -> Planes {
    let mut out = Planes::filled(3, luma.height(), luma.width(), 0.0);
    let weights = [[0.0, 1.402], [-0.344_136, -0.714_136], [1.772, 0.0]];
    for (channel, [from_blue, from_red]) in weights.into_iter().enumerate() {
        for (i, value) in out.plane_mut(channel).iter_mut().enumerate() {
            let chroma = from_blue * (blue.data()[i] - 128.0) + from_red * (red.data()[i] - 128.0);
            *value = ((luma.data()[i] + chroma) / 255.0).clamp(0.0, 1.0);
        }
    }
    out
}

/// Rounds the cosine coefficients of every block to multiples of their steps. Sides are multiples of the block's.
fn quantise(plane: &mut Planes, steps: &[f32; 64]) {
    let basis = cosine_basis();
    let transposed: [f32; 64] = std::array::from_fn(|i| basis[i % BLOCK * BLOCK + i / BLOCK]);
    let (height, width) = (plane.height(), plane.width());
    for y in (0..height).step_by(BLOCK) {
        for x in (0..width).step_by(BLOCK) {
            let at = |i: usize| (y + i / BLOCK) * width + x + i % BLOCK;
            let block: [f32; 64] = std::array::from_fn(|i| plane.data()[at(i)] - 128.0);
            let mut coefficients = multiply(&multiply(&basis, &block), &transposed);
            for (coefficient, step) in coefficients.iter_mut().zip(steps) {
                *coefficient = (*coefficient / step).round_ties_even() * step;
            }
            let block = multiply(&multiply(&transposed, &coefficients), &basis);
            for (i, value) in block.into_iter().enumerate() {
                plane.data_mut()[at(i)] = value + 128.0;
            }
        }
    }
}

/// The orthonormal cosine transform: row u holds frequency u.
fn cosine_basis() -> [f32; 64] {
    std::array::from_fn(|i| {
        let (frequency, position) = ((i / BLOCK) as f64, (i % BLOCK) as f64);
        let norm = if i < BLOCK { 0.125_f64.sqrt() } else { 0.5 };
        (norm * ((2.0 * position + 1.0) * frequency * std::f64::consts::PI / 16.0).cos()) as f32
    })
}

fn multiply(a: &[f32; 64], b: &[f32; 64]) -> [f32; 64] {
    let mut out = [0.0; 64];
    for (row, a) in out.chunks_exact_mut(BLOCK).zip(a.chunks_exact(BLOCK)) {
        for (weight, b) in a.iter().zip(b.chunks_exact(BLOCK)) {
            row.iter_mut().zip(b).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_quality_is_closer() {
        let data = (0..3 * 24 * 20).map(|i| ((i * 37) % 101) as f32 / 100.0).collect();
        let picture = Planes::from_vec(3, 24, 20, data).expect("sizes fit");
        let error = |quality| {
            let out =
                jpeg(&picture, &JpegTables::training(quality).expect("in range")).expect("three planes");
            out.data().iter().zip(picture.data()).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
        };
        assert!(error(95.0) < error(60.0) && error(60.0) < error(20.0));
    }

    #[test]
    fn senseless_requests_are_refused() {
        assert!(JpegTables::training(0.0).is_err() && JpegTables::training(f64::NAN).is_err());
        assert!(JpegTables::libjpeg(0, Subsampling::Full).is_err());
        let tables = JpegTables::training(50.0).expect("in range");
        assert!(jpeg(&Planes::filled(1, 8, 8, 0.0), &tables).is_err());
    }
}
