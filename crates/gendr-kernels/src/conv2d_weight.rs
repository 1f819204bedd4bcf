//! The gradient of a convolution's kernels, for stride 1.
//!
//! For each position of the kernel it is one matrix product over all pixels: shifted input times gradient of the output.
//! Both are laid out on the padded picture's rows, the gradient with zeros behind each row, so that neither is unrolled.

use crate::{
    conv_shape::ConvShape,
    gemm::{Block, DEPTH, LeftLayout, PackRightPanel, ROWS, View, right_len},
    scratch::{SharedMut, with_scratch},
    simd::Level,
};
use rayon::prelude::*;

/// Writes the gradients of `[out, in, k, k]` kernels.
pub(crate) fn weight_gradient(level: Level, shape: &ConvShape, input: &[f32], grad: &[f32], out: &mut [f32]) {
    let padded = PaddedSize::new(shape);
    let (input_len, grad_len) = (padded.input_len(shape), padded.grad_len(level, shape));
    with_scratch(input_len + grad_len, |scratch| {
        let (padded_input, packed_grad) = scratch.split_at_mut(input_len);
        pad_input(shape, &padded, input, padded_input);
        pack_grad(level, shape, &padded, grad, packed_grad);
        multiply(level, shape, &padded, padded_input, packed_grad, out);
    });
}

/// The padded picture.
struct PaddedSize {
    width: usize,
    /// Floats of one padded plane.
    plane: usize,
    /// Floats that one plane of the gradient takes on padded rows.
    depth: usize,
}

impl PaddedSize {
    fn new(shape: &ConvShape) -> Self {
        let padding = shape.padding;
        let width = shape.width + padding.left + padding.right;
        let plane = (shape.height + padding.top + padding.bottom) * width;
        Self { width, plane, depth: shape.out_height() * width - (shape.kernel - 1) }
    }

    /// With planes to spare, since rows are multiplied eight at a time.
    fn input_len(&self, shape: &ConvShape) -> usize {
        (shape.batch * shape.in_channels + ROWS) * self.plane
    }

    fn grad_len(&self, level: Level, shape: &ConvShape) -> usize {
        shape.batch * right_len(level, shape.out_channels, self.depth)
    }
}

fn pad_input(shape: &ConvShape, padded: &PaddedSize, input: &[f32], to: &mut [f32]) {
    let planes = shape.batch * shape.in_channels;
    let (whole, spare) = to.split_at_mut(planes * padded.plane);
    spare.fill(0.0);
    let source = input.par_chunks_exact(shape.height * shape.width);
    whole.par_chunks_exact_mut(padded.plane).zip(source).for_each(|(to, plane)| {
        to.fill(0.0);
        let rows = to.chunks_exact_mut(padded.width).skip(shape.padding.top);
        for (to, row) in rows.zip(plane.chunks_exact(shape.width)) {
            to[shape.padding.left..][..shape.width].copy_from_slice(row);
        }
    });
}

fn pack_grad(level: Level, shape: &ConvShape, padded: &PaddedSize, grad: &[f32], to: &mut [f32]) {
    let (height, width) = shape.output_size();
    let image = right_len(level, shape.out_channels, padded.depth);
    let panel = level.panel();
    let panels = shape.out_channels.div_ceil(panel);
    let to = SharedMut::new(to);
    (0..shape.batch * panels).into_par_iter().for_each(|job| {
        let (batch, first) = (job / panels, job % panels * panel);
        let columns = (shape.out_channels - first).min(panel);
        let packed_len = columns.next_multiple_of(level.lanes()) * padded.depth;
        // SAFETY: each job has a panel of its own.
        let to = unsafe { to.part(batch * image + first * padded.depth, packed_len) };
        with_scratch(columns * padded.depth, |spread| {
            spread.fill(0.0);
            for (c, plane) in spread.chunks_exact_mut(padded.depth).enumerate() {
                let from = ((batch * shape.out_channels) + first + c) * height * width;
                for (y, row) in grad[from..from + height * width].chunks_exact(width).enumerate() {
                    plane[y * padded.width..][..width].copy_from_slice(row);
                }
            }
            level.run(PackRightPanel {
                view: View { data: spread, row_stride: 1, column_stride: padded.depth },
                column: 0,
                columns,
                depth: padded.depth,
                panel: to,
            });
        });
    });
}

fn multiply(
    level: Level,
    shape: &ConvShape,
    padded: &PaddedSize,
    input: &[f32],
    grad: &[f32],
    out: &mut [f32],
) {
    let (taps, channels) = (shape.kernel * shape.kernel, shape.in_channels);
    let image = right_len(level, shape.out_channels, padded.depth);
    let parts = channels.div_ceil(ROWS);
    let stride = shape.out_channels.next_multiple_of(level.lanes());
    let out = SharedMut::new(out);
    (0..taps * parts).into_par_iter().for_each(|job| {
        let (tap, first) = (job % taps, job / taps * ROWS);
        let rows = (channels - first).min(ROWS);
        let shift = tap / shape.kernel * padded.width + tap % shape.kernel;
        with_scratch(rows * stride, |sums| {
            for batch in 0..shape.batch {
                for step in (0..padded.depth).step_by(DEPTH) {
                    level.run(Block {
                        rows,
                        columns: shape.out_channels,
                        depth: (padded.depth - step).min(DEPTH),
                        left: input[(batch * channels + first) * padded.plane + shift + step..].as_ptr(),
                        left_layout: LeftLayout::Rows(padded.plane),
                        right: grad[batch * image..].as_ptr(),
                        right_depth: padded.depth,
                        right_from: step,
                        out: sums.as_mut_ptr(),
                        out_stride: stride,
                        accumulate: batch + step > 0,
                    });
                }
            }
            for (row, sums) in sums.chunks_exact(stride).enumerate() {
                for (column, &sum) in sums[..shape.out_channels].iter().enumerate() {
                    let at = (column * channels + first + row) * taps + tap;
                    // SAFETY: each job has a channel range and a position of its own.
                    unsafe { out.address(at).write(sum) };
                }
            }
        });
    });
}
