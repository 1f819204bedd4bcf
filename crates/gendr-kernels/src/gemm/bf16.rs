//! Products of factors rounded to bf16, added up in f32.
//!
//! Matrices are f32 in memory as for [`Block`]; one block's part of them is rounded as it is needed. Two steps of the depth share a
//! lane, as the instruction takes them: which two is free as long as both matrices agree, so each layout of the left matrix
//! pairs those that its vectors hold.

use super::{Block, HALF, LeftLayout, QUAD, ROW_BLOCK, packed_place};
use crate::{
    scratch::with_scratch,
    simd::{Kernel, Level, Simd},
};
use std::{cell::Cell, ops::Range};

/// What products multiply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Factors {
    /// The numbers as they are.
    #[default]
    F32,
    /// Rounded to bf16 (eight bits of mantissa: relative error below 2^-8), sums in f32: linear layers, attention, and convolutions
    /// that are plain products. Minimal filtering and gradients stay in f32.
    Bf16,
}

thread_local! {
    static ON_THREAD: Cell<Factors> = const { Cell::new(Factors::F32) };
}

impl Factors {
    /// What the kernels called from this thread multiply.
    pub fn current() -> Self {
        ON_THREAD.get()
    }

    /// Lets the kernels called from this thread multiply these from now on.
    pub fn use_on_thread(self) {
        ON_THREAD.set(self);
    }

    /// Whether the machine multiplies them at least as fast as f32; bf16 without instructions of its own takes longer.
    pub fn are_native(self) -> bool {
        self == Self::F32 || Level::current().has_bf16()
    }

    /// Multiplies a block.
    #[inline]
    pub(crate) fn multiply(self, level: Level, block: Block) {
        match self {
            Self::F32 => level.run(block),
            Self::Bf16 => {
                let pairs = block.depth.div_ceil(2);
                let left_len = block.rows.min(ROW_BLOCK).next_multiple_of(HALF) * pairs;
                with_scratch(left_len + level.panel() * pairs, |scratch| {
                    let (left, right) = scratch.split_at_mut(left_len);
                    level.run_bf16(Rounded { block, left, right });
                });
            }
        }
    }
}

/// A block and room for its rounded factors.
struct Rounded<'a> {
    block: Block,
    /// Panels of four rows, `[panel][pair of steps][4]`.
    left: &'a mut [f32],
    /// One panel of columns, `[pair of steps][vectors]`.
    right: &'a mut [f32],
}

impl Kernel for Rounded<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { block, left, right } = self;
        let (panel, pairs) = (3 * S::LANES, block.depth.div_ceil(2));
        let most_rows = block.rows.min(ROW_BLOCK);
        assert!(left.len() >= most_rows.next_multiple_of(QUAD) * pairs && right.len() >= panel * pairs);
        for first in (0..block.rows).step_by(ROW_BLOCK) {
            let rows = first..(first + ROW_BLOCK).min(block.rows);
            // SAFETY: the operands are readable and `out` writable, promised where the block was built; the rounded ones were just seen
            // to fit.
            unsafe {
                block.round_left(s, rows.clone(), left.as_mut_ptr());
                for column in (0..block.columns).step_by(panel) {
                    let width = (block.columns - column).min(panel);
                    let vectors = width.div_ceil(S::LANES);
                    block.round_right(s, column, vectors, right.as_mut_ptr());
                    for row in rows.clone().step_by(if S::WIDE_FILE { HALF } else { QUAD }) {
                        let left = left.as_ptr().add((row - first) * pairs);
                        let out = block.out.add(row * block.out_stride + column);
                        let (right, count) = (right.as_ptr(), rows.end - row);
                        match (S::WIDE_FILE && count > QUAD, vectors) {
                            (true, 3) => block.pairs_tile::<S, 8, 3>(s, left, right, out, count, width),
                            (true, 2) => block.pairs_tile::<S, 8, 2>(s, left, right, out, count, width),
                            (true, _) => block.pairs_tile::<S, 8, 1>(s, left, right, out, count, width),
                            (_, 3) => block.pairs_tile::<S, 4, 3>(s, left, right, out, count, width),
                            (_, 2) => block.pairs_tile::<S, 4, 2>(s, left, right, out, count, width),
                            _ => block.pairs_tile::<S, 4, 1>(s, left, right, out, count, width),
                        }
                    }
                }
            }
        }
    }
}

impl Block {
    /// The two steps of the depth in pair `pair`; the second may be one past the last.
    #[inline(always)]
    fn steps_of<S: Simd>(&self, pair: usize) -> [usize; 2] {
        let quarter = S::LANES / 4;
        let chunk = match self.left_layout {
            LeftLayout::Packed(_) => S::LANES / 2,
            LeftLayout::Plain { step: 1, .. } => S::LANES,
            LeftLayout::Plain { .. } => 2,
        };
        let first = 2 * pair / chunk * chunk;
        let place = pair - first / 2;
        match self.left_layout {
            _ if first + chunk > self.depth => [2 * pair, 2 * pair + 1],
            LeftLayout::Packed(_) => [first + place, first + quarter + place],
            LeftLayout::Plain { step: 1, .. } => {
                let step = first + 4 * (place % quarter) + 2 * (place / quarter);
                [step, step + 1]
            }
            LeftLayout::Plain { .. } => [2 * pair, 2 * pair + 1],
        }
    }

    /// Rounds some rows of the left matrix; rows that lack to a panel become zero.
    ///
    /// # Safety
    /// The left matrix is readable, `to` writable.
    #[inline(always)]
    unsafe fn round_left<S: Simd>(&self, s: S, rows: Range<usize>, to: *mut f32) {
        let pairs = self.depth.div_ceil(2);
        for row in rows.clone().step_by(QUAD) {
            let count = (rows.end - row).min(QUAD);
            // SAFETY: four rows of the left matrix, as many floats of `to`, see the caller's promise.
            unsafe {
                let to = to.add((row - rows.start) * pairs);
                let done = if count == QUAD { self.round_panel(s, row, to) } else { 0 };
                for pair in done..pairs {
                    let steps = self.steps_of::<S>(pair);
                    for r in 0..QUAD {
                        let there = |step: usize| r < count && step < self.depth;
                        let [low, high] = steps.map(|step| {
                            s.splat(if there(step) { *self.left_at(row + r, step) } else { 0.0 })
                        });
                        s.store_first(to.add(QUAD * pair + r), s.pair_bf16(low, high), 1);
                    }
                }
            }
        }
    }

    /// Where a float of the left matrix lies.
    #[inline(always)]
    fn left_at(&self, row: usize, step: usize) -> *const f32 {
        self.left.wrapping_add(match self.left_layout {
            LeftLayout::Packed(depth) => packed_place(row, step, depth),
            LeftLayout::Plain { row: stride, step: step_stride } => row * stride + step * step_stride,
        })
    }

    /// Rounds as many pairs of four rows as fill vectors and returns their number.
    ///
    /// # Safety
    /// As [`Self::round_left`].
    #[inline(always)]
    unsafe fn round_panel<S: Simd>(&self, s: S, row: usize, to: *mut f32) -> usize {
        // SAFETY: whole chunks of steps of four rows.
        unsafe {
            match self.left_layout {
                LeftLayout::Packed(_) => {
                    let chunk = S::LANES / 2;
                    for step in (0..self.depth / chunk * chunk).step_by(chunk) {
                        let from = self.left_at(row, step);
                        s.store(
                            to.add(QUAD * step / 2),
                            s.pair_bf16(s.load(from), s.load(from.add(S::LANES))),
                        );
                    }
                    self.depth / chunk * chunk / 2
                }
                LeftLayout::Plain { row: stride, step: 1 } => {
                    for step in (0..self.depth / S::LANES * S::LANES).step_by(S::LANES) {
                        let [a, b, c, d] = s.load_quads(self.left_at(row, step), stride, 4);
                        let to = to.add(QUAD * step / 2);
                        s.store(to, s.pair_bf16(a, b));
                        s.store(to.add(S::LANES), s.pair_bf16(c, d));
                    }
                    self.depth / S::LANES * S::LANES / 2
                }
                LeftLayout::Plain { .. } => 0,
            }
        }
    }

    /// Rounds the panel of columns from `column` on.
    ///
    /// # Safety
    /// The right matrix is readable, `to` writable.
    #[inline(always)]
    unsafe fn round_right<S: Simd>(&self, s: S, column: usize, vectors: usize, to: *mut f32) {
        let width = vectors * S::LANES;
        // SAFETY: steps of the depth inside the panel, pairs inside `to`.
        unsafe {
            let right = self.right.add(column * self.right_depth + self.right_from * width);
            for pair in 0..self.depth.div_ceil(2) {
                let [low, high] = self.steps_of::<S>(pair);
                for lane in (0..width).step_by(S::LANES) {
                    let second =
                        if high < self.depth { s.load(right.add(high * width + lane)) } else { s.zero() };
                    let first = s.load(right.add(low * width + lane));
                    s.store(to.add(pair * width + lane), s.pair_bf16(first, second));
                }
            }
        }
    }

    /// # Safety
    /// As [`Block::tile`], of rounded factors.
    #[inline(always)]
    unsafe fn pairs_tile<S: Simd, const R: usize, const N: usize>(
        &self,
        s: S,
        left: *const f32,
        right: *const f32,
        out: *mut f32,
        rows: usize,
        width: usize,
    ) {
        let pairs = self.depth.div_ceil(2);
        let mut sums = [[s.zero(); N]; R];
        // SAFETY: `pairs` steps of both panels; only `rows` rows of `width` floats of `out` are touched.
        unsafe {
            for pair in 0..pairs {
                let mut b = [s.zero(); N];
                for (n, b) in b.iter_mut().enumerate() {
                    *b = s.load(right.add((pair * N + n) * S::LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = s.splat(*left.add(packed_place(r, pair, pairs)));
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = s.add_products_bf16(a, b, *sum);
                    }
                }
            }
            self.store_tile(s, sums, out, rows.min(R), width);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AttentionShape, ConvShape, Finish, LinearShape, attention, conv2d, linear, linear_geglu,
        noise::{errors, noise, typical_sum},
    };
    use proptest::prelude::*;

    /// The nearest bf16.
    fn rounded(x: f32) -> f64 {
        let bits = x.to_bits();
        f64::from(f32::from_bits((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000))
    }

    fn layouts(depth: usize, rows: usize) -> [LeftLayout; 3] {
        let across = LeftLayout::Plain { row: 1, step: rows + 3 };
        [LeftLayout::Packed(depth + 2), LeftLayout::Plain { row: depth + 5, step: 1 }, across]
    }

    #[test]
    fn layers_differ_by_the_rounding_alone() {
        let shape = LinearShape { rows: 300, in_features: 70, out_features: 90 };
        let few = LinearShape { rows: 40, ..shape };
        let conv = ConvShape { stride: 2, ..ConvShape::same(1, 40, 24, 13, 17, 1) };
        let heads = AttentionShape { batch: 1, heads: 2, queries: 100, keys: 210, head_size: 24 };
        let (x, weight, bias) = (noise(1, 300 * 70), noise(2, 180 * 70), noise(3, 180));
        let results = || {
            let mut y = [shape.rows, few.rows, few.rows, shape.rows].map(|rows| vec![f32::NAN; rows * 90]);
            linear(&shape, &x, &weight[..90 * 70], Some(&bias[..90]), &mut y[0]);
            linear(&few, &x[..40 * 70], &weight[..90 * 70], None, &mut y[1]);
            linear_geglu(&few, &x[..40 * 70], &weight, Some(&bias), &mut y[2]);
            linear_geglu(&shape, &x, &weight, None, &mut y[3]);
            let (mut pixels, mut seen) =
                (vec![f32::NAN; conv.output_len()], vec![f32::NAN; heads.query_len()]);
            conv2d(&conv, &x[..conv.input_len()], &weight[..960], &Finish::default(), &mut pixels);
            let keys = &weight[..heads.key_len()];
            attention(&heads, &x[..heads.query_len()], keys, &x[..heads.key_len()], &mut seen, None);
            y.into_iter().chain([pixels, seen]).collect::<Vec<_>>()
        };
        for level in Level::available() {
            let exact = level.force(results);
            Factors::Bf16.use_on_thread();
            let coarse = level.force(results);
            Factors::F32.use_on_thread();
            for (layer, (coarse, exact)) in coarse.iter().zip(exact).enumerate() {
                let exact: Vec<f64> = exact.into_iter().map(f64::from).collect();
                let (rms, _) = errors(coarse, &exact, 0.0);
                assert!(rms > 1e-4 && rms < 4e-3, "{level:?} {layer}: {rms:e}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn products_of_rounded_factors(
            rows in prop_oneof![1usize..20, 120usize..140],
            columns in 1usize..60,
            depth in 1usize..70,
            from in 0usize..3,
            accumulate: bool,
        ) {
            for (level, layout) in
                Level::available().into_iter().flat_map(|level| layouts(depth, rows).map(|layout| (level, layout)))
            {
                let padded = columns.next_multiple_of(level.lanes());
                let left = noise(1, (rows + 8) * (depth + 8) + (rows + 3) * depth);
                let right = noise(2, padded * (depth + from));
                let before = noise(3, rows * (columns + 1));
                let mut out = before.clone();
                let block = Block {
                    rows,
                    columns,
                    depth,
                    left: left.as_ptr(),
                    left_layout: layout,
                    right: right.as_ptr(),
                    right_depth: depth + from,
                    right_from: from,
                    out: out.as_mut_ptr(),
                    out_stride: columns + 1,
                    accumulate,
                };
                Factors::Bf16.multiply(level, block);
                let panel = level.panel();
                let mut want: Vec<f64> = before.iter().map(|&x| f64::from(x)).collect();
                for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                    let first = column / panel * panel;
                    let width = (padded - first).min(panel);
                    let products = (0..depth).map(|step| {
                        let at = match layout {
                            LeftLayout::Packed(depth) => row / 4 * 4 * depth + step * 4 + row % 4,
                            LeftLayout::Plain { row: stride, step: of_step } => row * stride + step * of_step,
                        };
                        let right = right[first * (depth + from) + (from + step) * width + column - first];
                        rounded(left[at]) * rounded(right)
                    });
                    let to = &mut want[row * (columns + 1) + column];
                    *to = products.sum::<f64>() + if accumulate { *to } else { 0.0 };
                }
                let (rms, max) = errors(&out, &want, typical_sum(depth as f64));
                prop_assert!(rms < 1e-6 && max < 1e-5, "{level:?} {layout:?}: {rms:e} {max:e}");
            }
        }
    }
}
