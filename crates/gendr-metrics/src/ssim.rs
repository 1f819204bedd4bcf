//! Structural similarity, at one scale and at several.

use gendr_image::{Error, Planes, Result};
use gendr_kernels::{PlainLoops, vectorized};
use rayon::prelude::*;

use crate::{
    levels::{CHUNK, Levels, Luma, check_pair, level, whole},
    window::{across_rows, along_row, gaussian},
};

/// Taps of the Gaussian window on each side of its middle.
const RADIUS: usize = 5;
const WINDOW: usize = 2 * RADIUS + 1;
/// Weights of the five scales of MS-SSIM, finest first (Wang, Simoncelli and Bovik 2003).
const SCALE_WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// A variant of SSIM (Wang, Bovik, Sheikh and Simoncelli 2004): 11x11 Gaussian window of sigma 1.5 wholly inside the
/// picture, `C1 = (0.01 * 255)^2`, `C2 = (0.03 * 255)^2`, mean of the map. At most 1, higher is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssim {
    /// The luma to compare; `None` compares each channel and averages.
    pub luma: Option<Luma>,
    /// Whether values are rounded to whole levels first.
    pub rounded: bool,
    /// Whether a negative contrast-structure term counts as 0.
    pub clipped: bool,
}

impl Ssim {
    /// Per channel, as BasicSR computes it for RGB.
    pub const RGB: Self = Self { luma: None, rounded: false, clipped: false };
    /// On rounded Y, negative structure clipped: the SSIM-Y of this project's tables.
    pub const Y: Self = Self { luma: Some(Luma::StudioRange), rounded: true, clipped: true };
    /// On unrounded Y, as BasicSR computes it for Y.
    pub const Y_UNROUNDED: Self = Self { luma: Some(Luma::StudioRange), rounded: false, clipped: false };
    /// On rounded full-range luma, pyiqa's default.
    pub const FULL_RANGE_Y: Self = Self { luma: Some(Luma::FullRange), rounded: true, clipped: true };

    /// Scores a pair.
    ///
    /// # Errors
    /// Where the pictures differ in shape, are neither grey nor colour, hold values that are not finite, or have a side
    /// under 11 pixels.
    pub fn score(self, output: &Planes, reference: &Planes) -> Result<f64> {
        check_pair(output, reference)?;
        let Some(luma) = self.luma else {
            let channels = output.channels();
            let scores = (0..channels).map(|channel| self.score_channel(output, reference, channel));
            return Ok(scores.sum::<Result<f64>>()? / channels as f64);
        };
        let [a, b] = [Levels::luma(output, luma)?, Levels::luma(reference, luma)?];
        self.score_levels(&a, &b)
    }

    fn score_channel(self, output: &Planes, reference: &Planes, channel: usize) -> Result<f64> {
        let level = |sample: f32| {
            let level = level(sample);
            if self.rounded { whole(level) } else { level }
        };
        let (a, b) = (output.plane(channel), reference.plane(channel));
        Ok(SumAndDifference::new(output.width(), a, b, level).similarity(self.clipped)?.full)
    }

    pub(crate) fn score_levels(self, output: &Levels, reference: &Levels) -> Result<f64> {
        let level = |level: f64| if self.rounded { whole(level) } else { level };
        let pair = SumAndDifference::new(output.width, &output.data, &reference.data, level);
        Ok(pair.similarity(self.clipped)?.full)
    }
}

/// Multi-scale SSIM (Wang, Simoncelli and Bovik 2003) on rounded full-range luma, as pyiqa computes it: five scales,
/// 2x2 means between them (an odd side has a zero before its first pixel), contrast-structure of each scale
/// clipped at 0, weights 0.0448, 0.2856, 0.3001, 0.2363, 0.1333.
///
/// In `0..=1`, higher is better.
///
/// # Errors
/// As [`Ssim::score`]; sides must be at least 161 pixels, so that a window fits at the coarsest scale.
pub fn ms_ssim(output: &Planes, reference: &Planes) -> Result<f64> {
    check_pair(output, reference)?;
    let [a, b] = [Levels::luma(output, Luma::FullRange)?, Levels::luma(reference, Luma::FullRange)?];
    let mut scale = SumAndDifference::new(a.width, &a.data, &b.data, whole);
    let coarsest = |side: usize| (1..SCALE_WEIGHTS.len()).fold(side, |side, _| side.div_ceil(2));
    if coarsest(scale.width.min(scale.height())) < WINDOW {
        return Err(too_small("MS-SSIM", 161, &scale));
    }
    let mut product = 1.0;
    for (level, weight) in SCALE_WEIGHTS.into_iter().enumerate() {
        let similarity = scale.similarity(true)?;
        let last = level + 1 == SCALE_WEIGHTS.len();
        product *= if last { similarity.full } else { similarity.contrast_structure }.powf(weight);
        if !last {
            scale = scale.halved();
        }
    }
    Ok(product)
}

/// Means over the map.
struct Similarity {
    full: f64,
    contrast_structure: f64,
}

/// `a + b` and `a - b`. From their local means and second moments all of SSIM follows with four filterings instead of
/// five, and equal pictures score exactly 1.
struct SumAndDifference {
    width: usize,
    sum: Vec<f64>,
    difference: Vec<f64>,
}

impl SumAndDifference {
    /// Of two planes with rows of `width` values, which `level` takes to the 8-bit scale.
    fn new<T: Copy + Sync>(width: usize, a: &[T], b: &[T], level: impl Fn(T) -> f64 + Copy + Sync) -> Self {
        let (mut sum, mut difference) = (vec![0.0; a.len()], vec![0.0; a.len()]);
        let parts = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
        let results = sum.par_chunks_mut(CHUNK).zip(difference.par_chunks_mut(CHUNK));
        parts.zip(results).for_each(|((a, b), (sum, difference))| {
            vectorized(Join { a, b, level, sum, difference });
        });
        Self { width, sum, difference }
    }

    fn height(&self) -> usize {
        self.sum.len() / self.width
    }

    fn similarity(&self, clipped: bool) -> Result<Similarity> {
        if self.width < WINDOW || self.height() < WINDOW {
            return Err(too_small("SSIM", WINDOW, self));
        }
        let (columns, rows) = (self.width + 1 - WINDOW, self.height() + 1 - WINDOW);
        let sums: Vec<Similarity> = (0..rows)
            .into_par_iter()
            .map_init(|| RowFilter::new(self.width, columns), |filter, y| filter.row(self, y, clipped))
            .collect();
        let count = (columns * rows) as f64;
        Ok(Similarity {
            full: sums.iter().map(|row| row.full).sum::<f64>() / count,
            contrast_structure: sums.iter().map(|row| row.contrast_structure).sum::<f64>() / count,
        })
    }

    fn halved(&self) -> Self {
        let half = |plane: &[f64]| halved(plane, self.width, self.height());
        Self { width: self.width.div_ceil(2), sum: half(&self.sum), difference: half(&self.difference) }
    }
}

/// The loops of [`SumAndDifference::new`].
struct Join<'a, T, L> {
    a: &'a [T],
    b: &'a [T],
    level: L,
    sum: &'a mut [f64],
    difference: &'a mut [f64],
}

impl<T: Copy, L: Fn(T) -> f64> PlainLoops for Join<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let results = self.sum.iter_mut().zip(self.difference);
        for ((&a, &b), (sum, difference)) in self.a.iter().zip(self.b).zip(results) {
            let (a, b) = ((self.level)(a), (self.level)(b));
            (*sum, *difference) = (a + b, a - b);
        }
    }
}

/// Room for one row of windows.
struct RowFilter {
    taps: Vec<f64>,
    flat: Vec<f64>,
    /// Local mean of the sum, of the difference, and of the square of each.
    moments: [Vec<f64>; 4],
}

impl RowFilter {
    fn new(width: usize, columns: usize) -> Self {
        Self {
            taps: gaussian(RADIUS, 1.5),
            flat: vec![0.0; width],
            moments: [0; 4].map(|_| vec![0.0; columns]),
        }
    }

    /// Sums over the windows whose top row is `y`.
    fn row(&mut self, pair: &SumAndDifference, y: usize, clipped: bool) -> Similarity {
        let square = |value: f64| value * value;
        let [sum, difference, sum_square, difference_square] = &mut self.moments;
        for (plane, mean, mean_square) in
            [(&pair.sum, &mut *sum, sum_square), (&pair.difference, &mut *difference, difference_square)]
        {
            let rows = |tap: usize| &plane[(y + tap) * pair.width..(y + tap + 1) * pair.width];
            across_rows(&self.taps, rows, |value| value, &mut self.flat);
            along_row(&self.taps, &self.flat, mean);
            across_rows(&self.taps, rows, square, &mut self.flat);
            along_row(&self.taps, &self.flat, mean_square);
        }
        vectorized(Map { moments: &self.moments, clipped })
    }
}

/// Sums of the map of similarity over a row of windows.
struct Map<'a> {
    moments: &'a [Vec<f64>; 4],
    clipped: bool,
}

impl PlainLoops for Map<'_> {
    type Output = Similarity;

    #[inline(always)]
    fn run(self) -> Similarity {
        /// Sums side by side, so that additions need not wait for each other.
        const LANES: usize = 16;
        let [sum, difference, sum_square, difference_square] = self.moments;
        let (mut full, mut contrast_structure) = ([0.0; LANES], [0.0; LANES]);
        let parts = sum.chunks(LANES).zip(difference.chunks(LANES));
        for ((s, d), (ss, dd)) in parts.zip(sum_square.chunks(LANES).zip(difference_square.chunks(LANES))) {
            let sums = full.iter_mut().zip(&mut contrast_structure);
            for (((full, contrast_structure), (&s, &d)), (&ss, &dd)) in
                sums.zip(s.iter().zip(d)).zip(ss.iter().zip(dd))
            {
                let [luminance, contrast] = similarity([s, d, ss, dd], self.clipped);
                *full += contrast * luminance;
                *contrast_structure += contrast;
            }
        }
        Similarity { full: full.iter().sum(), contrast_structure: contrast_structure.iter().sum() }
    }
}

/// The luminance and the contrast-structure term of a window, from the means of sum, difference and their squares.
#[inline(always)]
fn similarity([s, d, ss, dd]: [f64; 4], clipped: bool) -> [f64; 2] {
    const C1: f64 = 0.01 * 255.0 * (0.01 * 255.0);
    const C2: f64 = 0.03 * 255.0 * (0.03 * 255.0);
    let (s, d) = (s * s, d * d);
    let contrast = ((ss - dd - (s - d)) / 2.0 + C2) / ((ss + dd - (s + d)) / 2.0 + C2);
    let luminance = ((s - d) / 2.0 + C1) / ((s + d) / 2.0 + C1);
    [luminance, if clipped { contrast.max(0.0) } else { contrast }]
}

/// 2x2 means. An odd side counts a zero before its first pixel.
fn halved(source: &[f64], width: usize, height: usize) -> Vec<f64> {
    let half_width = width.div_ceil(2);
    let (odd_width, odd_height) = (width % 2, height % 2);
    let mut result = vec![0.0; half_width * height.div_ceil(2)];
    result.par_chunks_mut(half_width).enumerate().for_each(|(y, output)| {
        for source_y in [2 * y, 2 * y + 1] {
            let Some(source_y) = source_y.checked_sub(odd_height) else { continue };
            let row = &source[source_y * width..(source_y + 1) * width];
            for (x, value) in output.iter_mut().enumerate() {
                let left = (2 * x).checked_sub(odd_width).map_or(0.0, |x| row[x]);
                *value += (left + row[2 * x + 1 - odd_width]) / 4.0;
            }
        }
    });
    result
}

fn too_small(metric: &str, side: usize, picture: &SumAndDifference) -> Error {
    Error::unsupported(format!(
        "{metric} needs sides of at least {side} pixels, this picture is {}x{}",
        picture.width,
        picture.height()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waves(width: usize, height: usize, phase: f32) -> Planes {
        let value = |index: usize| {
            let (x, y) = ((index % width) as f32, (index / width % height) as f32);
            0.5 + 0.4 * (0.31 * x + phase).sin() * (0.17 * y).cos()
        };
        Planes::from_vec(3, height, width, (0..3 * width * height).map(value).collect()).unwrap()
    }

    #[test]
    fn equal_pictures_score_exactly_one() {
        for picture in [waves(190, 177, 0.0), Planes::filled(1, 177, 162, 0.7)] {
            for variant in [Ssim::RGB, Ssim::Y, Ssim::Y_UNROUNDED, Ssim::FULL_RANGE_Y] {
                assert_eq!(variant.score(&picture, &picture).unwrap(), 1.0);
            }
            assert_eq!(ms_ssim(&picture, &picture).unwrap(), 1.0);
        }
    }

    #[test]
    fn the_order_of_the_pair_does_not_matter() {
        let (a, b) = (waves(64, 40, 0.0), waves(64, 40, 0.4));
        let (forward, backward) = (Ssim::RGB.score(&a, &b).unwrap(), Ssim::RGB.score(&b, &a).unwrap());
        assert!((forward - backward).abs() < 1e-12 && forward < 1.0);
    }

    #[test]
    fn two_flat_pictures_compare_by_brightness_alone() {
        let score =
            Ssim::RGB.score(&Planes::filled(3, 11, 11, 0.2), &Planes::filled(3, 11, 11, 0.4)).unwrap();
        let c1 = 0.01_f64 * 0.01;
        assert!((score - (2.0 * 0.2 * 0.4 + c1) / (0.2 * 0.2 + 0.4 * 0.4 + c1)).abs() < 1e-6);
    }

    #[test]
    fn small_pictures_are_refused_with_the_size_needed() {
        let error = Ssim::Y.score(&waves(10, 30, 0.0), &waves(10, 30, 0.0)).unwrap_err();
        assert!(error.to_string().contains("11"), "{error}");
        assert!(ms_ssim(&waves(160, 200, 0.0), &waves(160, 200, 0.0)).is_err());
        assert!(ms_ssim(&waves(161, 200, 0.0), &waves(161, 200, 0.0)).is_ok());
    }

    #[test]
    fn an_odd_side_counts_a_zero() {
        assert_eq!(halved(&[4.0, 8.0, 12.0, 4.0, 8.0, 12.0], 3, 2), [2.0, 10.0]);
    }
}
