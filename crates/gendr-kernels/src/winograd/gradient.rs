//! The output gradient's tiles, transformed for the gradient of the weights.

use super::{
    pictures::load4,
    tiles::{PaddedRow, Run, Tiles},
    transform::F4,
};
use crate::{
    scratch::SharedMut,
    simd::{Kernel, Level, Simd},
};

/// Floats that [`OutputGradientTransform`] needs for `tiles` tiles (a whole number of vectors).
pub(crate) fn gradient_stage_len(level: Level, tiles: usize) -> usize {
    level.lanes() * 36 * tiles + 4 * 4 * tiles
}

/// A dy A^T of each tile of a block for a vector of output channels; matrix `6 * i + j` is packed as a right matrix with the
/// channels as columns and the tiles as depth.
pub(crate) struct OutputGradientTransform<'a> {
    pub(crate) tiles: &'a Tiles,
    pub(crate) runs: &'a [Run],
    /// Tiles of the block.
    pub(crate) count: usize,
    pub(crate) output_gradient: &'a [f32],
    /// First output channel, a multiple of the vector.
    pub(crate) channel: usize,
    pub(crate) to: SharedMut<'a>,
    /// The first matrix, and floats from one to the next.
    pub(crate) at: usize,
    pub(crate) matrix: usize,
    pub(crate) stage: &'a mut [f32],
}

impl OutputGradientTransform<'_> {
    /// Brings the gradient of one channel's tiles into rows of four columns a tile; outside the picture it is zero.
    ///
    /// # Safety
    /// The stage holds four rows.
    #[inline(always)]
    unsafe fn stage_channel<S: Simd>(&self, s: S, channel: usize, stage: *mut f32, padded: usize) {
        let shape = &self.tiles.shape;
        let (height, width) = shape.output_size();
        for run in self.runs {
            let plane = &self.output_gradient[(run.image * shape.out_channels + channel) * height * width..]
                [..height * width];
            for row in 0..4 {
                let pixels = PaddedRow::of_plane(plane, width, (run.y + row) as isize);
                // SAFETY: a run's tiles lie inside each row of the stage.
                unsafe {
                    pixels.read(s, run.x as isize, stage.add(row * 4 * padded + 4 * run.at), 4 * run.count);
                };
            }
        }
    }
}

impl Kernel for OutputGradientTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let padded = self.count.next_multiple_of(S::LANES);
        assert!(self.stage.len() >= (S::LANES * 36 + 16) * padded);
        let columns = self.tiles.shape.out_channels.next_multiple_of(S::LANES);
        // `[matrix][channel][tile]`, then the staged rows.
        let transformed = self.stage.as_mut_ptr();
        // SAFETY: inside the stage, see the assertion.
        let stage = unsafe { transformed.add(S::LANES * 36 * padded) };
        for lane in 0..S::LANES {
            let channel = self.channel + lane;
            // Lanes past the last channel repeat it: they are multiplied but never read.
            let channel = channel.min(self.tiles.shape.out_channels - 1);
            // SAFETY: the stage holds the rows.
            unsafe { self.stage_channel(s, channel, stage, padded) };
            for tile in (0..padded).step_by(S::LANES) {
                let mut rows = [[s.zero(); 6]; 4];
                for (r, row) in rows.iter_mut().enumerate() {
                    // SAFETY: inside the staged row.
                    let y = unsafe { load4(s, stage.add(r * 4 * padded + 4 * tile)) };
                    *row = F4::output_gradient(s, s.deinterleave4(y));
                }
                let [first, second, third, fourth] = rows;
                for (j, &top) in first.iter().enumerate() {
                    let column = F4::output_gradient(s, [top, second[j], third[j], fourth[j]]);
                    for (i, v) in column.into_iter().enumerate() {
                        // SAFETY: inside `[36][LANES][padded]`.
                        unsafe {
                            s.store(transformed.add(((6 * i + j) * S::LANES + lane) * padded + tile), v);
                        };
                    }
                }
            }
        }
        let panel = 3 * S::LANES;
        let first = self.channel / panel * panel;
        let width = (columns - first).min(panel);
        for k in 0..36 {
            let at = self.at + k * self.matrix + first * self.count + self.channel - first;
            for tile in (0..self.count).step_by(S::LANES) {
                // SAFETY: this job alone writes these columns; the block read lies inside `transformed`.
                unsafe {
                    let from = transformed.add(k * S::LANES * padded + tile);
                    if tile + S::LANES <= self.count {
                        let to = self.to.address(at + tile * width + (S::LANES - 1) * width + S::LANES);
                        s.transpose(from, padded, to.sub((S::LANES - 1) * width + S::LANES), width);
                    } else {
                        for rest in tile..self.count {
                            let to = self.to.address(at + rest * width + S::LANES).sub(S::LANES);
                            for lane in 0..S::LANES {
                                *to.add(lane) = *from.add(lane * padded + rest - tile);
                            }
                        }
                    }
                }
            }
        }
    }
}
