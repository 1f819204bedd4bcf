//! Convolution of any kernel and stride as a matrix product: weights times the pixels under each weight.
//!
//! The pixels are gathered block by block into the packed right matrix; no picture-sized copy is made.

use crate::{
    activation::{Epilogue, Finish},
    conv_shape::ConvShape,
    filters::Filters,
    gemm::{Block, DEPTH, Factors, LeftLayout, ROWS, left_len, packed_place, right_len},
    scratch::{SharedMut, with_scratch},
    simd::{Kernel, Level, Simd, clear},
    winograd::PaddedRow,
};
use rayon::prelude::*;
use std::ops::Range;

/// Output pixels that one job multiplies at once.
pub(crate) const PIXELS: usize = 192;
/// Jobs for all threads to finish about together.
const JOBS: usize = 16;
/// Floats of gathered pixels that several jobs share.
const SHARED_PIXELS: usize = 4 << 20;

/// One convolution.
#[derive(Clone, Copy)]
pub(crate) struct Direct<'a> {
    pub(crate) level: Level,
    pub(crate) factors: Factors,
    pub(crate) shape: ConvShape,
    pub(crate) input: &'a [f32],
    pub(crate) filters: Filters<'a>,
    pub(crate) finish: Finish<'a>,
}

impl Direct<'_> {
    pub(crate) fn run(&self, output: &mut [f32]) {
        let (out_channels, depth) = (self.shape.out_channels, self.depth());
        // Stored kernels are the rows of a left matrix as they are.
        let packed_len = if self.filters.turned { left_len(out_channels, depth) } else { 0 };
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
        let count = shape.batch * blocks;
        // Few pixels: the output channels are shared out too.
        let wanted = JOBS.div_ceil(count);
        let rows = shape.out_channels.div_ceil(wanted).next_multiple_of(ROWS).max(4 * ROWS);
        let parts = shape.out_channels.div_ceil(rows);
        let job = |block: usize, part: usize| Job {
            image: block / blocks,
            pixels: block % blocks * PIXELS..((block % blocks + 1) * PIXELS).min(pixels),
            channels: part * rows..((part + 1) * rows).min(shape.out_channels),
        };
        if parts == 1 {
            return (0..count)
                .into_par_iter()
                .for_each(|block| self.gather_and_multiply(packed, &job(block, 0), output));
        }
        // Several jobs use the same pixels: those are gathered once.
        let (depth, steps) = (self.depth(), self.steps());
        let chunks = depth.div_ceil(steps);
        let chunk_len = right_len(self.level, PIXELS, steps);
        let together = (SHARED_PIXELS / (chunks * chunk_len)).clamp(1, count);
        with_scratch(together * chunks * chunk_len, |gathered| {
            for group in (0..count).step_by(together) {
                let here = (count - group).min(together);
                gathered.par_chunks_exact_mut(chunk_len).take(here * chunks).enumerate().for_each(
                    |(index, to)| {
                        let (block, step) = (group + index / chunks, index % chunks * steps);
                        let job = job(block, 0);
                        self.gather(&job, &self.segments(&job), step..(step + steps).min(depth), to);
                    },
                );
                let gathered = &*gathered;
                (0..here * parts).into_par_iter().for_each(|index| {
                    let (block, part) = (index / parts, index % parts);
                    let job = job(group + block, part);
                    for (chunk, right) in
                        gathered.chunks_exact(chunk_len).skip(block * chunks).take(chunks).enumerate()
                    {
                        let step = chunk * steps;
                        self.add_product(packed, &job, step..(step + steps).min(depth), right, output);
                    }
                    self.finish(&job, output);
                });
            }
        });
    }

    /// Weights of an output channel.
    fn depth(&self) -> usize {
        self.shape.in_channels * self.shape.kernel * self.shape.kernel
    }

    /// How many of them go by at once: whole rows of kernels.
    fn steps(&self) -> usize {
        (DEPTH / self.shape.kernel).max(1) * self.shape.kernel
    }

    /// One job, by the pixels it gathers itself.
    fn gather_and_multiply(&self, packed: &[f32], job: &Job, output: SharedMut<'_>) {
        let (depth, segments) = (self.depth(), self.segments(job));
        with_scratch(right_len(self.level, job.pixels.len(), self.steps()), |right| {
            for step in (0..depth).step_by(self.steps()) {
                let steps = step..(step + self.steps()).min(depth);
                self.gather(job, &segments, steps.clone(), right);
                self.add_product(packed, job, steps, right, output);
            }
        });
        self.finish(job, output);
    }

    /// How a job's pixels lie in rows and panels.
    fn segments(&self, job: &Job) -> Vec<Segment> {
        segments(self.level.panel(), job.pixels.clone(), self.shape.out_width())
    }

    /// Packs the pixels under some weights of a job's pixels.
    fn gather(&self, job: &Job, segments: &[Segment], steps: Range<usize>, to: &mut [f32]) {
        self.level.run(GatherColumns {
            shape: &self.shape,
            picture: picture(&self.shape, self.input, job.image),
            segments,
            columns: job.pixels.len(),
            steps,
            to,
        });
    }

    /// Adds the product of some weights with the pixels under them; the first replaces what was there.
    fn add_product(
        &self,
        packed: &[f32],
        job: &Job,
        steps: Range<usize>,
        right: &[f32],
        output: SharedMut<'_>,
    ) {
        let depth = self.depth();
        let (left, left_layout) = if packed.is_empty() {
            let rows = &self.filters.data[job.channels.start * depth + steps.start..];
            (rows, LeftLayout::Plain { row: depth, step: 1 })
        } else {
            let panels = &packed[packed_place(job.channels.start, steps.start, depth)..];
            (panels, LeftLayout::Packed(depth))
        };
        let at = job.place(&self.shape);
        let plane = self.shape.out_height() * self.shape.out_width();
        output.address(at + (job.channels.len() - 1) * plane + job.pixels.len());
        let block = Block {
            rows: job.channels.len(),
            columns: job.pixels.len(),
            depth: steps.len(),
            left: left.as_ptr(),
            left_layout,
            right: right.as_ptr(),
            right_depth: steps.len(),
            right_from: 0,
            out: output.address(at),
            out_stride: plane,
            accumulate: steps.start > 0,
        };
        self.factors.multiply(self.level, block);
    }

    fn finish(&self, job: &Job, output: SharedMut<'_>) {
        let plane = self.shape.out_height() * self.shape.out_width();
        for (channel, at) in job.channels.clone().zip((job.place(&self.shape)..).step_by(plane)) {
            let columns = job.pixels.len();
            // SAFETY: this job alone writes these pixels of this channel.
            let row = unsafe { output.part(at, columns) };
            let (epilogue, residual) = (self.finish.epilogue(channel), self.finish.residual(at, columns));
            self.level.run(EpilogueRow { epilogue, residual, row });
        }
    }
}

/// Some pixels, numbered row by row, of some output channels of one picture.
struct Job {
    image: usize,
    pixels: Range<usize>,
    channels: Range<usize>,
}

impl Job {
    /// Where the first pixel of the first channel lies in the output.
    fn place(&self, shape: &ConvShape) -> usize {
        (self.image * shape.out_channels + self.channels.start) * shape.out_height() * shape.out_width()
            + self.pixels.start
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

/// Packs the pixels under some weights (`steps`: by channel, row and column of the kernel, whole rows) for some output pixels.
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
        // Channels lie too far apart for the processor to guess where the next ones are read.
        let ahead = 8usize.div_ceil(kernel) * height * width;
        for (row, step) in self.steps.enumerate().step_by(kernel) {
            let (channel, i) = (step / (kernel * kernel), step / kernel % kernel);
            let plane = &self.picture[channel * height * width..][..height * width];
            for segment in self.segments {
                let panel_width = (padded - segment.panel).min(panel);
                let y = (segment.y * stride + i) as isize - padding.top as isize;
                let pixels = PaddedRow::of_input(plane, self.shape, y);
                let x = (segment.x * stride) as isize - padding.left as isize;
                if let Some(row) = pixels.pixels {
                    let there = row.as_ptr().wrapping_offset(x).wrapping_add(ahead);
                    for line in (0..segment.len * stride).step_by(16) {
                        s.prefetch(there.wrapping_add(line));
                    }
                }
                for j in 0..kernel {
                    let x = x + j as isize;
                    // SAFETY: the segment lies inside its panel, which lies inside `to`.
                    unsafe {
                        let to = to.add(segment.panel * depth + (row + j) * panel_width + segment.lane);
                        if stride == 1 {
                            pixels.read(s, x, to, segment.len);
                        } else {
                            read_strided(s, pixels, x, stride, to, segment.len);
                        }
                    }
                }
            }
            if padded > self.columns {
                let first = self.columns / panel * panel;
                for row in row..row + kernel {
                    // SAFETY: the rest of the last panel's row, inside `to`.
                    unsafe {
                        let row = to.add(first * depth + row * (padded - first));
                        clear(s, row.add(self.columns - first), padded - self.columns);
                    }
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
pub(crate) unsafe fn read_strided<S: Simd>(
    s: S,
    row: PaddedRow<'_>,
    x: isize,
    stride: usize,
    to: *mut f32,
    len: usize,
) {
    let pixels = row.pixels.unwrap_or(&[]);
    // Pixels from column `x` on.
    let there = usize::try_from(pixels.len() as isize - x).unwrap_or(0);
    // Those before and from `end` on lie outside; nearly always none does, and dividing takes long.
    let (before, end) = if x >= 0 && len * stride <= there {
        (0, len)
    } else {
        let before = ((-x).max(0) as usize).div_ceil(stride).min(len);
        (before, there.div_ceil(stride).clamp(before, len))
    };
    // SAFETY: `to` holds `len` floats, and `x + at * stride` is a pixel for every `at` from `before` to `end`; pairs of vectors
    // are read where as many pixels are left.
    unsafe {
        for at in (0..before).chain(end..len) {
            *to.add(at) = 0.0;
        }
        let from = pixels.as_ptr().wrapping_offset(x);
        let mut at = before;
        while stride == 2 && at + S::LANES <= end && 2 * (at + S::LANES) <= there {
            let here = from.wrapping_add(2 * at);
            s.store(to.add(at), s.even(s.load(here), s.load(here.add(S::LANES))));
            at += S::LANES;
        }
        for at in at..end {
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
