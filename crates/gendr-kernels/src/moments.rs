//! Mean and variance in one pass over memory.
//!
//! Each run of a few thousand floats is summed twice while it is in the nearest cache: for its mean, then for its squared
//! deviations. Runs are pooled in f64 by the formula of Chan, Golub and LeVeque (1983), so that a large mean does not
//! swallow a small variance.

use crate::simd::{Kernel, Simd};

/// Floats in a run: 16 KiB.
const RUN: usize = 4096;

/// The moments of some floats.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    count: f64,
    pub(crate) mean: f64,
    /// The sum of squared deviations from the mean.
    squares: f64,
}

impl Moments {
    /// The moments of a slice.
    #[inline(always)]
    pub(crate) fn of<S: Simd>(s: S, x: &[f32]) -> Self {
        let mut pooled = Self::default();
        for run in x.chunks(RUN) {
            let count = run.len() as f64;
            let mean = sum(s, run, |v| v) / count;
            let center = s.splat(mean as f32);
            let deviation = |v| s.sub(v, center);
            let offset = (mean - f64::from(mean as f32)) * count;
            let whole = run.len() / S::LANES * S::LANES;
            let mut squares = sum(s, &run[..whole], |v| s.mul(deviation(v), deviation(v)));
            squares += run[whole..].iter().map(|&x| f64::from(x - mean as f32).powi(2)).sum::<f64>();
            // The deviations were taken from the mean rounded to f32.
            pooled = pooled.join(Self { count, mean, squares: (squares - offset * offset / count).max(0.0) });
        }
        pooled
    }

    fn join(self, other: Self) -> Self {
        let count = self.count + other.count;
        let step = other.mean - self.mean;
        let share = other.count / count;
        Self {
            count,
            mean: self.mean + step * share,
            squares: self.squares + other.squares + step * step * self.count * share,
        }
    }

    /// The mean of squared deviations.
    pub(crate) fn variance(&self) -> f64 {
        self.squares / self.count
    }

    /// 1 / sqrt(variance + epsilon).
    pub(crate) fn rate(&self, epsilon: f32) -> f64 {
        1.0 / (self.variance() + f64::from(epsilon)).sqrt()
    }
}

/// The sum of `f` over a run, the last vector filled up with zeros.
#[inline(always)]
fn sum<S: Simd>(s: S, run: &[f32], f: impl Fn(S::V) -> S::V) -> f64 {
    let mut sums = [s.zero(); 4];
    let step = 4 * S::LANES;
    let whole = run.len() / step * step;
    let mut at = 0;
    // SAFETY: reads end at `whole`, then at the run's end.
    unsafe {
        while at < whole {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = s.add(*sum, f(s.load(run.as_ptr().add(at + i * S::LANES))));
            }
            at += step;
        }
        while at < run.len() {
            let count = (run.len() - at).min(S::LANES);
            sums[0] = s.add(sums[0], f(s.load_first(run.as_ptr().add(at), count)));
            at += S::LANES;
        }
    }
    f64::from(s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]))))
}

/// [`Moments::of`] as a kernel.
pub(crate) struct MomentsOf<'a>(pub(crate) &'a [f32]);

impl Kernel for MomentsOf<'_> {
    type Output = Moments;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Moments {
        Moments::of(s, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{noise::noise, simd::Level};

    #[test]
    fn a_large_mean_does_not_swallow_the_variance() {
        for len in [1, 2, 15, 17, 4096, 4097, 30_001] {
            let x: Vec<f32> = noise(len as u64, len).iter().map(|x| 3000.0 + x).collect();
            let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / len as f64;
            let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / len as f64;
            for level in Level::available() {
                let got = level.run(MomentsOf(&x));
                assert!((got.mean - mean).abs() < 1e-3, "{level:?} {len}: {} {mean}", got.mean);
                let error = (got.variance() - variance).abs();
                assert!(error < 1e-5 * (variance + 1e-3), "{level:?} {len}: {} {variance}", got.variance());
            }
        }
    }
}
