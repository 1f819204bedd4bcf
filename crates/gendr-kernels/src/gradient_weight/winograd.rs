//! The gradient of 3x3 weights in the domain of F(4x4, 3x3): dg = G^T [sum over tiles of (A dy A^T) . (B^T d B)] G.
//!
//! Each of the 36 sums is a matrix product over tiles. Some tiles at a time, all threads first transform the output gradient;
//! then each adds up the products of its own input channels.

use super::WeightGradient;
use crate::{
    gemm::{Block, LeftLayout},
    scratch::{SharedMut, with_scratch},
    simd::{Kernel, Simd},
    winograd::{F4, InputTransform, OutputGradientTransform, Run, Tiles, gradient_stage_len, matrix_stride},
};
use rayon::prelude::*;
use std::{marker::PhantomData, ops::Range};

/// Input channels that one job sums up, at most: their transformed tiles stay in the second-level cache.
const CHANNELS: usize = 32;
/// Tiles summed over at once: the sums go to memory and back for each such block.
const TILES: usize = 96;
/// Floats of transformed output gradient that all threads share.
const SHARED_GRADIENT: usize = 5 << 20;

/// Fewer than [`CHANNELS`] where not all threads would have some.
fn channels_each(in_channels: usize) -> usize {
    (in_channels / rayon::current_num_threads()).next_multiple_of(8).clamp(8, CHANNELS)
}

impl WeightGradient<'_> {
    pub(super) fn by_winograd(&self, weight_gradient: &mut [f32]) {
        let shape = self.shape;
        let lanes = self.level.lanes();
        let tiles = Tiles::new(shape, 4);
        let count = tiles.count();
        let size = TILES;
        // The output channels are columns of right matrices, the tiles their depth.
        let columns = shape.out_channels.next_multiple_of(lanes);
        let gradient_matrix = matrix_stride(columns, size);
        let block_len = 36 * gradient_matrix;
        let blocks = (SHARED_GRADIENT / block_len).clamp(1, count.div_ceil(size));
        let channels = channels_each(shape.in_channels);
        let sum_matrix = matrix_stride(columns, channels);
        let jobs = shape.in_channels.div_ceil(channels);
        let part = |job: usize| job * channels..((job + 1) * channels).min(shape.in_channels);
        let sums_len = jobs * 36 * sum_matrix;
        with_scratch(sums_len + blocks * block_len, |scratch| {
            let (sums, gradients) = scratch.split_at_mut(sums_len);
            for first_block in (0..count.div_ceil(size)).step_by(blocks) {
                let group: Vec<_> = (first_block..(first_block + blocks).min(count.div_ceil(size)))
                    .map(|block| {
                        let tiles_in = size.min(count - block * size);
                        (tiles.runs(block * size, tiles_in), tiles_in)
                    })
                    .collect();
                self.transform_gradient(&tiles, &group, gradients, block_len);
                let gradients = &*gradients;
                sums.par_chunks_exact_mut(36 * sum_matrix).enumerate().for_each(|(job, sums)| {
                    let accumulate = first_block > 0;
                    self.add_products(&tiles, &group, gradients, block_len, part(job), sums, accumulate);
                });
            }
            let plane = shape.out_channels * shape.in_channels * 9;
            assert_eq!(weight_gradient.len(), plane);
            let shared = SharedMut::new(weight_gradient);
            sums.par_chunks_exact(36 * sum_matrix).enumerate().for_each(|(job, sums)| {
                for (row, channel) in part(job).enumerate() {
                    let (in_channels, out_channels) = (shape.in_channels, shape.out_channels);
                    let from = &sums[row * columns..];
                    self.level.run(InverseWeights {
                        from,
                        matrix: sum_matrix,
                        channel,
                        in_channels,
                        out_channels,
                        to: shared,
                    });
                }
            });
        });
    }

    fn transform_gradient(
        &self,
        tiles: &Tiles,
        group: &[(Vec<Run>, usize)],
        gradients: &mut [f32],
        block_len: usize,
    ) {
        let lanes = self.level.lanes();
        let parts = self.shape.out_channels.div_ceil(lanes);
        let shared = SharedMut::new(gradients);
        (0..group.len() * parts).into_par_iter().for_each(|job| {
            let (block, part) = (job / parts, job % parts);
            let (runs, count) = &group[block];
            with_scratch(gradient_stage_len(self.level, count.next_multiple_of(lanes)), |stage| {
                self.level.run(OutputGradientTransform {
                    tiles,
                    runs,
                    count: *count,
                    output_gradient: self.output_gradient,
                    channel: part * lanes,
                    to: shared,
                    at: block * block_len,
                    matrix: block_len / 36,
                    stage,
                });
            });
        });
    }

    /// Adds the products of a group's tiles for some input channels.
    #[allow(clippy::too_many_arguments)]
    fn add_products(
        &self,
        tiles: &Tiles,
        group: &[(Vec<Run>, usize)],
        gradients: &[f32],
        block_len: usize,
        channels: Range<usize>,
        sums: &mut [f32],
        accumulate: bool,
    ) {
        let shape = self.shape;
        let lanes = self.level.lanes();
        let columns = shape.out_channels.next_multiple_of(lanes);
        let sum_matrix = sums.len() / 36;
        let matrix = matrix_stride(channels.len(), TILES);
        with_scratch(36 * matrix, |transformed| {
            for (block, (runs, count)) in group.iter().enumerate() {
                let padded = count.next_multiple_of(lanes);
                self.level.run(InputTransform::<F4, 6, 4> {
                    tiles,
                    runs,
                    padded,
                    input: self.input,
                    channels: channels.clone(),
                    to: SharedMut::new(transformed),
                    at: 0,
                    matrix,
                    depth: channels.len(),
                    first_channel: channels.start,
                    // One panel: the channels' rows are those of a left matrix.
                    panel: TILES,
                    kind: PhantomData,
                });
                for (k, sums) in sums.chunks_exact_mut(sum_matrix).enumerate() {
                    self.level.run(Block {
                        rows: channels.len(),
                        columns,
                        depth: *count,
                        left: transformed[k * matrix..].as_ptr(),
                        left_layout: LeftLayout::Plain { row: padded, step: 1 },
                        right: gradients[block * block_len + k * (block_len / 36)..].as_ptr(),
                        right_depth: *count,
                        right_from: 0,
                        out: sums.as_mut_ptr(),
                        out_stride: columns,
                        accumulate: accumulate || block > 0,
                    });
                }
            }
        });
    }
}

/// G^T u G of one input channel for all output channels.
struct InverseWeights<'a> {
    /// 36 matrices of one float an output channel, `matrix` apart.
    from: &'a [f32],
    matrix: usize,
    channel: usize,
    in_channels: usize,
    out_channels: usize,
    to: SharedMut<'a>,
}

impl Kernel for InverseWeights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // A row a position, sixteen of them so that they can be turned round, then a row a kernel.
        let (mut weights, mut kernels) = ([0.0; 16 * 16], [0.0; 16 * 16]);
        for first in (0..self.out_channels).step_by(S::LANES) {
            let from = &self.from[first..][..35 * self.matrix + S::LANES];
            let mut columns = [[s.zero(); 3]; 6];
            for (j, column) in columns.iter_mut().enumerate() {
                let mut u = [s.zero(); 6];
                for (i, u) in u.iter_mut().enumerate() {
                    // SAFETY: matrix `6 * i + j <= 35` of the slice just taken.
                    *u = unsafe { s.load(from.as_ptr().add((6 * i + j) * self.matrix)) };
                }
                *column = F4::filter_gradient(s, u);
            }
            for i in 0..3 {
                let mut u = [s.zero(); 6];
                for (u, column) in u.iter_mut().zip(&columns) {
                    *u = column[i];
                }
                let row = F4::filter_gradient(s, u);
                for (j, v) in row.into_iter().enumerate() {
                    // SAFETY: sixteen rows of 16 floats, at least a vector each.
                    unsafe { s.store(weights.as_mut_ptr().add((3 * i + j) * 16), v) };
                }
            }
            for position in (0..9).step_by(S::LANES) {
                // SAFETY: positions up to sixteen, of which a vector is in `weights` at `position`, and as many rows in `kernels`.
                unsafe {
                    let from = weights.as_ptr().add(position * 16);
                    s.transpose(from, 16, kernels.as_mut_ptr().add(position), 16);
                }
            }
            for lane in 0..S::LANES.min(self.out_channels - first) {
                let at = ((first + lane) * self.in_channels + self.channel) * 9;
                // SAFETY: this job alone writes this input channel's weights.
                let to = unsafe { self.to.part(at, 9) };
                to.copy_from_slice(&kernels[lane * 16..][..9]);
            }
        }
    }
}
