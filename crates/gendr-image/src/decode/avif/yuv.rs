//! Luma and chroma of an AV1 frame to R'G'B' (ITU-T H.273).

use rayon::prelude::*;
use re_rav1d::dav1d::{
    Picture as Frame, PixelLayout, PlanarImageComponent, pixel::MatrixCoefficients, pixel::YUVRange,
};

use crate::{Error, Result};

/// One plane (grey, opacity) or three (R'G'B'), values in `[0, 1]`.
pub(super) struct Channels {
    pub(super) size: (usize, usize),
    pub(super) bits: u8,
    pub(super) planes: Vec<Vec<f32>>,
}

/// How luma and chroma make colour.
enum Matrix {
    Identity,
    /// By the weights of red and blue in luma.
    Weights(f32, f32),
    Ycgco,
}

impl Channels {
    /// Colour of a frame; the container's statement of primaries, transfer, matrix and range counts before the stream's.
    pub(super) fn of(frame: &Frame, cicp: Option<[u8; 4]>) -> Result<Self> {
        let size = (frame.width() as usize, frame.height() as usize);
        let bits = frame.bits_per_component().map_or(8, |bits| bits.0 as u8);
        let full = cicp.map_or_else(|| matches!(frame.color_range(), YUVRange::Full), |[.., full]| full != 0);
        let luma = read(frame, PlanarImageComponent::Y, size, bits);
        let luma_range = Range::new(bits, full, false);
        let luma: Vec<f32> = luma.par_iter().map(|&value| luma_range.unit(value)).collect();
        if frame.pixel_layout() == PixelLayout::I400 {
            return Ok(Self { size, bits, planes: vec![luma] });
        }
        let matrix = matrix(cicp.map(|[_, _, matrix, _]| matrix), frame)?;
        let (across, down) = match frame.pixel_layout() {
            PixelLayout::I444 => (1, 1),
            PixelLayout::I422 => (2, 1),
            _ => (2, 2),
        };
        // Green, blue and red stand in for luma and chroma.
        let chroma_range = Range::new(bits, full, !matches!(matrix, Matrix::Identity));
        let small = (size.0.div_ceil(across), size.1.div_ceil(down));
        let [u, v] = [PlanarImageComponent::U, PlanarImageComponent::V].map(|component| {
            let values = read(frame, component, small, bits);
            let values: Vec<f32> = values.par_iter().map(|&value| chroma_range.unit(value)).collect();
            enlarge(values, small, size, (across, down))
        });
        Ok(Self { size, bits, planes: to_rgb(&matrix, luma, u, v) })
    }

    /// Parts side by side, `columns` in a row, cut to `size`.
    pub(super) fn join(parts: &[Self], columns: usize, (width, height): (usize, usize)) -> Result<Self> {
        let damaged = || Error::input("damaged AVIF file: its grid");
        let first = parts.first().ok_or_else(damaged)?;
        let (part_width, part_height) = first.size;
        let alike = |part: &Self| {
            part.size == first.size && part.bits == first.bits && part.planes.len() == first.planes.len()
        };
        let covered = part_width * columns >= width && part_height * (parts.len() / columns) >= height;
        if !parts.iter().all(alike) || !covered {
            return Err(damaged());
        }
        let plane = |channel: usize| {
            let pixel = |at: usize| {
                let (x, y) = (at % width, at / width);
                let part = &parts[y / part_height * columns + x / part_width];
                part.planes[channel][y % part_height * part_width + x % part_width]
            };
            (0..width * height).map(pixel).collect()
        };
        let planes = (0..first.planes.len()).map(plane).collect();
        Ok(Self { size: (width, height), bits: first.bits, planes })
    }
}

/// Samples to `[0, 1]`, or `[-0.5, 0.5]` for chroma.
struct Range {
    zero: f32,
    scale: f32,
}

impl Range {
    fn new(bits: u8, full: bool, chroma: bool) -> Self {
        let unit = f32::from(1u16 << (bits - 8));
        let most = f32::from((1u32 << bits) as u16 - 1);
        let (zero, span) = match (full, chroma) {
            (true, false) => (0.0, most),
            (true, true) => (128.0 * unit, most),
            (false, false) => (16.0 * unit, 219.0 * unit),
            (false, true) => (128.0 * unit, 224.0 * unit),
        };
        Self { zero, scale: 1.0 / span }
    }

    fn unit(&self, value: u16) -> f32 {
        (f32::from(value) - self.zero) * self.scale
    }
}

fn matrix(stated: Option<u8>, frame: &Frame) -> Result<Matrix> {
    let number = stated.unwrap_or(match frame.matrix_coefficients() {
        MatrixCoefficients::Identity => 0,
        MatrixCoefficients::BT709 => 1,
        MatrixCoefficients::BT470M => 4,
        MatrixCoefficients::ST240M => 7,
        MatrixCoefficients::YCgCo => 8,
        MatrixCoefficients::BT2020NonConstantLuminance => 9,
        MatrixCoefficients::BT470BG | MatrixCoefficients::ST170M | MatrixCoefficients::Unspecified => 6,
        _ => 255,
    });
    Ok(match number {
        0 => Matrix::Identity,
        1 => Matrix::Weights(0.2126, 0.0722),
        4 => Matrix::Weights(0.3, 0.11),
        2 | 5 | 6 => Matrix::Weights(0.299, 0.114),
        7 => Matrix::Weights(0.212, 0.087),
        8 => Matrix::Ycgco,
        9 => Matrix::Weights(0.2627, 0.0593),
        _ => return Err(Error::unsupported("an AVIF whose colour matrix is not supported")),
    })
}

fn to_rgb(matrix: &Matrix, luma: Vec<f32>, u: Vec<f32>, v: Vec<f32>) -> Vec<Vec<f32>> {
    let rgb = |(y, (u, v)): (f32, (f32, f32))| match *matrix {
        Matrix::Identity => [v, y, u],
        Matrix::Weights(red, blue) => {
            let (r, b) = (y + 2.0 * (1.0 - red) * v, y + 2.0 * (1.0 - blue) * u);
            [r, (y - red * r - blue * b) / (1.0 - red - blue), b]
        }
        Matrix::Ycgco => [y - u + v, y + u, y - u - v],
    };
    let pixels: Vec<[f32; 3]> = luma.into_par_iter().zip(u.into_par_iter().zip(v)).map(rgb).collect();
    (0..3).map(|channel| pixels.par_iter().map(|pixel| pixel[channel]).collect()).collect()
}

/// The samples of a component without the padding of its rows.
fn read(
    frame: &Frame,
    component: PlanarImageComponent,
    (width, height): (usize, usize),
    bits: u8,
) -> Vec<u16> {
    let stride = frame.stride(component) as usize;
    let plane = frame.plane(component);
    let rows = plane.chunks_exact(stride).take(height);
    if bits == 8 {
        rows.flat_map(|row| row[..width].iter().map(|&value| u16::from(value))).collect()
    } else {
        rows.flat_map(|row| row.as_chunks().0[..width].iter().map(|&pair| u16::from_ne_bytes(pair))).collect()
    }
}

/// Chroma at the size of luma: each value is three parts of the nearest sample and one of the next, along each side that
/// was halved.
fn enlarge(
    values: Vec<f32>,
    (small_width, small_height): (usize, usize),
    (width, height): (usize, usize),
    (across, down): (usize, usize),
) -> Vec<f32> {
    if (across, down) == (1, 1) {
        return values;
    }
    // The nearest and the next sample along a side.
    let pair = |at: usize, factor: usize, count: usize| {
        if factor == 1 {
            return (at, at);
        }
        let near = at / 2;
        let next = if at.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(count - 1) };
        (near, next)
    };
    let row = |y: usize| {
        let (near, next) = pair(y, down, small_height);
        let mixed = |x: usize| 0.75 * values[near * small_width + x] + 0.25 * values[next * small_width + x];
        let line: Vec<f32> = (0..small_width).map(mixed).collect();
        let value = |x: usize| {
            let (near, next) = pair(x, across, small_width);
            0.75 * line[near] + 0.25 * line[next]
        };
        (0..width).map(value).collect::<Vec<f32>>()
    };
    (0..height).into_par_iter().flat_map_iter(row).collect()
}
