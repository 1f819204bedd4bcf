//! 3x3 convolution of stride 1 or 2 by Winograd's minimal filtering.
//!
//! A tile of 4x4 outputs (F(4x4, 3x3)) takes 36 multiplications a channel pair instead of 144, a tile of 2x2 (F(2x2, 3x3)) 16
//! instead of 36, or 25 where the stride is 2. The transformed values of a block of tiles make as many ordinary matrix products.
//!
//! Rounding: with N(0, 1) inputs and He-scaled weights the error against exact arithmetic stays below 4e-6 rms and 6e-5 at most
//! for F(4x4), below 1e-6 rms and 1e-5 at most for tiles of 2x2, in units of the output's rms (tested in `conv2d/tests.rs`).

mod gradient;
mod pictures;
mod tiles;
mod transform;
mod weights;

use crate::{
    activation::Finish,
    conv_shape::ConvShape,
    filters::Filters,
    gemm::{Block, DEPTH, LeftLayout, ROWS, left_len, packed_place},
    scratch::{SharedMut, with_scratch},
    simd::Level,
};
pub(crate) use gradient::{OutputGradientTransform, gradient_stage_len};
use pictures::OutputTransform;
pub(crate) use pictures::{InputTransform, matrix_stride};
use rayon::prelude::*;
use std::marker::PhantomData;
pub(crate) use tiles::{PaddedRow, Run, Tiles};
use transform::{F2, F2Strided};
pub(crate) use transform::{F4, Transform};
use weights::WeightTransform;

/// Which minimal filtering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// F(2x2, 3x3).
    F2,
    /// 2x2 outputs of stride 2.
    F2Strided,
    /// F(4x4, 3x3).
    F4,
}

/// One convolution 3x3 of the method's stride.
#[derive(Clone, Copy)]
pub(crate) struct Winograd<'a> {
    pub(crate) level: Level,
    pub(crate) shape: ConvShape,
    pub(crate) input: &'a [f32],
    pub(crate) filters: Filters<'a>,
    pub(crate) finish: Finish<'a>,
}

/// Transformed kernels up to this many floats are made once and kept for all tiles; larger ones are made where they are used.
const RESIDENT_WEIGHTS: usize = 3 << 20;
/// Floats of kept kernels that a tile repays: each block of tiles reads them all.
const WEIGHTS_A_TILE: usize = 1 << 14;
/// Floats of transformed input up to which one thread's block of tiles is two panels wide instead of one.
const BLOCK_INPUT: usize = 150_000;
/// Floats of transformed input that all threads share while they make transformed kernels.
const SHARED_INPUT: usize = 5 << 20;
/// Output channels multiplied before they are transformed back.
const CHUNK: usize = 64;

/// How many output channels, and how many input channels of them at once, a job makes transformed kernels of. Kernels that few
/// blocks of tiles use must not leave the second-level cache; more blocks repay larger parts.
fn part_of_kernels(out_channels: usize, blocks: usize) -> (usize, usize) {
    let threads = rayon::current_num_threads();
    let longest = |rows: usize| out_channels.div_ceil(rows).div_ceil(threads) * rows;
    let most = if blocks > 2 { 8 } else { 2 };
    // Of the widest that let all threads finish together.
    let rows = (1..=most).rev().map(|panels| panels * ROWS).min_by_key(|&rows| longest(rows));
    (rows.unwrap_or(ROWS), if blocks > 5 { 512 } else { 128 })
}

impl Winograd<'_> {
    pub(crate) fn run(&self, method: Method, output: &mut [f32]) {
        match method {
            Method::F2 => self.run_as::<F2, 4, 2>(output),
            Method::F2Strided => self.run_as::<F2Strided, 5, 2>(output),
            Method::F4 => self.run_as::<F4, 6, 4>(output),
        }
    }

    fn run_as<T: Transform<I, O>, const I: usize, const O: usize>(&self, output: &mut [f32]) {
        let tiles = Tiles::new(self.shape, O);
        let weights = I * I * left_len(self.shape.out_channels, self.shape.in_channels);
        if weights <= RESIDENT_WEIGHTS.min(tiles.count() * WEIGHTS_A_TILE)
            && tiles.count() > 3 * self.level.lanes()
        {
            self.by_tiles::<T, I, O>(&tiles, SharedMut::new(output));
        } else {
            self.by_channels::<T, I, O>(&tiles, SharedMut::new(output));
        }
    }

    /// All transformed kernels first, then block after block of tiles, each in one thread's cache.
    fn by_tiles<T: Transform<I, O>, const I: usize, const O: usize>(
        &self,
        tiles: &Tiles,
        output: SharedMut<'_>,
    ) {
        let ConvShape { in_channels, out_channels, .. } = self.shape;
        let lanes = self.level.lanes();
        let count = tiles.count();
        let panel = self.level.panel();
        let fitting = if 2 * panel * I * I * in_channels <= BLOCK_INPUT { 2 * panel } else { panel };
        let size = fitting.min(count.div_ceil(8).next_multiple_of(lanes));
        let weight_matrix = left_len(out_channels, in_channels) + 16;
        with_scratch(I * I * weight_matrix, |weights| {
            let shared = SharedMut::new(weights);
            (0..out_channels.div_ceil(ROWS)).into_par_iter().for_each(|panel| {
                self.level.run(WeightTransform::<T, I, O> {
                    filters: self.filters,
                    channel: panel * ROWS,
                    in_channels: 0..in_channels,
                    to: shared,
                    at: panel * ROWS * in_channels,
                    matrix: weight_matrix,
                    kind: PhantomData,
                });
            });
            let weights = &*weights;
            (0..count.div_ceil(size)).into_par_iter().for_each(|block| {
                let first = block * size;
                let runs = tiles.runs(first, size.min(count - first));
                let padded = size.min(count - first).next_multiple_of(lanes);
                let matrix = matrix_stride(in_channels, padded);
                let products = I * I * matrix_stride(CHUNK, padded);
                with_scratch(I * I * matrix + products, |scratch| {
                    let (transformed, products) = scratch.split_at_mut(I * I * matrix);
                    self.transform_input::<T, I, O>(
                        tiles,
                        &runs,
                        padded,
                        0..in_channels,
                        SharedMut::new(transformed),
                        0,
                    );
                    for channel in (0..out_channels).step_by(CHUNK) {
                        let rows = (out_channels - channel).min(CHUNK);
                        let weights = &weights[channel * in_channels..];
                        self.multiply::<I>(transformed, padded, weights, weight_matrix, rows, products);
                        self.transform_output::<T, I, O>(
                            tiles, &runs, padded, products, channel, rows, output,
                        );
                    }
                });
            });
        });
    }

    /// A large group of tiles at a time: their transformed input is shared by all threads, each of which makes the
    /// transformed kernels of some output channels and uses them at once.
    fn by_channels<T: Transform<I, O>, const I: usize, const O: usize>(
        &self,
        tiles: &Tiles,
        output: SharedMut<'_>,
    ) {
        let ConvShape { in_channels, .. } = self.shape;
        let lanes = self.level.lanes();
        let count = tiles.count();
        let size = (3 * lanes).min(count.next_multiple_of(lanes));
        let block_len = I * I * matrix_stride(in_channels, size);
        let blocks = (SHARED_INPUT / block_len).clamp(1, count.div_ceil(size));
        with_scratch(blocks * block_len, |transformed| {
            for group in (0..count.div_ceil(size)).step_by(blocks) {
                let group: Vec<_> = (group..(group + blocks).min(count.div_ceil(size)))
                    .map(|block| {
                        let tiles_in = size.min(count - block * size);
                        (tiles.runs(block * size, tiles_in), tiles_in.next_multiple_of(lanes))
                    })
                    .collect();
                let shared = SharedMut::new(transformed);
                let parts = in_channels.div_ceil(16);
                (0..group.len() * parts).into_par_iter().for_each(|job| {
                    let (block, part) = (job / parts, job % parts);
                    let (runs, padded) = &group[block];
                    let channels = part * 16..(part * 16 + 16).min(in_channels);
                    self.transform_input::<T, I, O>(
                        tiles,
                        runs,
                        *padded,
                        channels,
                        shared,
                        block * block_len,
                    );
                });
                self.group_outputs::<T, I, O>(tiles, &group, transformed, block_len, output);
            }
        });
    }

    /// The second half of [`Self::by_channels`]: kernels, products and outputs, some output channels a job.
    ///
    /// A job's part of one transformed kernel matrix stays in the second-level cache while all blocks of the group go by.
    fn group_outputs<T: Transform<I, O>, const I: usize, const O: usize>(
        &self,
        tiles: &Tiles,
        group: &[(Vec<Run>, usize)],
        transformed: &[f32],
        block_len: usize,
        output: SharedMut<'_>,
    ) {
        let ConvShape { in_channels, out_channels, .. } = self.shape;
        let (most, deepest) = part_of_kernels(out_channels, group.len());
        let weight_matrix = most * deepest.min(in_channels) + 16;
        let widest = group.iter().map(|block| block.1).max().unwrap_or(0);
        let product = matrix_stride(most, widest);
        (0..out_channels.div_ceil(most)).into_par_iter().for_each(|part| {
            let (channel, rows) = (part * most, (out_channels - part * most).min(most));
            with_scratch(I * I * (weight_matrix + group.len() * product), |scratch| {
                let (weights, products) = scratch.split_at_mut(I * I * weight_matrix);
                for first in (0..in_channels).step_by(deepest) {
                    let channels = first..(first + deepest).min(in_channels);
                    let depth = channels.len();
                    for panel in (0..rows).step_by(ROWS) {
                        self.level.run(WeightTransform::<T, I, O> {
                            filters: self.filters,
                            channel: channel + panel,
                            in_channels: channels.clone(),
                            to: SharedMut::new(weights),
                            at: panel * depth,
                            matrix: weight_matrix,
                            kind: PhantomData,
                        });
                    }
                    for k in 0..I * I {
                        let left = &weights[k * weight_matrix..][..left_len(rows, depth)];
                        for (block, (_, padded)) in group.iter().enumerate() {
                            for step in (0..depth).step_by(DEPTH) {
                                let right = block * block_len + k * matrix_stride(in_channels, *padded);
                                self.level.run(Block {
                                    rows,
                                    columns: *padded,
                                    depth: (depth - step).min(DEPTH),
                                    left: left[packed_place(0, step, depth)..].as_ptr(),
                                    left_layout: LeftLayout::Packed(depth),
                                    right: transformed[right..][..in_channels * padded].as_ptr(),
                                    right_depth: in_channels,
                                    right_from: first + step,
                                    out: products[(block * I * I + k) * product..][..rows * padded]
                                        .as_mut_ptr(),
                                    out_stride: *padded,
                                    accumulate: first + step > 0,
                                });
                            }
                        }
                    }
                }
                for ((runs, padded), products) in group.iter().zip(products.chunks_exact(I * I * product)) {
                    self.transform_output::<T, I, O>(tiles, runs, *padded, products, channel, rows, output);
                }
            });
        });
    }

    #[allow(clippy::too_many_arguments)]
    fn transform_input<T: Transform<I, O>, const I: usize, const O: usize>(
        &self,
        tiles: &Tiles,
        runs: &[Run],
        padded: usize,
        channels: std::ops::Range<usize>,
        to: SharedMut<'_>,
        at: usize,
    ) {
        let depth = self.shape.in_channels;
        self.level.run(InputTransform::<T, I, O> {
            tiles,
            runs,
            padded,
            input: self.input,
            channels,
            to,
            at,
            matrix: matrix_stride(depth, padded),
            depth,
            first_channel: 0,
            panel: self.level.panel(),
            kind: PhantomData,
        });
    }

    /// The `I * I` products of one block of tiles and some output channels.
    #[allow(clippy::too_many_arguments)]
    fn multiply<const I: usize>(
        &self,
        transformed: &[f32],
        padded: usize,
        weights: &[f32],
        weight_matrix: usize,
        rows: usize,
        products: &mut [f32],
    ) {
        let depth = self.shape.in_channels;
        let matrix = matrix_stride(depth, padded);
        let product = products.len() / (I * I);
        for (k, products) in products.chunks_exact_mut(product).enumerate() {
            let right = &transformed[k * matrix..][..depth * padded];
            let left = &weights[k * weight_matrix..][..left_len(rows, depth)];
            for step in (0..depth).step_by(DEPTH) {
                self.level.run(Block {
                    rows,
                    columns: padded,
                    depth: (depth - step).min(DEPTH),
                    left: left[packed_place(0, step, depth)..].as_ptr(),
                    left_layout: LeftLayout::Packed(depth),
                    right: right.as_ptr(),
                    right_depth: depth,
                    right_from: step,
                    out: products.as_mut_ptr(),
                    out_stride: padded,
                    accumulate: step > 0,
                });
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn transform_output<T: Transform<I, O>, const I: usize, const O: usize>(
        &self,
        tiles: &Tiles,
        runs: &[Run],
        padded: usize,
        from: &[f32],
        channel: usize,
        rows: usize,
        output: SharedMut<'_>,
    ) {
        self.level.run(OutputTransform::<T, I, O> {
            tiles,
            runs,
            padded,
            from,
            matrix: from.len() / (I * I),
            channel,
            rows,
            finish: &self.finish,
            output,
            kind: PhantomData,
        });
    }
}
