//! The gradient of the weights as a matrix product: pixels under each weight times the output gradient.

use super::WeightGradient;
use crate::{
    direct::{PIXELS, picture, read_strided},
    gemm::{Block, LeftLayout, View, right_len},
    matmul::pack_right,
    rearrange::TurnRound,
    scratch::{SharedMut, with_scratch},
    simd::{Kernel, Simd},
    winograd::PaddedRow,
};
use rayon::prelude::*;
use std::ops::Range;

/// Weights of one output channel that one job computes.
const ROWS: usize = 288;
/// Output channels that one job computes.
const COLUMNS: usize = 384;
/// Weights whose sums over all parts one job adds up.
const SUMMED_ROWS: usize = 48;
/// Parts that all pixels are cut into, at most.
const PARTS: usize = 16;
/// Floats that the parts' sums may take.
const PARTIAL_SUMS: usize = 8 << 20;

impl WeightGradient<'_> {
    pub(super) fn directly(&self, weight_gradient: &mut [f32]) {
        let shape = self.shape;
        let rows = shape.in_channels * shape.kernel * shape.kernel;
        let columns = shape.out_channels;
        let row_parts = rows.div_ceil(ROWS);
        let column_parts = columns.div_ceil(COLUMNS);
        let units = shape.batch * (shape.out_height() * shape.out_width()).div_ceil(PIXELS);
        let wanted = PARTS.div_ceil(row_parts * column_parts);
        let parts = wanted.min(units).min(PARTIAL_SUMS / (rows * columns)).max(1);
        with_scratch(parts * rows * columns, |sums| {
            let shared = SharedMut::new(sums);
            (0..parts * row_parts * column_parts).into_par_iter().for_each(|job| {
                let part = job / (row_parts * column_parts);
                let (row, column) = (job / column_parts % row_parts * ROWS, job % column_parts * COLUMNS);
                self.sum_part(
                    part * units / parts..(part + 1) * units / parts,
                    row..(row + ROWS).min(rows),
                    column..(column + COLUMNS).min(columns),
                    shared.address(part * rows * columns + row * columns + column),
                );
            });
            // The sums lie `[part][weight][output channel]`; those of all parts go to the first one.
            let (first, others) = sums.split_at_mut(rows * columns);
            assert_eq!(weight_gradient.len(), first.len());
            let to = SharedMut::new(weight_gradient);
            first.par_chunks_mut(SUMMED_ROWS * columns).enumerate().for_each(|(chunk, sums)| {
                let row = chunk * SUMMED_ROWS;
                for part in others.chunks_exact(rows * columns) {
                    let part = &part[row * columns..][..sums.len()];
                    sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                }
                let to = to.address(row);
                self.level.run(TurnRound { rows: sums, columns, to, to_stride: rows });
            });
        });
    }

    /// The sum over some blocks of pixels for some weights and output channels, to rows `out_channels` floats apart.
    fn sum_part(&self, units: Range<usize>, rows: Range<usize>, columns: Range<usize>, out: *mut f32) {
        let shape = self.shape;
        let pixels = shape.out_height() * shape.out_width();
        let blocks = pixels.div_ceil(PIXELS);
        let left_len = rows.len().next_multiple_of(8) * PIXELS;
        with_scratch(left_len + right_len(self.level, columns.len(), PIXELS), |scratch| {
            let (left, right) = scratch.split_at_mut(left_len);
            for unit in units.clone() {
                let (image, first) = (unit / blocks, unit % blocks * PIXELS);
                let depth = (pixels - first).min(PIXELS);
                self.pack_gradient(image, first, depth, columns.clone(), right);
                self.level.run(GatherRows {
                    shape: &shape,
                    picture: picture(&shape, self.input, image),
                    pixels: first..first + depth,
                    rows: rows.clone(),
                    to: left,
                });
                self.level.run(Block {
                    rows: rows.len(),
                    columns: columns.len(),
                    depth,
                    left: left.as_ptr(),
                    left_layout: LeftLayout::Plain { row: PIXELS, step: 1 },
                    right: right.as_ptr(),
                    right_depth: depth,
                    right_from: 0,
                    out,
                    out_stride: shape.out_channels,
                    accumulate: unit > units.start,
                });
            }
        });
    }

    /// Packs the gradient of some pixels with the output channels as columns.
    fn pack_gradient(
        &self,
        image: usize,
        first: usize,
        depth: usize,
        columns: Range<usize>,
        right: &mut [f32],
    ) {
        let pixels = self.shape.out_height() * self.shape.out_width();
        let picture = &self.output_gradient[image * self.shape.out_channels * pixels..]
            [..self.shape.out_channels * pixels];
        let view = View { data: &picture[first..], row_stride: 1, column_stride: pixels };
        pack_right(self.level, view, columns, depth, right);
    }
}

/// The pixels under some weights, one row of `PIXELS` floats a weight.
struct GatherRows<'a> {
    shape: &'a crate::conv_shape::ConvShape,
    picture: &'a [f32],
    /// Output pixels, numbered row by row.
    pixels: Range<usize>,
    rows: Range<usize>,
    to: &'a mut [f32],
}

impl Kernel for GatherRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let crate::conv_shape::ConvShape { kernel, stride, height, width, padding, .. } = *self.shape;
        let out_width = self.shape.out_width();
        for (row, to) in self.rows.zip(self.to.chunks_exact_mut(PIXELS)) {
            let (channel, i, j) = (row / (kernel * kernel), row / kernel % kernel, row % kernel);
            let plane = &self.picture[channel * height * width..][..height * width];
            let mut at = self.pixels.start;
            while at < self.pixels.end {
                let (y, x) = (at / out_width, at % out_width);
                let len = (out_width - x).min(self.pixels.end - at);
                let pixels =
                    PaddedRow::of_plane(plane, width, (y * stride + i) as isize - padding.top as isize);
                let x = (x * stride + j) as isize - padding.left as isize;
                let to = &mut to[at - self.pixels.start..][..len];
                // SAFETY: `to` has just been cut to `len` floats.
                unsafe {
                    if stride == 1 {
                        pixels.read(s, x, to.as_mut_ptr(), len);
                    } else {
                        read_strided(s, pixels, x, stride, to.as_mut_ptr(), len);
                    }
                }
                at += len;
            }
        }
    }
}
