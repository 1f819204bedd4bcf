//! What happens to a block of scores between the two products.

use super::{KEYS, ROW};
use crate::{
    math::exp,
    simd::{Kernel, Simd, load, store},
};

/// Turns scores into exponentials against the greatest score so far, and brings sums and results to it.
pub(super) struct SoftmaxBlock<'a> {
    /// Rows of [`ROW`] floats of which `count` are scores.
    pub(super) scores: &'a mut [f32],
    pub(super) count: usize,
    /// The scores' factor.
    pub(super) scale: f32,
    /// The greatest scaled score and the sum of exponentials of each row.
    pub(super) greatest: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
    /// Rows of `size` floats; not yet set in the first block.
    pub(super) result: &'a mut [f32],
    pub(super) size: usize,
    pub(super) first: bool,
}

impl Kernel for SoftmaxBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let padded = self.count.next_multiple_of(S::LANES);
        assert!(padded <= KEYS);
        for (row, scores) in self.scores.chunks_exact_mut(ROW).enumerate() {
            // Lanes past the last score count as nothing.
            scores[self.count..padded].fill(-1e30);
            let scores = scores.as_mut_ptr();
            let mut top = s.splat(f32::NEG_INFINITY);
            for at in (0..padded).step_by(S::LANES) {
                // SAFETY: `padded <= KEYS` floats a row.
                top = s.max(top, unsafe { s.load(scores.add(at)) });
            }
            let before = self.greatest[row];
            let greatest = before.max(s.maximum(top) * self.scale);
            let (scale, shift) = (s.splat(self.scale), s.splat(-greatest));
            let mut sum = s.zero();
            for at in (0..padded).step_by(S::LANES) {
                // SAFETY: as above.
                unsafe {
                    let v = exp(s, s.mul_add(s.load(scores.add(at)), scale, shift));
                    s.store(scores.add(at), v);
                    sum = s.add(sum, v);
                }
            }
            let sum = s.sum(sum);
            self.greatest[row] = greatest;
            if self.first {
                self.sums[row] = sum;
                continue;
            }
            let factor = (before - greatest).exp();
            self.sums[row] = self.sums[row] * factor + sum;
            if factor != 1.0 {
                scale_row(s, &mut self.result[row * self.size..][..self.size], factor);
            }
        }
    }
}

#[inline(always)]
fn scale_row<S: Simd>(s: S, row: &mut [f32], factor: f32) {
    let factor = s.splat(factor);
    for at in (0..row.len()).step_by(S::LANES) {
        let count = (row.len() - at).min(S::LANES);
        // SAFETY: `count` floats from `at` on lie inside the row.
        unsafe {
            let to = row.as_mut_ptr().add(at);
            store(s, to, s.mul(load(s, to, count), factor), count);
        }
    }
}

/// `to = from / sum`.
pub(super) struct Finish<'a> {
    pub(super) from: &'a [f32],
    pub(super) sum: f32,
    pub(super) to: &'a mut [f32],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.to.copy_from_slice(self.from);
        scale_row(s, self.to, 1.0 / self.sum);
    }
}

/// From scores and the products of gradients with values: probabilities and the gradients of the unscaled scores.
///
/// The gradient of score (i, j) is p(i, j) (g(i, j) - sum over j of p g), where the sum is known from the result.
pub(super) struct ScoreGradients<'a> {
    /// Rows of [`ROW`] floats of which `count` are used: scores in, probabilities out.
    pub(super) scores: &'a mut [f32],
    /// Products in, gradients out.
    pub(super) gradients: &'a mut [f32],
    pub(super) count: usize,
    pub(super) scale: f32,
    /// ln(sum of exponentials) and the sum of p g of each query.
    pub(super) logarithms: &'a [f32],
    pub(super) sums: &'a [f32],
}

impl Kernel for ScoreGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let scale = s.splat(self.scale);
        let rows = self.scores.chunks_exact_mut(ROW).zip(self.gradients.chunks_exact_mut(ROW));
        let of_rows = self.logarithms.iter().zip(self.sums);
        for ((scores, gradients), (&logarithm, &sum)) in rows.zip(of_rows) {
            let (logarithm, sum) = (s.splat(logarithm), s.splat(sum));
            for at in (0..self.count).step_by(S::LANES) {
                let count = (self.count - at).min(S::LANES);
                // SAFETY: `count` floats from `at` on lie inside the rows.
                unsafe {
                    let (scores, gradients) = (scores.as_mut_ptr().add(at), gradients.as_mut_ptr().add(at));
                    let p = exp(s, s.sub(s.mul(load(s, scores, count), scale), logarithm));
                    let g = s.mul(s.mul(p, s.sub(load(s, gradients, count), sum)), scale);
                    store(s, scores, p, count);
                    store(s, gradients, g, count);
                }
            }
        }
    }
}
