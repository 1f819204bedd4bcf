//! Convolution of any kernel and stride as a matrix product: weights times the pixels under each weight.
//!
//! The pixels are gathered block by block into the packed right matrix; no picture-sized copy is made.

use crate::{
    activation::{Epilogue, Finish},
    conv_shape::ConvShape,
    filters::Filters,
    gemm::{Block, DEPTH, LeftLayout, ROWS, left_len, packed_place, right_len},
    scratch::{SharedMut, with_scratch},
    simd::{Kernel, Level, Simd, clear},
    winograd::PaddedRow,
};
use rayon::prelude::*;
use std::ops::Range;

/// Output pixels that one job multiplies at once.
pub(crate) const PIXELS: usize = 192;

/// One convolution.
#[derive(Clone, Copy)]
pub(crate) struct Direct<'a> {
    pub(crate) level: Level,
    pub(crate) shape: ConvShape,
    pub(crate) input: &'a [f32],
    pub(crate) filters: Filters<'a>,
    pub(crate) finish: Finish<'a>,
}

impl Direct<'_> {
    pub(crate) fn run(&self, output: &mut [f32]) {
        let shape = self.shape;
        let depth = shape.in_channels * shape.kernel * shape.kernel;
        // Stored kernels are the rows of a left matrix as they are.
        let packed_len = if self.filters.turned { left_len(shape.out_channels, depth) } else { 0 };
        with_scratch(packed_len, |packed| {
            packed.par_chunks_exact_mut(ROWS * depth).enumerate().for_each(|(panel, to)| {
                pack_filters(self.filters, panel * ROWS, to);
            });
            self.multiply(packed, SharedMut::new(output));
        });
    }

    fn multiply(&self, packed: &[f32], output: SharedMut<'_>) {
        let shape = self.shape;
        let (height, width) = shape.output_size();
        let pixels = height * width;
        let blocks = pixels.div_ceil(PIXELS);
        // Few pixels: the output channels are shared out too.
        let wanted = 16usize.div_ceil(shape.batch * blocks);
        let rows = shape.out_channels.div_ceil(wanted).next_multiple_of(ROWS).max(4 * ROWS);
        let parts = shape.out_channels.div_ceil(rows);
        (0..shape.batch * blocks * parts).into_par_iter().for_each(|job| {
            let (image, block, part) = (job / (blocks * parts), job / parts % blocks, job % parts);
            let pixels = block * PIXELS..((block + 1) * PIXELS).min(pixels);
            let channels = part * rows..((part + 1) * rows).min(shape.out_channels);
            self.multiply_block(packed, image, pixels, channels, output);
        });
    }

    fn multiply_block(
        &self,
        packed: &[f32],
        image: usize,
        pixels: Range<usize>,
        channels: Range<usize>,
        output: SharedMut<'_>,
    ) {
        let shape = self.shape;
        let (height, width) = shape.output_size();
        let depth = shape.in_channels * shape.kernel * shape.kernel;
        let columns = pixels.len();
        let at = (image * shape.out_channels + channels.start) * height * width + pixels.start;
        let out = output.address(at);
        let last = at + (channels.len() - 1) * height * width + columns;
        output.address(last);
        let segments = segments(self.level.panel(), pixels, width);
        with_scratch(right_len(self.level, columns, depth.min(DEPTH)), |right| {
            for step in (0..depth).step_by(DEPTH) {
                let steps = step..(step + DEPTH).min(depth);
                self.level.run(GatherColumns {
                    shape: &shape,
                    picture: picture(&shape, self.input, image),
                    segments: &segments,
                    columns,
                    steps: steps.clone(),
                    to: right,
                });
                let (left, left_layout) = if packed.is_empty() {
                    let rows = &self.filters.data[channels.start * depth + step..];
                    (rows, LeftLayout::Plain { row: depth, step: 1 })
                } else {
                    let panels = &packed[packed_place(channels.start, step, depth)..];
                    (panels, LeftLayout::Packed(depth))
                };
                self.level.run(Block {
                    rows: channels.len(),
                    columns,
                    depth: steps.len(),
                    left: left.as_ptr(),
                    left_layout,
                    right: right.as_ptr(),
                    right_depth: steps.len(),
                    right_from: 0,
                    out,
                    out_stride: height * width,
                    accumulate: step > 0,
                });
            }
        });
        for (channel, at) in channels.zip((at..).step_by(height * width)) {
            // SAFETY: this job alone writes these pixels of this channel.
            let row = unsafe { output.part(at, columns) };
            let (epilogue, residual) = (self.finish.epilogue(channel), self.finish.residual(at, columns));
            self.level.run(EpilogueRow { epilogue, residual, row });
        }
    }
}

/// One picture's channels.
pub(crate) fn picture<'a>(shape: &ConvShape, input: &'a [f32], image: usize) -> &'a [f32] {
    let len = shape.input_len() / shape.batch;
    &input[image * len..][..len]
}

/// Packs the kernels of one panel of output channels, turned round.
fn pack_filters(filters: Filters<'_>, channel: usize, to: &mut [f32]) {
    let rows = (filters.out_channels - channel).min(ROWS);
    let area = filters.area();
    let depth = filters.in_channels * area;
    to.fill(0.0);
    for from in 0..filters.in_channels {
        let kernels = &filters.data[channel * filters.out_stride() + from * filters.in_stride()..];
        for (kernel, position) in
            (0..rows).flat_map(|kernel| (0..area).map(move |position| (kernel, position)))
        {
            to[packed_place(kernel, from * area + position, depth)] =
                kernels[kernel * area + area - 1 - position];
        }
    }
}

/// Consecutive pixels of one output row, inside one packed panel.
pub(crate) struct Segment {
    /// First column of the panel, column inside the panel.
    panel: usize,
    lane: usize,
    /// Output row and column.
    y: usize,
    x: usize,
    len: usize,
}

/// Cuts a range of output pixels, numbered row by row, at row ends and at multiples of `panel`.
pub(crate) fn segments(panel: usize, pixels: Range<usize>, width: usize) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut at = pixels.start;
    while at < pixels.end {
        let column = at - pixels.start;
        let (y, x, lane) = (at / width, at % width, column % panel);
        let len = (width - x).min(panel - lane).min(pixels.end - at);
        segments.push(Segment { panel: column - lane, lane, y, x, len });
        at += len;
    }
    segments
}

/// Packs the pixels under some weights (`steps`: by channel, row and column of the kernel) for some output pixels.
pub(crate) struct GatherColumns<'a> {
    pub(crate) shape: &'a ConvShape,
    /// All channels of one picture.
    pub(crate) picture: &'a [f32],
    pub(crate) segments: &'a [Segment],
    /// Output pixels in all.
    pub(crate) columns: usize,
    pub(crate) steps: Range<usize>,
    pub(crate) to: &'a mut [f32],
}

impl Kernel for GatherColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ConvShape { kernel, stride, padding, .. } = *self.shape;
        let (height, width) = self.shape.stored_size();
        let panel = 3 * S::LANES;
        let padded = self.columns.next_multiple_of(S::LANES);
        assert!(self.to.len() >= padded * self.steps.len());
        let to = self.to.as_mut_ptr();
        let depth = self.steps.len();
        for (row, step) in self.steps.enumerate() {
            let (channel, i, j) = (step / (kernel * kernel), step / kernel % kernel, step % kernel);
            let plane = &self.picture[channel * height * width..][..height * width];
            for segment in self.segments {
                let panel_width = (padded - segment.panel).min(panel);
                let y = (segment.y * stride + i) as isize - padding.top as isize;
                let x = (segment.x * stride + j) as isize - padding.left as isize;
                let pixels = PaddedRow::of_input(plane, self.shape, y);
                // SAFETY: the segment lies inside its panel, which lies inside `to`.
                unsafe {
                    let to = to.add(segment.panel * depth + row * panel_width + segment.lane);
                    if stride == 1 {
                        pixels.read(s, x, to, segment.len);
                    } else {
                        read_strided(pixels, x, stride, to, segment.len);
                    }
                }
            }
            if padded > self.columns {
                let first = self.columns / panel * panel;
                // SAFETY: the rest of the last panel's row, inside `to`.
                unsafe {
                    let row = to.add(first * depth + row * (padded - first));
                    clear(s, row.add(self.columns - first), padded - self.columns);
                }
            }
        }
    }
}

/// Reads every `stride`-th pixel from column `x` on; outside lie zeros.
///
/// # Safety
/// `len` floats are writable at `to`.
#[inline(always)]
pub(crate) unsafe fn read_strided(row: PaddedRow<'_>, x: isize, stride: usize, to: *mut f32, len: usize) {
    let pixels = row.pixels.unwrap_or(&[]);
    // Those before and from `end` on lie outside.
    let before = (-x).max(0) as usize;
    let before = before.div_ceil(stride).min(len);
    let last = usize::try_from(pixels.len() as isize - x).unwrap_or(0);
    let end = last.div_ceil(stride).clamp(before, len);
    // SAFETY: `to` holds `len` floats, and `x + at * stride` is a pixel for every `at` from `before` to `end`.
    unsafe {
        for at in (0..before).chain(end..len) {
            *to.add(at) = 0.0;
        }
        let from = pixels.as_ptr().wrapping_offset(x);
        for at in before..end {
            *to.add(at) = *from.wrapping_add(at * stride);
        }
    }
}

/// Finishes one row of outputs.
struct EpilogueRow<'a> {
    epilogue: Epilogue,
    residual: Option<&'a [f32]>,
    row: &'a mut [f32],
}

impl Kernel for EpilogueRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: the row is borrowed exclusively, and the residual was cut to its length.
        unsafe { self.epilogue.apply_row(s, self.row.as_mut_ptr(), self.row.len(), self.residual) }
    }
}
