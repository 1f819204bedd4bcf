//! The gradients of attention.
//!
//! Two passes compute the scores again: one by queries for their gradient, one by keys for the gradients of keys and values,
//! so that every sum has one owner and one order.

use super::{AttentionShape, KEYS, QUERIES, packed::Packed, softmax::ScoreGradients};
use crate::{
    gemm::{Block, LeftLayout},
    scratch::{SharedMut, with_scratch},
    simd::Level,
};
use rayon::prelude::*;

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
        known.by_queries(SharedMut::new(query_gradient));
        known.by_keys(SharedMut::new(key_gradient), SharedMut::new(value_gradient));
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
            out_stride: KEYS,
            accumulate: false,
        });
    }

    /// `out (+)= weights * right`, rows of `out` a token apart.
    fn add(
        &self,
        rows: usize,
        weights: &[f32],
        right: (&[f32], usize),
        steps: (usize, usize),
        out: *mut f32,
    ) {
        self.level.run(Block {
            rows,
            columns: self.shape.head_size,
            depth: steps.1,
            left: weights.as_ptr(),
            left_layout: LeftLayout::Plain { row: KEYS, step: 1 },
            right: right.0.as_ptr(),
            right_depth: right.1,
            right_from: steps.0,
            out,
            out_stride: self.shape.width(),
            accumulate: steps.0 > 0,
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
                with_scratch(2 * rows * KEYS, |scratch| {
                    let (scores, gradients) = scratch.split_at_mut(rows * KEYS);
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
                            gradients,
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
                with_scratch(2 * rows * KEYS, |scratch| {
                    let (scores, gradients) = scratch.split_at_mut(rows * KEYS);
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
                            gradients,
                            (along.head(query_rows, head), shape.queries),
                            steps,
                            key_out,
                        );
                        self.add(
                            rows,
                            scores,
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
