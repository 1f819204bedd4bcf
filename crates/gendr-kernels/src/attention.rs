//! Softmax attention that never stores the score matrix.
//!
//! Keys go by in blocks; each block of queries keeps the greatest score and the sum of exponentials so far and rescales its
//! result when they change (Dao et al., "FlashAttention", 2022). The gradients compute the scores again from the stored
//! logarithms of those sums.

mod backward;
mod packed;
mod softmax;
#[cfg(test)]
mod tests;

use crate::{
    gemm::{Block, DEPTH, Factors, LeftLayout, QUAD, ROWS, View, left_len, pack_left, packed_place},
    matmul::pack_right,
    scratch::{SharedMut, with_scratch},
    simd::Level,
};
pub use backward::attention_backward;
use rayon::prelude::*;
use softmax::{Finish, SoftmaxPanel};
use std::ops::Range;

/// Queries that one job holds: whole panels at every level.
const QUERIES: usize = 96;
/// Floats of keys (and of values) that go by at once, to stay in the second-level cache ...
const KEY_FLOATS: usize = 48 << 10;
/// ... and keys, at most.
const MOST_KEYS: usize = 192;

/// Multi-head attention, softmax(q k^T / sqrt(head_size)) v.
///
/// Queries and results are `[batch, queries, heads * head_size]`, keys and values `[batch, keys, heads * head_size]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Sequences.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Tokens that ask.
    pub queries: usize,
    /// Tokens that are asked.
    pub keys: usize,
    /// Floats of a head.
    pub head_size: usize,
}

impl AttentionShape {
    /// Floats of the queries and of the result.
    pub const fn query_len(&self) -> usize {
        self.batch * self.queries * self.width()
    }

    /// Floats of the keys, and of the values.
    pub const fn key_len(&self) -> usize {
        self.batch * self.keys * self.width()
    }

    /// Floats of the logarithms that the gradients need: `[batch, heads, queries]`.
    pub const fn logarithm_len(&self) -> usize {
        self.batch * self.heads * self.queries
    }

    /// Multiplications of both products, twice.
    pub const fn flops(&self) -> usize {
        4 * self.logarithm_len() * self.keys * self.head_size
    }

    /// Floats of a token.
    const fn width(&self) -> usize {
        self.heads * self.head_size
    }

    /// Where head `head` (through all sequences) of token `token` begins, among `tokens` tokens a sequence.
    fn at(&self, head: usize, tokens: usize, token: usize) -> usize {
        (head / self.heads * tokens + token) * self.width() + head % self.heads * self.head_size
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_size as f32).sqrt()
    }

    fn check(&self, queries: &[usize], keys: &[usize], logarithms: Option<usize>) {
        assert!(self.keys > 0 && self.width() > 0, "nothing to attend to: {self:?}");
        assert!(queries.iter().all(|&len| len == self.query_len()), "floats for {self:?}: {queries:?}");
        assert!(keys.iter().all(|&len| len == self.key_len()), "floats for {self:?}: {keys:?}");
        assert!(
            logarithms.is_none_or(|len| len == self.logarithm_len()),
            "logarithms for {self:?}: {logarithms:?}"
        );
    }
}

/// `output = softmax(query * key^T / sqrt(head_size)) * value`, head by head.
///
/// `logarithms`, if wanted, takes ln(sum of exponentials) of each row of scores, for [`attention_backward`].
///
/// # Panics
///
/// A slice has another length than the shape says, or there are no keys.
pub fn attention(
    shape: &AttentionShape,
    query: &[f32],
    key: &[f32],
    value: &[f32],
    output: &mut [f32],
    logarithms: Option<&mut [f32]>,
) {
    let logarithm_len = logarithms.as_ref().map(|logarithms| logarithms.len());
    shape.check(&[query.len(), output.len()], &[key.len(), value.len()], logarithm_len);
    let level = Level::current();
    let output = SharedMut::new(output);
    let logarithms = logarithms.map(SharedMut::new);
    let head_len = left_len(shape.head_size, shape.keys);
    with_scratch(shape.batch * shape.heads * head_len, |values| {
        pack_values(level, shape, value, values);
        let forward =
            Forward { level, factors: Factors::current(), shape, query, key, values, output, logarithms };
        let blocks = shape.queries.div_ceil(QUERIES);
        (0..shape.batch * shape.heads * blocks).into_par_iter().for_each(|job| {
            forward.block(job / blocks, job % blocks * QUERIES);
        });
    });
}

/// Packs the values of each head as a left matrix, a row a float of the head and a step a key.
fn pack_values(level: Level, shape: &AttentionShape, value: &[f32], packed: &mut [f32]) {
    let panels = shape.head_size.div_ceil(ROWS);
    packed.par_chunks_exact_mut(ROWS * shape.keys).enumerate().for_each(|(index, panel)| {
        let (head, row) = (index / panels, index % panels * ROWS);
        let view = View {
            data: &value[shape.at(head, shape.keys, 0)..],
            row_stride: 1,
            column_stride: shape.width(),
        };
        pack_left(level, view, row, shape.head_size - row, shape.keys, panel);
    });
}

/// Scores and results lie crosswise, a column a query: the exponentials of one panel of queries are the packed right matrix of the
/// product with the values, and no sum runs along a vector.
struct Forward<'a> {
    level: Level,
    factors: Factors,
    shape: &'a AttentionShape,
    query: &'a [f32],
    key: &'a [f32],
    /// Packed by [`pack_values`].
    values: &'a [f32],
    output: SharedMut<'a>,
    logarithms: Option<SharedMut<'a>>,
}

impl Forward<'_> {
    /// One block of queries of one head of one sequence, from query `first` on.
    fn block(&self, head: usize, first: usize) {
        let shape = self.shape;
        let queries = (shape.queries - first).min(QUERIES);
        let (size, width) = (shape.head_size, shape.width());
        let (at, lanes, panel) =
            (shape.at(head, shape.queries, first), self.level.lanes(), self.level.panel());
        let columns = queries.next_multiple_of(lanes);
        let panels = || (0..columns).step_by(panel).map(|column| (column, (columns - column).min(panel)));
        let most = (KEY_FLOATS / size).clamp(1, MOST_KEYS).next_multiple_of(QUAD).min(shape.keys);
        with_scratch(columns * (2 * size + most + 2), |scratch| {
            let (packed, scratch) = scratch.split_at_mut(columns * size);
            let (result, scratch) = scratch.split_at_mut(columns * size);
            let (scores, scratch) = scratch.split_at_mut(columns * most);
            let (greatest, sums) = scratch.split_at_mut(columns);
            let view = View { data: &self.query[at..], row_stride: 1, column_stride: width };
            pack_right(self.level, view, 0..queries, size, packed);
            for key in (0..shape.keys).step_by(most) {
                let keys = key..(key + most).min(shape.keys);
                for (column, width) in panels() {
                    self.scores(
                        head,
                        keys.clone(),
                        &packed[column * size..],
                        width,
                        &mut scores[column * most..],
                    );
                    self.level.run(SoftmaxPanel {
                        scores: &mut scores[column * most..][..width * keys.len()],
                        width,
                        scale: shape.scale() * std::f32::consts::LOG2_E,
                        greatest: &mut greatest[column..][..width],
                        sums: &mut sums[column..][..width],
                        result: &mut result[column * size..][..width * size],
                        first: key == 0,
                    });
                }
                for (column, width) in panels() {
                    self.add_values(
                        head,
                        keys.clone(),
                        &scores[column * most..],
                        width,
                        &mut result[column * size..],
                    );
                }
            }
            for (column, width) in panels() {
                let count = (queries - column).min(width);
                let at = at + column * shape.width();
                self.output.address(at + (count - 1) * shape.width() + size);
                self.level.run(Finish {
                    result: &mut result[column * size..][..width * size],
                    width,
                    sums: &sums[column..][..width],
                    queries: count,
                    out: self.output.address(at),
                    out_stride: shape.width(),
                });
            }
            if let Some(logarithms) = self.logarithms {
                // SAFETY: this job alone writes these queries of this head.
                let to = unsafe { logarithms.part(head * shape.queries + first, queries) };
                for ((to, greatest), sum) in to.iter_mut().zip(greatest).zip(sums) {
                    *to = (*greatest + sum.log2()) * std::f32::consts::LN_2;
                }
            }
        });
    }

    /// Products of some keys with one packed panel of queries, a row a key.
    fn scores(&self, head: usize, keys: Range<usize>, queries: &[f32], columns: usize, out: &mut [f32]) {
        let size = self.shape.head_size;
        let from = self.shape.at(head, self.shape.keys, keys.start);
        for step in (0..size).step_by(DEPTH) {
            let block = Block {
                rows: keys.len(),
                columns,
                depth: (size - step).min(DEPTH),
                left: self.key[from + step..].as_ptr(),
                left_layout: LeftLayout::Plain { row: self.shape.width(), step: 1 },
                right: queries.as_ptr(),
                right_depth: size,
                right_from: step,
                out: out.as_mut_ptr(),
                out_stride: columns,
                accumulate: step > 0,
            };
            self.factors.multiply(self.level, block);
        }
    }

    /// Adds the values of some keys, by the exponentials of one panel of queries, to `result`, a row a float of the head.
    fn add_values(
        &self,
        head: usize,
        keys: Range<usize>,
        exponentials: &[f32],
        columns: usize,
        result: &mut [f32],
    ) {
        let shape = self.shape;
        let left = head * left_len(shape.head_size, shape.keys) + packed_place(0, keys.start, shape.keys);
        let block = Block {
            rows: shape.head_size,
            columns,
            depth: keys.len(),
            left: self.values[left..].as_ptr(),
            left_layout: LeftLayout::Packed(shape.keys),
            right: exponentials.as_ptr(),
            right_depth: keys.len(),
            right_from: 0,
            out: result.as_mut_ptr(),
            out_stride: columns,
            accumulate: keys.start > 0,
        };
        self.factors.multiply(self.level, block);
    }
}
