//! Transformed kernels.

use super::transform::Transform;
use crate::{
    filters::Filters,
    gemm::{QUAD, ROWS, packed_place},
    scratch::SharedMut,
    simd::{Kernel, Simd, store},
};
use std::marker::PhantomData;

/// Input channels ahead of which kernels are asked for: output channels lie too far apart for the processor to guess.
const AHEAD: usize = 16;

/// G g G^T of the kernels of one panel of output channels; matrix `i * I + j` is packed as a left matrix
/// as deep as there are input channels.
pub(crate) struct WeightTransform<'a, T, const I: usize, const O: usize> {
    pub(crate) filters: Filters<'a>,
    /// First output channel.
    pub(crate) channel: usize,
    pub(crate) in_channels: std::ops::Range<usize>,
    /// Where the panel lies in the first matrix.
    pub(crate) to: SharedMut<'a>,
    pub(crate) at: usize,
    /// Floats from one matrix to the next.
    pub(crate) matrix: usize,
    pub(crate) kind: PhantomData<T>,
}

impl<T: Transform<I, O>, const I: usize, const O: usize> Kernel for WeightTransform<'_, T, I, O> {
    type Output = ();

    /// A vector holds four kernels of each of a few input channels, as they lie in a packed panel.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (depth, group) = (self.in_channels.len(), S::LANES / QUAD);
        for row in (0..ROWS).step_by(QUAD) {
            for step in (0..depth).step_by(group) {
                let channels = (depth - step).min(group);
                let last = (I * I - 1) * self.matrix + QUAD * channels;
                let end = self.to.address(self.at + packed_place(row, step, depth) + last);
                // SAFETY: that address was just checked, the first lies that much before it.
                let to = unsafe { end.sub(last) };
                let taps = self.taps(s, row, step, channels);
                let left = T::filter(s, [taps[0], taps[3], taps[6]]);
                let middle = T::filter(s, [taps[1], taps[4], taps[7]]);
                let right = T::filter(s, [taps[2], taps[5], taps[8]]);
                for (i, &first) in left.iter().enumerate() {
                    let row = T::filter(s, [first, middle[i], right[i]]);
                    for (j, v) in row.into_iter().enumerate() {
                        // SAFETY: matrix `i * I + j < I * I`, see above.
                        unsafe { store(s, to.add((i * I + j) * self.matrix), v, QUAD * channels) };
                    }
                }
            }
        }
    }
}

impl<T, const I: usize, const O: usize> WeightTransform<'_, T, I, O> {
    /// The nine weights of four kernels from `row` on, for some input channels from `step` on; missing kernels are zero.
    #[inline(always)]
    fn taps<S: Simd>(&self, s: S, row: usize, step: usize, channels: usize) -> [S::V; 9] {
        let filters = self.filters;
        let (out_stride, in_stride) = (filters.out_stride(), filters.in_stride());
        let kernels = filters.out_channels.saturating_sub(self.channel + row).min(QUAD);
        let first = (self.channel + row) * out_stride + (self.in_channels.start + step) * in_stride;
        let from = filters.data.get(first..).unwrap_or_default();
        let whole = kernels == QUAD && channels == S::LANES / QUAD;
        let [a, b, c] = if whole && from.len() >= 3 * out_stride + (channels - 1) * in_stride + 12 {
            let from = from.as_ptr();
            for (kernel, channel) in (0..QUAD).flat_map(|k| (AHEAD..AHEAD + channels).map(move |c| (k, c))) {
                s.prefetch(from.wrapping_add(kernel * out_stride + channel * in_stride));
            }
            // SAFETY: twelve floats of each of the kernels are readable, as just seen.
            unsafe { load_twelve(s, from, out_stride, in_stride) }
        } else {
            let mut padded = [0.0; 12 * 16];
            for (kernel, channel) in (0..kernels).flat_map(|k| (0..channels).map(move |c| (k, c))) {
                let weights = &from[kernel * out_stride + channel * in_stride..][..9];
                padded[12 * (QUAD * channel + kernel)..][..9].copy_from_slice(weights);
            }
            // SAFETY: `padded` holds twelve floats of as many kernels as the widest vector.
            unsafe { load_twelve(s, padded.as_ptr(), 12, 12 * QUAD) }
        };
        if filters.turned {
            [c[0], b[3], b[2], b[1], b[0], a[3], a[2], a[1], a[0]]
        } else {
            [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0]]
        }
    }
}

/// Twelve floats of each of a vector's kernels, the first of each in one vector and so on.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn load_twelve<S: Simd>(s: S, from: *const f32, row: usize, group: usize) -> [[S::V; 4]; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        [
            s.load_quads(from, row, group),
            s.load_quads(from.add(4), row, group),
            s.load_quads(from.add(8), row, group),
        ]
    }
}
