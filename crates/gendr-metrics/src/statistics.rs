//! Means with their uncertainty, and whether a difference is more than chance. Nothing here depends on the time, the
//! machine or the number of threads.

use rayon::prelude::*;
use serde::Serialize;

/// Resamples of a bootstrap.
const RESAMPLES: u64 = 2000;
/// Random sign patterns of a permutation test, where there are too many to try all.
const PATTERNS: u64 = 20_000;
/// Differences up to which all sign patterns are tried.
const EXACT: usize = 14;

/// The distribution of a metric over pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Number of scores.
    pub count: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// 95 % confidence interval of the mean: percentile bootstrap, 2000 resamples (Efron 1979).
    pub interval: [f64; 2],
    /// Middle score.
    pub median: f64,
    /// Standard deviation of the scores, unbiased; 0 for a single one.
    pub deviation: f64,
    /// Smallest score.
    pub least: f64,
    /// Largest score.
    pub most: f64,
}

impl Summary {
    /// Summarises scores, finite numbers; `None` where there are none.
    pub fn of(scores: &[f64]) -> Option<Self> {
        let count = scores.len();
        let mean = mean(scores)?;
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        Some(Self {
            count,
            mean,
            interval: bootstrap_interval(scores),
            median: (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0,
            deviation: (squares / (count.max(2) - 1) as f64).sqrt(),
            least: sorted[0],
            most: sorted[count - 1],
        })
    }
}

/// How two methods differ on the same pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedDifference {
    /// Number of pictures.
    pub count: usize,
    /// Mean of first minus second.
    pub mean: f64,
    /// 95 % confidence interval of that mean: percentile bootstrap over pictures.
    pub interval: [f64; 2],
    /// Two-sided p-value of the sign-flip permutation test of that mean (Fisher 1935): how often chance alone, swapping the
    /// two methods picture by picture, gives a mean at least as far from zero. Exact up to 14 pictures, otherwise from
    /// 20,000 patterns.
    pub p_value: f64,
}

impl PairedDifference {
    /// Compares scores of the same pictures in the same order; `None` where there are none.
    ///
    /// # Panics
    /// Where the slices differ in length.
    pub fn of(first: &[f64], second: &[f64]) -> Option<Self> {
        assert_eq!(first.len(), second.len(), "paired scores");
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
        Some(Self {
            count: differences.len(),
            mean: mean(&differences)?,
            interval: bootstrap_interval(&differences),
            p_value: sign_flip_p_value(&differences),
        })
    }
}

/// Corrects p-values for their number (Holm 1979): the chance that any test passes by luck stays at the level.
pub(crate) fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max(p_values[index] * (p_values.len() - rank) as f64).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn bootstrap_interval(scores: &[f64]) -> [f64; 2] {
    let count = scores.len();
    let mut means: Vec<f64> = (0..RESAMPLES)
        .into_par_iter()
        .map(|resample| {
            let mut random = Random::new(resample);
            (0..count).map(|_| scores[random.below(count)]).sum::<f64>() / count as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (RESAMPLES - 1) as f64).round() as usize];
    [at(0.025), at(0.975)]
}

fn sign_flip_p_value(differences: &[f64]) -> f64 {
    let observed = differences.iter().sum::<f64>().abs();
    // Sums of the same numbers with the same signs may differ in their last bits.
    let slack = 1e-12 * differences.iter().map(|value| value.abs()).sum::<f64>();
    let is_extreme = |signs: &mut dyn FnMut(usize) -> bool| {
        let sum: f64 = differences
            .iter()
            .enumerate()
            .map(|(index, &value)| if signs(index) { -value } else { value })
            .sum();
        u64::from(sum.abs() >= observed - slack)
    };
    if differences.len() <= EXACT {
        let patterns = 1_u64 << differences.len();
        let extreme: u64 =
            (0..patterns).map(|pattern| is_extreme(&mut |index| pattern >> index & 1 == 1)).sum();
        return extreme as f64 / patterns as f64;
    }
    let extreme: u64 = (0..PATTERNS)
        .into_par_iter()
        .map(|pattern| {
            let mut random = Random::new(pattern);
            let mut bits = 0;
            is_extreme(&mut |index| {
                if index % 64 == 0 {
                    bits = random.next();
                }
                bits >> (index % 64) & 1 == 1
            })
        })
        .sum();
    (extreme + 1) as f64 / (PATTERNS + 1) as f64
}

/// SplitMix64 (Steele, Lea and Flood 2014), one stream for each resample.
struct Random(u64);

impl Random {
    fn new(stream: u64) -> Self {
        // The first number of a stream is far from those of its neighbours.
        let mut mixed = Self(stream);
        Self(mixed.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..count`.
    fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_known_figures() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((summary.count, summary.mean, summary.median), (4, 2.5, 2.5));
        assert_eq!((summary.least, summary.most), (1.0, 4.0));
        assert!((summary.deviation - (5.0_f64 / 3.0).sqrt()).abs() < 1e-15);
        assert!(Summary::of(&[]).is_none());
        let single = Summary::of(&[7.0]).unwrap();
        assert_eq!((single.interval, single.deviation), ([7.0, 7.0], 0.0));
    }

    #[test]
    fn the_interval_has_the_width_of_theory() {
        let mut random = Random::new(1);
        let scores: Vec<f64> = (0..400).map(|_| random.below(1_000_000) as f64 / 1e6).collect();
        let summary = Summary::of(&scores).unwrap();
        let half = 1.96 * summary.deviation / 20.0;
        assert!(((summary.interval[1] - summary.interval[0]) / (2.0 * half) - 1.0).abs() < 0.1);
        assert!(summary.interval[0] < summary.mean && summary.mean < summary.interval[1]);
    }

    #[test]
    fn few_pictures_are_tested_exactly() {
        // Of 16 sign patterns only all plus and all minus reach the sum.
        let difference = PairedDifference::of(&[2.0, 3.0, 4.0, 5.0], &[1.0; 4]).unwrap();
        assert_eq!((difference.mean, difference.p_value), (2.5, 0.125));
        assert_eq!(PairedDifference::of(&[1.0; 20], &[1.0; 20]).unwrap().p_value, 1.0);
        assert!(PairedDifference::of(&[], &[]).is_none());
    }

    #[test]
    fn a_shift_is_found_and_noise_is_not() {
        let mut random = Random::new(9);
        let mut noise = || (random.below(2001) as f64 - 1000.0) / 1000.0;
        let first: Vec<f64> = (0..100).map(|_| noise()).collect();
        let second: Vec<f64> = first.iter().map(|value| value + 0.3 + 0.5 * noise()).collect();
        assert!(PairedDifference::of(&second, &first).unwrap().p_value < 0.001);
        let other: Vec<f64> = first.iter().map(|_| noise()).collect();
        let again: Vec<f64> = first.iter().map(|_| noise()).collect();
        assert!(PairedDifference::of(&other, &again).unwrap().p_value > 0.01);
    }

    #[test]
    fn holm_grows_small_values_most_and_keeps_their_order() {
        assert_eq!(holm(&[0.04, 0.01, 0.03]), [0.06, 0.03, 0.06]);
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
