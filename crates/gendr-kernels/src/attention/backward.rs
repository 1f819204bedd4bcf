//! The gradients of attention.
//!
//! Scores are computed again. Where there are heads enough, each has one thread and one pass. Else two passes, one by queries for
//! their gradient, one by keys for the gradients of keys and values, give every sum one owner; both ways add in the same order, to
//! the same bits.

use super::{AttentionShape, packed::Packed, softmax::ScoreGradients};
use crate::{
    gemm::{Block, LeftLayout},
    scratch::{SharedMut, with_scratch},
    simd::Level,
};
use rayon::prelude::*;
use std::ops::Range;

/// Keys (and queries) of a block of scores: whole panels at every level. Two blocks stay in the second-level cache beside the tokens
/// they are of.
const KEYS: usize = 96;
/// Floats from one row of a block of scores to the next: powers of two would fall on each other in the cache where columns are read.
pub(super) const ROW: usize = KEYS + 16;

/// Rows of a block of scores as rows of a left matrix ...
const ALONG: LeftLayout = LeftLayout::Plain { row: ROW, step: 1 };
/// ... and its columns as such.
const ACROSS: LeftLayout = LeftLayout::Plain { row: 1, step: ROW };

/// Whether five products, a head a thread, take less time than seven that all threads share.
fn one_pass_pays(heads: usize) -> bool {
    let threads = rayon::current_num_threads();
    heads.div_ceil(threads) * threads * 5 <= heads * 7
}

/// What [`super::attention`] was given and gave.
#[derive(Clone, Copy)]
struct Known<'a> {
    level: Level,
    shape: &'a AttentionShape,
    query: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
    gradient: &'a [f32],
    logarithms: &'a [f32],
    /// The sum of output times its gradient of each query and head.
    sums: &'a [f32],
}

/// The gradients of queries, keys and values from that of the output.
///
/// `output` and `logarithms` are what [`super::attention`] gave.
///
/// # Panics
///
/// A slice has another length than the shape says, or there are no keys.
#[allow(clippy::too_many_arguments)]
pub fn attention_backward(
    shape: &AttentionShape,
    query: &[f32],
    key: &[f32],
    value: &[f32],
    output: &[f32],
    logarithms: &[f32],
    gradient: &[f32],
    query_gradient: &mut [f32],
    key_gradient: &mut [f32],
    value_gradient: &mut [f32],
) {
    let by_query = [query.len(), output.len(), gradient.len(), query_gradient.len()];
    let by_key = [key.len(), value.len(), key_gradient.len(), value_gradient.len()];
    shape.check(&by_query, &by_key, Some(logarithms.len()));
    let level = Level::current();
    if shape.queries == 0 {
        key_gradient.fill(0.0);
        return value_gradient.fill(0.0);
    }
    with_scratch(shape.logarithm_len(), |sums| {
        sums.par_chunks_mut(shape.queries).enumerate().for_each(|(head, sums)| {
            for (token, sum) in sums.iter_mut().enumerate() {
                let at = shape.at(head, shape.queries, token);
                let pairs = output[at..at + shape.head_size].iter().zip(&gradient[at..]);
                *sum = pairs.map(|(y, g)| y * g).sum();
            }
        });
        let known = Known { level, shape, query, key, value, gradient, logarithms, sums };
        let [query, key, value] = [query_gradient, key_gradient, value_gradient].map(SharedMut::new);
        known.run(query, key, value);
    });
}

/// The operands that pairs of blocks share, packed: keys and values with a column a token, the others with a row a token.
#[derive(Clone, Copy)]
struct Operands<'a> {
    keys: (Packed<'a>, &'a [f32]),
    values: (Packed<'a>, &'a [f32]),
    key_rows: (Packed<'a>, &'a [f32]),
    query_rows: (Packed<'a>, &'a [f32]),
    gradient_rows: (Packed<'a>, &'a [f32]),
}

/// Gradients that a pass over pairs of blocks adds up.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    query: Option<SharedMut<'a>>,
    key_and_value: Option<[SharedMut<'a>; 2]>,
}

impl Known<'_> {
    fn run(&self, query: SharedMut<'_>, key: SharedMut<'_>, value: SharedMut<'_>) {
        let shape = self.shape;
        let across = Packed::across(self.level, shape, shape.keys);
        let along = Packed::along(self.level, shape, shape.keys);
        let along_queries = Packed::along(self.level, shape, shape.queries);
        with_scratch(2 * across.len() + along.len() + 2 * along_queries.len(), |mut scratch| {
            let mut pack = |packed: Packed<'_>, from: &[f32]| {
                let to = scratch.split_off_mut(..packed.len()).unwrap_or_default();
                packed.pack(from, to);
                &*to
            };
            let operands = Operands {
                keys: (across, pack(across, self.key)),
                values: (across, pack(across, self.value)),
                key_rows: (along, pack(along, self.key)),
                query_rows: (along_queries, pack(along_queries, self.query)),
                gradient_rows: (along_queries, pack(along_queries, self.gradient)),
            };
            let heads = shape.batch * shape.heads;
            let (query, key_and_value) = (Some(query), Some([key, value]));
            if one_pass_pays(heads) {
                let wanted = Wanted { query, key_and_value };
                (0..heads)
                    .into_par_iter()
                    .for_each(|head| self.pairs(&operands, head, 0..shape.queries, 0..shape.keys, wanted));
                return;
            }
            let wanted = Wanted { query, key_and_value: None };
            each_block(heads, shape.queries, |head, queries| {
                self.pairs(&operands, head, queries, 0..shape.keys, wanted);
            });
            let wanted = Wanted { query: None, key_and_value };
            each_block(heads, shape.keys, |head, keys| {
                self.pairs(&operands, head, 0..shape.queries, keys, wanted);
            });
        });
    }

    /// All pairs of blocks of some queries and some keys of one head.
    fn pairs(
        &self,
        operands: &Operands<'_>,
        head: usize,
        queries: Range<usize>,
        keys: Range<usize>,
        wanted: Wanted<'_>,
    ) {
        let shape = self.shape;
        let of_head = |(packed, data): (Packed<'_>, &'_ [f32])| packed.head(data, head).as_ptr();
        with_scratch(2 * KEYS * ROW, |scratch| {
            let (scores, gradients) = scratch.split_at_mut(KEYS * ROW);
            for query in queries.clone().step_by(KEYS) {
                let rows = (queries.end - query).min(KEYS);
                let at = shape.at(head, shape.queries, query);
                let token = head * shape.queries + query;
                for key in keys.clone().step_by(KEYS) {
                    let count = (keys.end - key).min(KEYS);
                    self.scores(rows, &self.query[at..], operands.keys, head, key..key + count, scores);
                    self.scores(
                        rows,
                        &self.gradient[at..],
                        operands.values,
                        head,
                        key..key + count,
                        gradients,
                    );
                    self.level.run(ScoreGradients {
                        scores,
                        gradients,
                        count,
                        scale: shape.scale(),
                        logarithms: &self.logarithms[token..token + rows],
                        sums: &self.sums[token..token + rows],
                    });
                    if let Some(out) = wanted.query {
                        let right = (of_head(operands.key_rows), shape.keys);
                        self.add(rows, (gradients, ALONG), right, (key, count), out.address(at));
                    }
                    if let Some([of_key, of_value]) = wanted.key_and_value {
                        let (at, steps) = (shape.at(head, shape.keys, key), (query, rows));
                        let right = (of_head(operands.query_rows), shape.queries);
                        self.add(count, (gradients, ACROSS), right, steps, of_key.address(at));
                        let right = (of_head(operands.gradient_rows), shape.queries);
                        self.add(count, (scores, ACROSS), right, steps, of_value.address(at));
                    }
                }
            }
        });
    }

    /// The products of `rows` rows of `left`, a token apart, with some tokens of a head.
    fn scores(
        &self,
        rows: usize,
        left: &[f32],
        (packed, right): (Packed<'_>, &[f32]),
        head: usize,
        tokens: Range<usize>,
        out: &mut [f32],
    ) {
        let size = self.shape.head_size;
        self.level.run(Block {
            rows,
            columns: tokens.len(),
            depth: size,
            left: left.as_ptr(),
            left_layout: LeftLayout::Plain { row: self.shape.width(), step: 1 },
            right: packed.head(right, head)[tokens.start * size..].as_ptr(),
            right_depth: size,
            right_from: 0,
            out: out.as_mut_ptr(),
            out_stride: ROW,
            accumulate: false,
        });
    }

    /// `out (+)= weights * right`, rows of `out` a token apart; `weights` lie as `left_layout` says.
    fn add(
        &self,
        rows: usize,
        (weights, left_layout): (&[f32], LeftLayout),
        right: (*const f32, usize),
        steps: (usize, usize),
        out: *mut f32,
    ) {
        self.level.run(Block {
            rows,
            columns: self.shape.head_size,
            depth: steps.1,
            left: weights.as_ptr(),
            left_layout,
            right: right.0,
            right_depth: right.1,
            right_from: steps.0,
            out,
            out_stride: self.shape.width(),
            accumulate: steps.0 > 0,
        });
    }
}

/// Calls `work` for every block of [`KEYS`] of so many tokens of every head, shared out over the threads.
fn each_block(heads: usize, tokens: usize, work: impl Fn(usize, Range<usize>) + Sync) {
    let blocks = tokens.div_ceil(KEYS);
    (0..heads * blocks).into_par_iter().for_each(|job| {
        let first = job % blocks * KEYS;
        work(job / blocks, first..(first + KEYS).min(tokens));
    });
}
