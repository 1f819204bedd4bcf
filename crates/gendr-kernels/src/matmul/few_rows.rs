//! Linear layers of few tokens: their weights are the left matrix and multiplied where they lie, for packing them would take longer
//! than few tokens repay. Results, a column a token, are turned round.

use super::{Gate, Product, pack_right};
use crate::{
    gemm::{Block, DEPTH, LeftLayout, View},
    scratch::{SharedMut, with_scratch},
    simd::{Kernel, Simd, turn_round},
};
use rayon::prelude::*;
use std::ops::Range;

/// Tokens of such a layer, at most.
const TOKENS: usize = 256;
/// Output features that one job computes: their part of the weights stays in the second-level cache while all tokens go by.
const FEATURES: usize = 64;

/// Whether a product is a linear layer of few tokens.
pub(super) fn suits(product: &Product<'_>) -> bool {
    let &Product { rows, columns, left, right, .. } = product;
    let layer = left.column_stride == 1 && right.row_stride == 1 && right.column_stride == product.depth;
    layer && (1..=TOKENS).contains(&rows) && columns >= FEATURES
}

/// `output = layer`, or `layer * gelu(gate)`.
pub(super) fn run(layer: &Product<'_>, gate: Option<&Product<'_>>, output: &mut [f32]) {
    let &Product { level, rows, columns, depth, left, residual, .. } = layer;
    let (padded, panel) = (rows.next_multiple_of(level.lanes()), level.panel());
    let shared = SharedMut::new(output);
    with_scratch(padded * depth, |tokens| {
        tokens.par_chunks_mut(panel * depth).enumerate().for_each(|(index, to)| {
            let view = View { row_stride: 1, column_stride: left.row_stride, ..left };
            pack_right(level, view, index * panel..((index + 1) * panel).min(rows), depth, to);
        });
        let tokens = &*tokens;
        (0..columns.div_ceil(FEATURES)).into_par_iter().for_each(|job| {
            let features = job * FEATURES..((job + 1) * FEATURES).min(columns);
            let len = features.len() * padded;
            with_scratch(if gate.is_some() { 3 * len } else { len }, |scratch| {
                let (sums, scratch) = scratch.split_at_mut(len);
                crosswise(layer, tokens, features.clone(), sums);
                let mut sums = sums;
                if let Some(gate) = gate {
                    let (gate_sums, gated) = scratch.split_at_mut(len);
                    crosswise(gate, tokens, features.clone(), gate_sums);
                    level.run(Gate { value: sums, gate: gate_sums, to: gated });
                    sums = gated;
                }
                let out = shared.address(features.start);
                shared.address((rows - 1) * columns + features.end);
                level.run(Turn { sums, padded, rows, features, residual, out, columns });
            });
        });
    });
}

/// Some features of all tokens, a row a feature.
fn crosswise(layer: &Product<'_>, tokens: &[f32], features: Range<usize>, sums: &mut [f32]) {
    let &Product { level, factors, depth, right, bias, .. } = layer;
    let padded = sums.len() / features.len();
    if let Some(bias) = bias {
        sums.chunks_exact_mut(padded).zip(&bias[features.clone()]).for_each(|(row, &bias)| row.fill(bias));
    }
    for step in (0..depth).step_by(DEPTH) {
        let block = Block {
            rows: features.len(),
            columns: padded,
            depth: (depth - step).min(DEPTH),
            left: right.data[features.start * depth + step..].as_ptr(),
            left_layout: LeftLayout::Plain { row: depth, step: 1 },
            right: tokens.as_ptr(),
            right_depth: depth,
            right_from: step,
            out: sums.as_mut_ptr(),
            out_stride: padded,
            accumulate: step > 0 || bias.is_some(),
        };
        factors.multiply(level, block);
    }
}

/// Writes some features, a row each, as columns of the output, and adds what is to be added.
struct Turn<'a> {
    /// Rows of `padded` floats.
    sums: &'a [f32],
    padded: usize,
    rows: usize,
    features: Range<usize>,
    residual: Option<&'a [f32]>,
    /// `rows` rows of the features, `columns` floats apart; written by this thread alone.
    out: *mut f32,
    columns: usize,
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, padded, rows, features, residual, out, columns } = self;
        // SAFETY: this kernel's contract.
        unsafe { turn_round(s, sums, padded, [features.len(), rows], out, columns) };
        let Some(residual) = residual else { return };
        for row in 0..rows {
            // SAFETY: the row that was just written.
            let to = unsafe { std::slice::from_raw_parts_mut(out.add(row * columns), features.len()) };
            let from = &residual[row * columns..][features.clone()];
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}
