//! Pixels in other places: enlargement by nearest neighbour, pixels to channels and back.

use crate::{
    scratch::SharedMut,
    simd::{Kernel, Level, Simd, turn_round},
};
use rayon::prelude::*;

/// Twice the height and width, or one less, by nearest neighbour: planes of `size` to planes of `enlarged` (height, width).
///
/// # Panics
///
/// The slices do not hold the same number of whole planes, or a size is not half the other, rounded up.
pub fn enlarge(size: (usize, usize), enlarged: (usize, usize), x: &[f32], y: &mut [f32]) {
    check(size, enlarged, x.len(), y.len());
    let planes = y.par_chunks_exact_mut(enlarged.0 * enlarged.1).zip(x.par_chunks_exact(size.0 * size.1));
    planes.for_each(|(y, x)| {
        for (row, y) in y.chunks_exact_mut(enlarged.1).enumerate() {
            let x = &x[row / 2 * size.1..][..size.1];
            for (y, x) in y.chunks_mut(2).zip(x) {
                y.fill(*x);
            }
        }
    });
}

/// The gradient of [`enlarge`]'s input: the sum over the pixels that each became.
///
/// # Panics
///
/// As [`enlarge`].
pub fn enlarge_backward(size: (usize, usize), enlarged: (usize, usize), y_grad: &[f32], x_grad: &mut [f32]) {
    check(size, enlarged, x_grad.len(), y_grad.len());
    let planes =
        x_grad.par_chunks_exact_mut(size.0 * size.1).zip(y_grad.par_chunks_exact(enlarged.0 * enlarged.1));
    planes.for_each(|(x_grad, y_grad)| {
        let rows = x_grad.chunks_exact_mut(size.1).zip(y_grad.chunks(2 * enlarged.1));
        for (x_grad, rows) in rows {
            x_grad.fill(0.0);
            for row in rows.chunks_exact(enlarged.1) {
                for (sum, pair) in x_grad.iter_mut().zip(row.chunks(2)) {
                    *sum += pair.iter().sum::<f32>();
                }
            }
        }
    });
}

fn check(size: (usize, usize), enlarged: (usize, usize), x: usize, y: usize) {
    let half = (enlarged.0.div_ceil(2), enlarged.1.div_ceil(2));
    assert!(size == half && size.0 * size.1 > 0, "{size:?} enlarged to {enlarged:?}");
    let (plane, large) = (size.0 * size.1, enlarged.0 * enlarged.1);
    assert!(
        x.is_multiple_of(plane) && y == x / plane * large,
        "floats of {size:?} and {enlarged:?}: {x}, {y}"
    );
}

/// Squares of `factor`² pixels to channels: planes of `size` (height, width, multiples of `factor`) to `factor`² planes each,
/// the one at `row * factor + column` first.
///
/// # Panics
///
/// `factor` does not divide the size, or the slices do not hold whole planes.
pub fn pixels_to_channels(factor: usize, size: (usize, usize), x: &[f32], y: &mut [f32]) {
    check_squares(factor, size, x.len(), y.len());
    let (plane, width) = (size.0 * size.1, size.1 / factor);
    y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).for_each(|(y, x)| {
        for (channel, y) in y.chunks_exact_mut(plane / (factor * factor)).enumerate() {
            let rows = x.chunks_exact(size.1).skip(channel / factor).step_by(factor);
            for (y, x) in y.chunks_exact_mut(width).zip(rows) {
                let pixels = x.iter().skip(channel % factor).step_by(factor);
                y.iter_mut().zip(pixels).for_each(|(y, x)| *y = *x);
            }
        }
    });
}

/// The inverse of [`pixels_to_channels`], which is its gradient too; `size` is that of the large planes.
///
/// # Panics
///
/// As [`pixels_to_channels`].
pub fn channels_to_pixels(factor: usize, size: (usize, usize), x: &[f32], y: &mut [f32]) {
    check_squares(factor, size, x.len(), y.len());
    let (plane, width) = (size.0 * size.1, size.1 / factor);
    y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).for_each(|(y, x)| {
        for (channel, x) in x.chunks_exact(plane / (factor * factor)).enumerate() {
            let rows = y.chunks_exact_mut(size.1).skip(channel / factor).step_by(factor);
            for (y, x) in rows.zip(x.chunks_exact(width)) {
                let pixels = y.iter_mut().skip(channel % factor).step_by(factor);
                pixels.zip(x).for_each(|(y, x)| *y = *x);
            }
        }
    });
}

/// Rows to columns: planes of `rows` rows and `columns` columns each, which `y` holds the other way round.
///
/// # Panics
///
/// The slices do not hold the same whole planes.
pub fn transpose(rows: usize, columns: usize, x: &[f32], y: &mut [f32]) {
    /// Rows of one job.
    const ROWS: usize = 64;
    let plane = rows * columns;
    assert!(plane > 0 && x.len().is_multiple_of(plane) && x.len() == y.len(), "planes of {rows}x{columns}");
    let (level, jobs, shared) = (Level::current(), rows.div_ceil(ROWS), SharedMut::new(y));
    (0..x.len() / plane * jobs).into_par_iter().for_each(|job| {
        let (plane_at, row) = (job / jobs * plane, job % jobs * ROWS);
        let count = (rows - row).min(ROWS);
        let part = &x[plane_at + row * columns..][..count * columns];
        let to = shared.address(plane_at + row);
        level.run(TurnRound { rows: part, columns, to, to_stride: rows });
    });
}

/// Writes rows of `columns` floats as columns, `to_stride` floats apart, which no other job writes.
pub(crate) struct TurnRound<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) to: *mut f32,
    pub(crate) to_stride: usize,
}

impl Kernel for TurnRound<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, columns, to, to_stride } = self;
        // SAFETY: promised where it was built.
        unsafe { turn_round(s, rows, columns, [rows.len() / columns, columns], to, to_stride) }
    }
}

fn check_squares(factor: usize, (height, width): (usize, usize), x: usize, y: usize) {
    let whole = factor > 0 && height.is_multiple_of(factor) && width.is_multiple_of(factor);
    assert!(whole && height * width > 0, "squares of {factor} in {height}x{width}");
    assert!(x == y && x.is_multiple_of(height * width), "floats of planes of {height}x{width}: {x}, {y}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::noise;

    #[test]
    fn enlarging_and_its_gradient_are_adjoint() {
        for (enlarged, planes) in [((1usize, 1usize), 1), ((2, 6), 3), ((7, 9), 2), ((8, 5), 4)] {
            let size = (enlarged.0.div_ceil(2), enlarged.1.div_ceil(2));
            let (x, g) = (noise(1, planes * size.0 * size.1), noise(2, planes * enlarged.0 * enlarged.1));
            let (mut y, mut x_grad) = (vec![f32::NAN; g.len()], vec![f32::NAN; x.len()]);
            enlarge(size, enlarged, &x, &mut y);
            enlarge_backward(size, enlarged, &g, &mut x_grad);
            for (i, y) in y.iter().enumerate() {
                let (plane, row, column) =
                    (i / (enlarged.0 * enlarged.1), i / enlarged.1 % enlarged.0, i % enlarged.1);
                assert_eq!(*y, x[(plane * size.0 + row / 2) * size.1 + column / 2]);
            }
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            assert!((dot(&y, &g) - dot(&x, &x_grad)).abs() < 1e-5);
        }
    }

    #[test]
    fn planes_are_transposed_at_every_level() {
        for (rows, columns, planes) in [(1, 1, 1), (3, 70, 2), (130, 9, 3), (64, 64, 1)] {
            let x = noise(1, rows * columns * planes);
            for level in Level::available() {
                let mut y = vec![f32::NAN; x.len()];
                level.force(|| transpose(rows, columns, &x, &mut y));
                for (i, &x) in x.iter().enumerate() {
                    let (plane, row, column) = (i / (rows * columns), i / columns % rows, i % columns);
                    assert_eq!(y[(plane * columns + column) * rows + row], x, "{level:?} {rows}x{columns}");
                }
            }
        }
    }

    #[test]
    fn squares_become_channels_and_come_back() {
        let (factor, size) = (3, (6, 9));
        let x: Vec<f32> = (0..2 * 54).map(|i| i as f32).collect();
        let (mut y, mut back) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        pixels_to_channels(factor, size, &x, &mut y);
        channels_to_pixels(factor, size, &y, &mut back);
        assert_eq!(back, x);
        // Plane 1, channel row 1 column 2, pixel (1, 2): pixel (4, 8) of the large plane.
        assert_eq!(y[54 + (3 + 2) * 6 + 3 + 2], x[54 + 4 * 9 + 8]);
    }
}
