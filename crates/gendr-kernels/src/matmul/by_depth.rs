//! Products of long sums and few results, such as the gradients of a linear layer's weights: shared out by the sum's terms.

use super::{Product, pack_right};
use crate::{
    gemm::{Block, DEPTH, LeftLayout, ROWS, View, left_len, pack_left, right_len},
    scratch::{SharedMut, with_scratch},
};
use rayon::prelude::*;
use std::ops::Range;

/// Terms of a part, at least.
const TERMS: usize = 512;
/// Parts, at most; their number does not depend on the threads, so that the sum does not.
const PARTS: usize = 16;
/// Result rows that go by at once: what is packed of them stays in the second-level cache.
const STRIP: usize = 128;
/// Floats that all parts' sums may take.
const PARTIAL_SUMS: usize = 4 << 20;

/// How many parts the terms of such a product are worth.
pub(super) fn parts(product: &Product<'_>) -> usize {
    let crosswise = product.left.column_stride != 1 && product.right.column_stride == 1;
    let added = product.bias.is_some() || product.residual.is_some();
    if !crosswise || added {
        return 1;
    }
    (product.depth / TERMS).min(PARTS).min(PARTIAL_SUMS / (product.rows * product.columns).max(1))
}

/// The product as the sum of `parts` products.
pub(super) fn run(product: &Product<'_>, parts: usize, output: &mut [f32]) {
    let (len, depth) = (product.rows * product.columns, product.depth);
    with_scratch(parts * len, |sums| {
        let shared = SharedMut::new(sums);
        (0..parts).into_par_iter().for_each(|part| {
            // SAFETY: each part has its own sums.
            let out = unsafe { shared.part(part * len, len) };
            add_terms(product, part * depth / parts..(part + 1) * depth / parts, out);
        });
        let sums = &*sums;
        output.par_chunks_mut(1 << 12).enumerate().for_each(|(chunk, to)| {
            let from = chunk << 12;
            to.copy_from_slice(&sums[from..][..to.len()]);
            for part in 1..parts {
                let sums = &sums[part * len + from..][..to.len()];
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
            }
        });
    });
}

/// The sum of some terms; both matrices are packed as the cache takes them.
fn add_terms(product: &Product<'_>, terms: Range<usize>, out: &mut [f32]) {
    let &Product { level, rows, columns, left, right, .. } = product;
    let most = terms.len().min(DEPTH);
    let left_len = left_len(rows.min(STRIP), most);
    with_scratch(left_len + right_len(level, columns, most), |scratch| {
        let (packed_left, packed_right) = scratch.split_at_mut(left_len);
        for term in terms.clone().step_by(DEPTH) {
            let depth = (terms.end - term).min(DEPTH);
            let left = View { data: &left.data[term * left.column_stride..], ..left };
            let right = View { data: &right.data[term * right.row_stride..], ..right };
            pack_right(level, right, 0..columns, depth, packed_right);
            for (strip, out) in out.chunks_mut(STRIP * columns).enumerate() {
                let (first, rows) = (strip * STRIP, out.len() / columns);
                for (panel, to) in
                    packed_left.chunks_exact_mut(ROWS * depth).enumerate().take(rows.div_ceil(ROWS))
                {
                    pack_left(level, left, first + panel * ROWS, rows - panel * ROWS, depth, to);
                }
                level.run(Block {
                    rows,
                    columns,
                    depth,
                    left: packed_left.as_ptr(),
                    left_layout: LeftLayout::Packed(depth),
                    right: packed_right.as_ptr(),
                    right_depth: depth,
                    right_from: 0,
                    out: out.as_mut_ptr(),
                    out_stride: columns,
                    accumulate: term > terms.start,
                });
            }
        }
    });
}
