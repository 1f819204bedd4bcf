//! The gradient of a convolution's input where it is no convolution itself: strides above one.

use crate::{
    conv_shape::ConvShape,
    direct::PIXELS,
    gemm::{Block, DEPTH, LeftLayout, ROWS, View, left_len, pack_left, packed_place, right_len},
    matmul::pack_right,
    scratch::with_scratch,
    simd::Level,
};
use rayon::prelude::*;

/// Input channels that one job computes.
const CHANNELS: usize = 16;

/// Multiplies the transposed weights with the output gradient and adds each product to the pixel it came from.
pub(crate) fn scatter(
    level: Level,
    shape: &ConvShape,
    output_gradient: &[f32],
    weight: &[f32],
    input_gradient: &mut [f32],
) {
    let area = shape.kernel * shape.kernel;
    let plane = shape.height * shape.width;
    let parts = shape.in_channels.div_ceil(CHANNELS);
    let rows = CHANNELS * area;
    let left_part = left_len(rows, shape.out_channels);
    with_scratch(parts * left_part, |left| {
        left.par_chunks_exact_mut(left_part).enumerate().for_each(|(part, to)| {
            let rows = (shape.in_channels - part * CHANNELS).min(CHANNELS) * area;
            let view = View { data: weight, row_stride: 1, column_stride: shape.in_channels * area };
            for (panel, to) in to.chunks_exact_mut(ROWS * shape.out_channels).enumerate() {
                let rows = rows.saturating_sub(panel * ROWS);
                if rows > 0 {
                    pack_left(
                        level,
                        view,
                        part * CHANNELS * area + panel * ROWS,
                        rows,
                        shape.out_channels,
                        to,
                    );
                }
            }
        });
        let left = &*left;
        // Whole parts of each picture: a chunk never reaches into the next picture.
        let pictures = input_gradient.par_chunks_mut(shape.in_channels * plane).enumerate();
        pictures.for_each(|(image, picture)| {
            picture.par_chunks_mut(CHANNELS * plane).enumerate().for_each(|(part, planes)| {
                let job = Part { level, shape, output_gradient, image };
                job.run(&left[part * left_part..][..left_part], planes);
            });
        });
    });
}

/// The gradient of some input channels of one picture.
struct Part<'a> {
    level: Level,
    shape: &'a ConvShape,
    output_gradient: &'a [f32],
    image: usize,
}

impl Part<'_> {
    fn run(&self, left: &[f32], planes: &mut [f32]) {
        let shape = self.shape;
        let plane = shape.height * shape.width;
        let rows = planes.len() / plane * shape.kernel * shape.kernel;
        let pixels = shape.out_height() * shape.out_width();
        let depth = shape.out_channels;
        let gradient = &self.output_gradient[self.image * depth * pixels..][..depth * pixels];
        planes.fill(0.0);
        with_scratch(right_len(self.level, PIXELS, depth) + rows * PIXELS, |scratch| {
            let (products, right) = scratch.split_at_mut(rows * PIXELS);
            for first in (0..pixels).step_by(PIXELS) {
                let columns = (pixels - first).min(PIXELS);
                let view = View { data: gradient, row_stride: pixels, column_stride: 1 };
                pack_right(self.level, view, first..first + columns, depth, right);
                for step in (0..depth).step_by(DEPTH) {
                    self.level.run(Block {
                        rows,
                        columns,
                        depth: (depth - step).min(DEPTH),
                        left: left[packed_place(0, step, depth)..].as_ptr(),
                        left_layout: LeftLayout::Packed(depth),
                        right: right.as_ptr(),
                        right_depth: depth,
                        right_from: step,
                        out: products.as_mut_ptr(),
                        out_stride: PIXELS,
                        accumulate: step > 0,
                    });
                }
                self.add(&products[..rows * PIXELS], first, columns, planes);
            }
        });
    }

    /// Adds the products of output pixels `first..first + columns` to the input pixels under the kernel.
    fn add(&self, products: &[f32], first: usize, columns: usize, planes: &mut [f32]) {
        let ConvShape { kernel, stride, height, width, padding, .. } = *self.shape;
        let out_width = self.shape.out_width();
        for (row, products) in products.chunks_exact(PIXELS).enumerate() {
            let (channel, i, j) = (row / (kernel * kernel), row / kernel % kernel, row % kernel);
            let plane = &mut planes[channel * height * width..][..height * width];
            let mut at = 0;
            while at < columns {
                let (y, x) = ((first + at) / out_width, (first + at) % out_width);
                let len = (out_width - x).min(columns - at);
                if let Some(y) = (y * stride + i).checked_sub(padding.top).filter(|&y| y < height) {
                    let line = &mut plane[y * width..][..width];
                    for (product, x) in products[at..at + len].iter().zip(x..) {
                        if let Some(to) =
                            (x * stride + j).checked_sub(padding.left).and_then(|x| line.get_mut(x))
                        {
                            *to += product;
                        }
                    }
                }
                at += len;
            }
        }
    }
}
