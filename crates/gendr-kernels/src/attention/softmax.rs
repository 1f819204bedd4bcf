//! What happens to a block of scores between the two products.

use super::backward::ROW;
use crate::{
    math::{exp, exp2},
    simd::{Kernel, Simd, load, store, turn_round},
};

/// Turns the scores of a panel of queries, a column a query, into exponentials against each column's greatest score so far, and
/// brings sums and results to it.
pub(super) struct SoftmaxPanel<'a> {
    /// Rows of `width` floats, whole vectors.
    pub(super) scores: &'a mut [f32],
    pub(super) width: usize,
    /// The scores' factor, times the binary logarithm of e.
    pub(super) scale: f32,
    /// The greatest score times `scale` and the sum of exponentials of each column.
    pub(super) greatest: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
    /// Rows of `width` floats; not yet set in the first block.
    pub(super) result: &'a mut [f32],
    pub(super) first: bool,
}

impl Kernel for SoftmaxPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.width;
        assert!(width.is_multiple_of(S::LANES) && self.scores.len().is_multiple_of(width));
        assert!(self.greatest.len() == width && self.sums.len() == width);
        assert!(self.result.len().is_multiple_of(width));
        let scale = s.splat(self.scale);
        for lane in (0..width).step_by(S::LANES) {
            // SAFETY: whole vectors of rows of `width` floats, as just seen.
            unsafe {
                let column = |rows: &mut [f32], row: usize| rows.as_mut_ptr().add(row * width + lane);
                let rows = self.scores.len() / width;
                let mut tops = [s.splat(f32::NEG_INFINITY); 4];
                for row in (0..rows / 4 * 4).step_by(4) {
                    for (i, top) in tops.iter_mut().enumerate() {
                        *top = s.max(*top, s.load(column(self.scores, row + i)));
                    }
                }
                for row in rows / 4 * 4..rows {
                    tops[0] = s.max(tops[0], s.load(column(self.scores, row)));
                }
                let top = s.max(s.max(tops[0], tops[1]), s.max(tops[2], tops[3]));
                let (greatest, sums) = (column(self.greatest, 0), column(self.sums, 0));
                let mut now = s.mul(top, scale);
                if !self.first {
                    let before = s.load(greatest);
                    now = s.max(now, before);
                    let factor = exp2(s, s.sub(before, now));
                    s.store(sums, s.mul(s.load(sums), factor));
                    for row in 0..self.result.len() / width {
                        let to = column(self.result, row);
                        s.store(to, s.mul(s.load(to), factor));
                    }
                }
                s.store(greatest, now);
                let (mut sum, shift) = (s.zero(), s.sub(s.zero(), now));
                for row in 0..rows {
                    let to = column(self.scores, row);
                    let v = exp2(s, s.mul_add(s.load(to), scale, shift));
                    s.store(to, v);
                    sum = s.add(sum, v);
                }
                s.store(sums, if self.first { sum } else { s.add(s.load(sums), sum) });
            }
        }
    }
}

/// Divides each column by its sum and writes it as a row.
pub(super) struct Finish<'a> {
    /// Rows of `width` floats, whole vectors.
    pub(super) result: &'a mut [f32],
    pub(super) width: usize,
    pub(super) sums: &'a [f32],
    /// Columns that are wanted.
    pub(super) queries: usize,
    /// As many rows as that, `out_stride` floats apart, each as long as `result` has rows; written by this thread alone.
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { result, width, sums, queries, out, out_stride } = self;
        assert!(width.is_multiple_of(S::LANES) && sums.len() == width && queries <= width);
        let size = result.len() / width;
        for row in result.chunks_exact_mut(width) {
            for lane in (0..width).step_by(S::LANES) {
                // SAFETY: whole vectors of rows of `width` floats, as just seen.
                unsafe {
                    let to = row.as_mut_ptr().add(lane);
                    s.store(to, s.div(s.load(to), s.load(sums.as_ptr().add(lane))));
                }
            }
        }
        // SAFETY: this kernel's contract.
        unsafe { turn_round(s, result, width, [size, queries], out, out_stride) };
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
