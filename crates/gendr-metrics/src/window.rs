//! Gaussian windows and separable filtering.

use gendr_kernels::{PlainLoops, vectorized};
use rayon::prelude::*;

use crate::levels::Levels;

/// How a filter sees the outside of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Border {
    /// The border pixel, repeated.
    Replicate,
    /// The mirror image without the border pixel itself.
    Reflect,
}

impl Border {
    /// The pixel that stands for `index`, which may lie outside `0..length`.
    fn index(self, index: isize, length: usize) -> usize {
        let last = length as isize - 1;
        match self {
            Self::Replicate => index.clamp(0, last) as usize,
            Self::Reflect if last == 0 => 0,
            Self::Reflect => {
                let folded = index.rem_euclid(2 * last);
                folded.min(2 * last - folded) as usize
            }
        }
    }
}

/// A Gaussian of `2 radius + 1` taps that sum to one.
pub(crate) fn gaussian(radius: usize, sigma: f64) -> Vec<f64> {
    let weights: Vec<f64> = (0..=2 * radius)
        .map(|tap| {
            let distance = tap as f64 - radius as f64;
            (-distance * distance / (2.0 * sigma * sigma)).exp()
        })
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// Columns whose sums are kept in registers while the taps are walked.
const COLUMNS: usize = 16;

/// Filters rows of equal length into one: `output[x] = sum of taps[j] * value(rows(j)[x])`, for symmetric taps.
pub(crate) fn across_rows<'a>(
    taps: &[f64],
    rows: impl Fn(usize) -> &'a [f64],
    value: impl Fn(f64) -> f64,
    output: &mut [f64],
) {
    let length = output.len();
    let rows: Vec<&[f64]> = (0..taps.len()).map(|tap| &rows(tap)[..length]).collect();
    vectorized(AcrossRows { taps, rows: &rows, value, output });
}

/// The loops of [`across_rows`].
struct AcrossRows<'a, V> {
    taps: &'a [f64],
    rows: &'a [&'a [f64]],
    value: V,
    output: &'a mut [f64],
}

impl<V: Fn(f64) -> f64> PlainLoops for AcrossRows<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let radius = self.taps.len() / 2;
        let (blocks, rest) = self.output.as_chunks_mut::<COLUMNS>();
        let done = blocks.len() * COLUMNS;
        for (index, block) in blocks.iter_mut().enumerate() {
            let part = |row: usize| &self.rows[row].as_chunks::<COLUMNS>().0[index];
            let mut sums = [0.0; COLUMNS];
            for (sum, &middle) in sums.iter_mut().zip(part(radius)) {
                *sum = self.taps[radius] * (self.value)(middle);
            }
            for tap in 0..radius {
                let weight = self.taps[tap];
                for ((sum, &a), &b) in sums.iter_mut().zip(part(tap)).zip(part(2 * radius - tap)) {
                    *sum += weight * ((self.value)(a) + (self.value)(b));
                }
            }
            *block = sums;
        }
        for (x, sum) in (done..).zip(rest) {
            let value = |row: usize| (self.value)(self.rows[row][x]);
            *sum = self.taps[radius] * value(radius);
            for tap in 0..radius {
                *sum += self.taps[tap] * (value(tap) + value(2 * radius - tap));
            }
        }
    }
}

/// Filters along a row: `output[x] = sum of taps[j] * row[x + j]`, for symmetric taps; as many values as windows fit.
pub(crate) fn along_row(taps: &[f64], row: &[f64], output: &mut [f64]) {
    across_rows(taps, |tap| &row[tap..tap + output_length(row, taps)], |value| value, output);
}

fn output_length(row: &[f64], taps: &[f64]) -> usize {
    row.len() + 1 - taps.len()
}

/// Filters `value` of every pixel of a plane with symmetric taps in both directions; the size stays.
pub(crate) fn blur(
    source: &Levels,
    taps: &[f64],
    border: Border,
    value: impl Fn(f64) -> f64 + Sync,
) -> Levels {
    let radius = taps.len() / 2;
    let outside = |index: usize, length| border.index(index as isize - radius as isize, length);
    let columns: Vec<usize> = (0..source.width + 2 * radius).map(|x| outside(x, source.width)).collect();
    let mut data = vec![0.0; source.data.len()];
    data.par_chunks_mut(source.width).enumerate().for_each_init(
        || (vec![0.0; source.width], vec![0.0; columns.len()]),
        |(flat, padded), (y, output)| {
            across_rows(taps, |tap| source.row(outside(y + tap, source.height)), &value, flat);
            for (target, &x) in padded.iter_mut().zip(&columns) {
                *target = flat[x];
            }
            along_row(taps, padded, output);
        },
    );
    Levels { width: source.width, height: source.height, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_continue_the_picture() {
        let reflected: Vec<usize> = (-4..7).map(|index| Border::Reflect.index(index, 3)).collect();
        assert_eq!(reflected, [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        let replicated: Vec<usize> = (-2..5).map(|index| Border::Replicate.index(index, 3)).collect();
        assert_eq!(replicated, [0, 0, 0, 1, 2, 2, 2]);
        assert_eq!(Border::Reflect.index(-7, 1), 0);
    }

    #[test]
    fn a_blur_keeps_a_flat_plane_even_when_wider_than_it() {
        for (width, height) in [(1, 1), (2, 3), (9, 4)] {
            let flat = Levels { width, height, data: vec![7.0; width * height] };
            for border in [Border::Replicate, Border::Reflect] {
                let blurred = blur(&flat, &gaussian(24, 6.0), border, |value| value);
                assert!(blurred.data.iter().all(|value| (value - 7.0).abs() < 1e-12));
            }
        }
    }

    #[test]
    fn a_point_becomes_the_window() {
        let mut point = Levels { width: 9, height: 9, data: vec![0.0; 81] };
        point.data[4 * 9 + 4] = 1.0;
        let taps = gaussian(2, 1.0);
        let blurred = blur(&point, &taps, Border::Reflect, |value| value);
        for y in 0..5 {
            for x in 0..5 {
                assert!((blurred.row(y + 2)[x + 2] - taps[x] * taps[y]).abs() < 1e-15);
            }
        }
    }
}
