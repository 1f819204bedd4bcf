//! Tokens of all heads, packed as right matrices.

use super::AttentionShape;
use crate::{
    gemm::{View, right_len},
    matmul::pack_right,
    simd::Level,
};
use rayon::prelude::*;

/// How the tokens of each head are packed.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    level: Level,
    shape: &'a AttentionShape,
    tokens: usize,
    /// Tokens are columns (each product sums over a head's floats) or rows (each product sums over tokens).
    across: bool,
}

impl<'a> Packed<'a> {
    /// One column a token, a head's floats deep.
    pub(super) fn across(level: Level, shape: &'a AttentionShape, tokens: usize) -> Self {
        Self { level, shape, tokens, across: true }
    }

    /// One column a float of a head, as deep as there are tokens.
    pub(super) fn along(level: Level, shape: &'a AttentionShape, tokens: usize) -> Self {
        Self { level, shape, tokens, across: false }
    }

    fn columns_and_depth(&self) -> (usize, usize) {
        if self.across { (self.tokens, self.shape.head_size) } else { (self.shape.head_size, self.tokens) }
    }

    fn head_len(&self) -> usize {
        let (columns, depth) = self.columns_and_depth();
        right_len(self.level, columns, depth)
    }

    /// Floats of all heads of all sequences.
    pub(super) fn len(&self) -> usize {
        self.shape.batch * self.shape.heads * self.head_len()
    }

    /// One head of one sequence, `head` counted through all of them.
    pub(super) fn head<'p>(&self, packed: &'p [f32], head: usize) -> &'p [f32] {
        &packed[head * self.head_len()..][..self.head_len()]
    }

    /// Packs `[batch, tokens, heads * head_size]`.
    pub(super) fn pack(&self, from: &[f32], to: &mut [f32]) {
        let shape = self.shape;
        let (columns, depth) = self.columns_and_depth();
        to.par_chunks_exact_mut(self.head_len()).enumerate().for_each(|(head, to)| {
            let width = shape.width();
            let (row_stride, column_stride) = if self.across { (1, width) } else { (width, 1) };
            let view = View { data: &from[shape.at(head, self.tokens, 0)..], row_stride, column_stride };
            pack_right(self.level, view, 0..columns, depth, to);
        });
    }
}
