//! The gradients of attention.
//!
//! Scores are computed again. Where there are heads enough, each has one thread and one pass. Else two passes, one by queries for
//! their gradient, one by keys for the gradients of keys and values, give every sum one owner; both ways add in the same order, to
//! the same bits.

use super::{AttentionShape, KEYS, QUERIES, ROW, packed::Packed, softmax::ScoreGradients};
use crate::{
    gemm::{Block, LeftLayout},
    scratch::{SharedMut, with_scratch},
    simd::Level,
};
use rayon::prelude::*;

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
    with_scratch(shape.logarithm_len(), |sums| {
        sums.par_chunks_mut(shape.queries.max(1)).enumerate().for_each(|(head, sums)| {
            for (token, sum) in sums.iter_mut().enumerate() {
                let at = (head / shape.heads * shape.queries + token) * shape.width()
                    + head % shape.heads * shape.head_size;
                let pairs = output[at..at + shape.head_size].iter().zip(&gradient[at..]);
                *sum = pairs.map(|(y, g)| y * g).sum();
            }
        });
        let known = Known { level, shape, query, key, value, gradient, logarithms, sums };
        let [query, key, value] = [query_gradient, key_gradient, value_gradient].map(SharedMut::new);
        if one_pass_pays(shape.batch * shape.heads) {
            known.by_heads(query, key, value);
        } else {
            known.by_queries(query);
            known.by_keys(key, value);
        }
    });
}

/// One side of a pair of products: rows of a tensor times tokens packed as columns.
#[derive(Clone, Copy)]
struct Scores<'a> {
    rows: usize,
    left: &'a [f32],
    right: &'a [f32],
}

impl Known<'_> {
    /// Where head `head` (through all sequences) of token `token` begins, among `tokens` tokens a sequence.
    fn at(&self, head: usize, tokens: usize, token: usize) -> usize {
        let shape = self.shape;
        (head / shape.heads * tokens + token) * shape.width() + head % shape.heads * shape.head_size
    }

    fn scores(&self, scores: Scores<'_>, first: usize, columns: usize, out: &mut [f32]) {
        let size = self.shape.head_size;
        self.level.run(Block {
            rows: scores.rows,
            columns,
            depth: size,
            left: scores.left.as_ptr(),
            left_layout: LeftLayout::Plain { row: self.shape.width(), step: 1 },
            right: scores.right[first * size..].as_ptr(),
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
        right: (&[f32], usize),
        steps: (usize, usize),
        out: *mut f32,
    ) {
        self.level.run(Block {
            rows,
            columns: self.shape.head_size,
            depth: steps.1,
            left: weights.as_ptr(),
            left_layout,
            right: right.0.as_ptr(),
            right_depth: right.1,
            right_from: steps.0,
            out,
            out_stride: self.shape.width(),
            accumulate: steps.0 > 0,
        });
    }

    fn by_heads(
        &self,
        query_gradient: SharedMut<'_>,
        key_gradient: SharedMut<'_>,
        value_gradient: SharedMut<'_>,
    ) {
        let shape = self.shape;
        let across = Packed::across(self.level, shape, shape.keys);
        let along = Packed::along(self.level, shape, shape.keys);
        let along_queries = Packed::along(self.level, shape, shape.queries);
        with_scratch(2 * across.len() + along.len() + 2 * along_queries.len(), |scratch| {
            let (keys, scratch) = scratch.split_at_mut(across.len());
            let (values, scratch) = scratch.split_at_mut(across.len());
            let (key_rows, scratch) = scratch.split_at_mut(along.len());
            let (query_rows, output_rows) = scratch.split_at_mut(along_queries.len());
            across.pack(self.key, keys);
            across.pack(self.value, values);
            along.pack(self.key, key_rows);
            along_queries.pack(self.query, query_rows);
            along_queries.pack(self.gradient, output_rows);
            (0..shape.batch * shape.heads).into_par_iter().for_each(|head| {
                let (keys, values) = (across.head(keys, head), across.head(values, head));
                let key_rows = (along.head(key_rows, head), shape.keys);
                let query_rows = (along_queries.head(query_rows, head), shape.queries);
                let output_rows = (along_queries.head(output_rows, head), shape.queries);
                with_scratch(2 * KEYS * ROW, |scratch| {
                    let (scores, gradients) = scratch.split_at_mut(KEYS * ROW);
                    for query in (0..shape.queries).step_by(KEYS) {
                        let rows = (shape.queries - query).min(KEYS);
                        let at = self.at(head, shape.queries, query);
                        let token = head * shape.queries + query;
                        for key in (0..shape.keys).step_by(KEYS) {
                            let count = (shape.keys - key).min(KEYS);
                            let key_at = self.at(head, shape.keys, key);
                            let left = &self.query[at..];
                            self.scores(Scores { rows, left, right: keys }, key, count, scores);
                            let left = &self.gradient[at..];
                            self.scores(Scores { rows, left, right: values }, key, count, gradients);
                            self.level.run(ScoreGradients {
                                scores,
                                gradients,
                                count,
                                scale: shape.scale(),
                                logarithms: &self.logarithms[token..token + rows],
                                sums: &self.sums[token..token + rows],
                                queries_are_rows: true,
                            });
                            let out = query_gradient.address(at);
                            self.add(rows, (gradients, ALONG), key_rows, (key, count), out);
                            let steps = (query, rows);
                            let out = key_gradient.address(key_at);
                            self.add(count, (gradients, ACROSS), query_rows, steps, out);
                            let out = value_gradient.address(key_at);
                            self.add(count, (scores, ACROSS), output_rows, steps, out);
                        }
                    }
                });
            });
        });
    }

    fn by_queries(&self, query_gradient: SharedMut<'_>) {
        let shape = self.shape;
        let across = Packed::across(self.level, shape, shape.keys);
        let along = Packed::along(self.level, shape, shape.keys);
        with_scratch(2 * across.len() + along.len(), |scratch| {
            let (keys, scratch) = scratch.split_at_mut(across.len());
            let (values, key_rows) = scratch.split_at_mut(across.len());
            across.pack(self.key, keys);
            across.pack(self.value, values);
            along.pack(self.key, key_rows);
            let blocks = shape.queries.div_ceil(QUERIES);
            (0..shape.batch * shape.heads * blocks).into_par_iter().for_each(|job| {
                let (head, first) = (job / blocks, job % blocks * QUERIES);
                let rows = (shape.queries - first).min(QUERIES);
                let at = self.at(head, shape.queries, first);
                let token = head * shape.queries + first;
                let out = query_gradient.address(at);
                with_scratch(2 * rows * ROW, |scratch| {
                    let (scores, gradients) = scratch.split_at_mut(rows * ROW);
                    for key in (0..shape.keys).step_by(KEYS) {
                        let count = (shape.keys - key).min(KEYS);
                        let left = &self.query[at..];
                        self.scores(
                            Scores { rows, left, right: across.head(keys, head) },
                            key,
                            count,
                            scores,
                        );
                        let left = &self.gradient[at..];
                        self.scores(
                            Scores { rows, left, right: across.head(values, head) },
                            key,
                            count,
                            gradients,
                        );
                        self.level.run(ScoreGradients {
                            scores,
                            gradients,
                            count,
                            scale: shape.scale(),
                            logarithms: &self.logarithms[token..token + rows],
                            sums: &self.sums[token..token + rows],
                            queries_are_rows: true,
                        });
                        self.add(
                            rows,
                            (gradients, ALONG),
                            (along.head(key_rows, head), shape.keys),
                            (key, count),
                            out,
                        );
                    }
                });
            });
        });
    }

    fn by_keys(&self, key_gradient: SharedMut<'_>, value_gradient: SharedMut<'_>) {
        let shape = self.shape;
        let across = Packed::across(self.level, shape, shape.queries);
        let along = Packed::along(self.level, shape, shape.queries);
        with_scratch(2 * across.len() + 2 * along.len(), |scratch| {
            let (queries, scratch) = scratch.split_at_mut(across.len());
            let (outputs, scratch) = scratch.split_at_mut(across.len());
            let (query_rows, output_rows) = scratch.split_at_mut(along.len());
            across.pack(self.query, queries);
            across.pack(self.gradient, outputs);
            along.pack(self.query, query_rows);
            along.pack(self.gradient, output_rows);
            let blocks = shape.keys.div_ceil(QUERIES);
            (0..shape.batch * shape.heads * blocks).into_par_iter().for_each(|job| {
                let (head, first) = (job / blocks, job % blocks * QUERIES);
                let rows = (shape.keys - first).min(QUERIES);
                let at = self.at(head, shape.keys, first);
                let token = head * shape.queries;
                let (key_out, value_out) = (key_gradient.address(at), value_gradient.address(at));
                with_scratch(2 * rows * ROW, |scratch| {
                    let (scores, gradients) = scratch.split_at_mut(rows * ROW);
                    for query in (0..shape.queries).step_by(KEYS) {
                        let count = (shape.queries - query).min(KEYS);
                        let left = &self.key[at..];
                        self.scores(
                            Scores { rows, left, right: across.head(queries, head) },
                            query,
                            count,
                            scores,
                        );
                        let left = &self.value[at..];
                        self.scores(
                            Scores { rows, left, right: across.head(outputs, head) },
                            query,
                            count,
                            gradients,
                        );
                        self.level.run(ScoreGradients {
                            scores,
                            gradients,
                            count,
                            scale: shape.scale(),
                            logarithms: &self.logarithms[token + query..token + query + count],
                            sums: &self.sums[token + query..token + query + count],
                            queries_are_rows: false,
                        });
                        let steps = (query, count);
                        self.add(
                            rows,
                            (gradients, ALONG),
                            (along.head(query_rows, head), shape.queries),
                            steps,
                            key_out,
                        );
                        self.add(
                            rows,
                            (scores, ALONG),
                            (along.head(output_rows, head), shape.queries),
                            steps,
                            value_out,
                        );
                    }
                });
            });
        });
    }
}
