//! Transformed kernels.

use super::transform::Transform;
use crate::{
    filters::Filters,
    gemm::{ROWS, packed_place},
    scratch::SharedMut,
    simd::{Kernel, Simd},
};
use std::marker::PhantomData;

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

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let out_channels = (self.filters.out_channels - self.channel).min(ROWS);
        let depth = self.in_channels.len();
        let mut taps = [0.0; 16 * ROWS];
        for (step, channel) in self.in_channels.clone().enumerate() {
            self.gather(s, channel, out_channels, &mut taps);
            let last = (I * I - 1) * self.matrix + packed_place(ROWS - 1, step, depth) + 1;
            let end = self.to.address(self.at + last);
            // SAFETY: the last address was just checked, the first lies that much before it.
            let to = unsafe { end.sub(last) };
            for lane in (0..ROWS).step_by(S::LANES) {
                let mut columns = [[s.zero(); I]; 3];
                for (j, column) in columns.iter_mut().enumerate() {
                    // SAFETY: taps 0 to 8, each of `ROWS` floats.
                    let tap =
                        |i: usize| unsafe {
                            s.load(taps.as_ptr().add(
                                (if self.filters.turned { 8 - 3 * i - j } else { 3 * i + j }) * ROWS + lane,
                            ))
                        };
                    *column = T::filter(s, [tap(0), tap(1), tap(2)]);
                }
                let [left, middle, right] = columns;
                for (i, &first) in left.iter().enumerate() {
                    let row = T::filter(s, [first, middle[i], right[i]]);
                    for (j, v) in row.into_iter().enumerate() {
                        let at = (i * I + j) * self.matrix + packed_place(lane, step, depth);
                        // SAFETY: `i * I + j < I * I`, and `lane + LANES <= ROWS`.
                        unsafe { s.store_quads(to.add(at), packed_place(4, 0, depth), v) };
                    }
                }
            }
        }
    }
}

impl<T, const I: usize, const O: usize> WeightTransform<'_, T, I, O> {
    /// Brings the nine weights of up to [`ROWS`] kernels to `[position][kernel]`.
    #[inline(always)]
    fn gather<S: Simd>(&self, s: S, channel: usize, out_channels: usize, taps: &mut [f32; 16 * ROWS]) {
        let stride = self.filters.out_stride();
        let from = &self.filters.data[self.channel * stride + channel * self.filters.in_stride()..];
        if out_channels == ROWS && from.len() >= (ROWS - 1) * stride + 16 {
            for lane in (0..ROWS).step_by(S::LANES) {
                for position in (0..9).step_by(S::LANES) {
                    // SAFETY: sixteen floats of each of `ROWS` kernels are readable, as just seen; `taps` has room for as many.
                    unsafe {
                        let from = from.as_ptr().add(lane * stride + position);
                        s.transpose(from, stride, taps.as_mut_ptr().add(position * ROWS + lane), ROWS);
                    }
                }
            }
        } else {
            for kernel in 0..ROWS {
                for position in 0..9 {
                    let weight = if kernel < out_channels { from[kernel * stride + position] } else { 0.0 };
                    taps[position * ROWS + kernel] = weight;
                }
            }
        }
    }
}
