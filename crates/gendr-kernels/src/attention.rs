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
    gemm::{Block, DEPTH, LeftLayout},
    scratch::{SharedMut, with_scratch},
    simd::Level,
};
pub use backward::attention_backward;
use packed::Packed;
use rayon::prelude::*;
use softmax::{Finish, SoftmaxBlock};

/// Queries that one job holds.
const QUERIES: usize = 64;
/// Keys that go by at once: whole panels at every level.
const KEYS: usize = 192;
/// Floats from one row of a block of scores to the next: powers of two would fall on each other in the cache where columns are read.
const ROW: usize = KEYS + 16;

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
    let (across, along) = (Packed::across(level, shape, shape.keys), Packed::along(level, shape, shape.keys));
    let output = SharedMut::new(output);
    let logarithms = logarithms.map(SharedMut::new);
    with_scratch(across.len() + along.len(), |scratch| {
        let (keys, values) = scratch.split_at_mut(across.len());
        across.pack(key, keys);
        along.pack(value, values);
        let forward = Forward {
            level,
            shape,
            query,
            keys: (across, keys),
            values: (along, values),
            output,
            logarithms,
        };
        let blocks = shape.queries.div_ceil(QUERIES);
        (0..shape.batch * shape.heads * blocks).into_par_iter().for_each(|job| {
            forward.block(job / blocks, job % blocks * QUERIES);
        });
    });
}

struct Forward<'a> {
    level: Level,
    shape: &'a AttentionShape,
    query: &'a [f32],
    /// Keys as columns.
    keys: (Packed<'a>, &'a [f32]),
    /// Values as rows.
    values: (Packed<'a>, &'a [f32]),
    output: SharedMut<'a>,
    logarithms: Option<SharedMut<'a>>,
}

impl Forward<'_> {
    /// One block of queries of one head of one sequence, from query `first` on.
    fn block(&self, head: usize, first: usize) {
        let shape = self.shape;
        let rows = (shape.queries - first).min(QUERIES);
        let (size, width) = (shape.head_size, shape.width());
        let at = (head / shape.heads * shape.queries + first) * width + head % shape.heads * size;
        let (keys, values) = (self.keys.0.head(self.keys.1, head), self.values.0.head(self.values.1, head));
        with_scratch(rows * (ROW + size + 2), |scratch| {
            let (scores, scratch) = scratch.split_at_mut(rows * ROW);
            let (result, scratch) = scratch.split_at_mut(rows * size);
            let (greatest, sums) = scratch.split_at_mut(rows);
            greatest.fill(f32::NEG_INFINITY);
            sums.fill(0.0);
            for key in (0..shape.keys).step_by(KEYS) {
                let count = (shape.keys - key).min(KEYS);
                for step in (0..size).step_by(DEPTH) {
                    self.level.run(Block {
                        rows,
                        columns: count,
                        depth: (size - step).min(DEPTH),
                        left: self.query[at + step..].as_ptr(),
                        left_layout: LeftLayout::Plain { row: width, step: 1 },
                        right: keys[key * size..].as_ptr(),
                        right_depth: size,
                        right_from: step,
                        out: scores.as_mut_ptr(),
                        out_stride: ROW,
                        accumulate: step > 0,
                    });
                }
                self.level.run(SoftmaxBlock {
                    scores,
                    count,
                    scale: shape.scale(),
                    greatest,
                    sums,
                    result,
                    size,
                    first: key == 0,
                });
                self.level.run(Block {
                    rows,
                    columns: size,
                    depth: count,
                    left: scores.as_ptr(),
                    left_layout: LeftLayout::Plain { row: ROW, step: 1 },
                    right: values.as_ptr(),
                    right_depth: shape.keys,
                    right_from: key,
                    out: result.as_mut_ptr(),
                    out_stride: size,
                    accumulate: key > 0,
                });
            }
            for row in 0..rows {
                // SAFETY: this job alone writes these queries of this head.
                let to = unsafe { self.output.part(at + row * width, size) };
                self.level.run(Finish { from: &result[row * size..][..size], sum: sums[row], to });
            }
            if let Some(logarithms) = self.logarithms {
                // SAFETY: as above.
                let to = unsafe { logarithms.part(head * shape.queries + first, rows) };
                for ((to, greatest), sum) in to.iter_mut().zip(greatest).zip(sums) {
                    *to = *greatest + sum.ln();
                }
            }
        });
    }
}
