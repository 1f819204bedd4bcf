//! From pictures to transformed tiles and back.

use super::{
    tiles::{PaddedRow, Run, Tiles, copy},
    transform::Transform,
};
use crate::{
    activation::Epilogue,
    scratch::SharedMut,
    simd::{Kernel, Simd},
};
use std::marker::PhantomData;

/// Floats between two of the `I * I` matrices of a block, each of `rows` rows for `tiles` tiles: one cache line more than they
/// need, because powers of two would fall on each other in the cache.
pub(crate) fn matrix_stride(rows: usize, tiles: usize) -> usize {
    rows * tiles + 16
}

/// Floats that a kernel of this file needs for staging rows of `tiles` tiles (a whole number of vectors).
pub(crate) fn stage_len(tiles: usize) -> usize {
    // Six input rows, two chunks of four columns each, and one row more for overlapping tiles.
    (6 * 2 + 1) * 4 * tiles
}

/// B^T d B of each tile of a block: matrix `i * I + j` is packed as a right matrix, channels deep.
pub(crate) struct InputTransform<'a, T, const I: usize, const O: usize> {
    pub(crate) tiles: &'a Tiles,
    pub(crate) runs: &'a [Run],
    /// Tiles of the block, rounded up to whole vectors.
    pub(crate) padded: usize,
    pub(crate) input: &'a [f32],
    pub(crate) channels: std::ops::Range<usize>,
    /// `I * I` matrices, `matrix` floats apart, the first at `at`, each packed for `depth` channels from `first_channel` on.
    pub(crate) to: SharedMut<'a>,
    pub(crate) at: usize,
    pub(crate) matrix: usize,
    pub(crate) depth: usize,
    pub(crate) first_channel: usize,
    pub(crate) stage: &'a mut [f32],
    pub(crate) kind: PhantomData<T>,
}

impl<T: Transform<I, O>, const I: usize, const O: usize> InputTransform<'_, T, I, O> {
    /// Brings the pixels of one channel's tiles into columns 0 to 3 and 4 to 7 of each tile, tile by tile.
    #[inline(always)]
    unsafe fn stage_channel<S: Simd>(&mut self, s: S, channel: usize) {
        let shape = &self.tiles.shape;
        let area = shape.height * shape.width;
        let chunk = 4 * self.padded;
        let stage = self.stage.as_mut_ptr();
        for run in self.runs {
            let plane = &self.input[(run.image * shape.in_channels + channel) * area..][..area];
            let x = run.x as isize - shape.padding.left as isize;
            for row in 0..I {
                let y = (run.y + row) as isize - shape.padding.top as isize;
                let pixels = PaddedRow::of_plane(plane, shape.width, y);
                // SAFETY: the stage holds two chunks a row and one more; a run's tiles lie inside each chunk.
                unsafe {
                    let first = stage.add(2 * row * chunk + 4 * run.at);
                    if O == 4 {
                        pixels.read(s, x, first, 4 * run.count);
                        pixels.read(s, x + 4, first.add(chunk), 4 * run.count);
                    } else {
                        let line = stage.add(2 * I * chunk);
                        pixels.read(s, x, line, O * run.count + 2);
                        for tile in 0..run.count {
                            let four = line.add(O * tile).cast::<[f32; 4]>().read_unaligned();
                            first.add(4 * tile).cast::<[f32; 4]>().write_unaligned(four);
                        }
                    }
                }
            }
        }
    }
}

impl<T: Transform<I, O>, const I: usize, const O: usize> Kernel for InputTransform<'_, T, I, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        assert!(self.stage.len() >= stage_len(self.padded));
        let (depth, matrix) = (self.depth, self.matrix);
        let panel = 3 * S::LANES;
        let chunk = 4 * self.padded;
        for channel in self.channels.clone() {
            // SAFETY: the stage was just seen to be long enough.
            unsafe { self.stage_channel(s, channel) };
            for tile in (0..self.padded).step_by(S::LANES) {
                let mut rows = [[s.zero(); I]; I];
                for (r, row) in rows.iter_mut().enumerate() {
                    // SAFETY: both chunks of the row lie inside the stage.
                    let from = unsafe { self.stage.as_ptr().add(2 * r * chunk + 4 * tile) };
                    let mut d = [s.zero(); I];
                    // SAFETY: as above.
                    d[..4].copy_from_slice(&s.deinterleave4(unsafe { load4(s, from) }));
                    if I > 4 {
                        // SAFETY: as above.
                        let rest = s.deinterleave4(unsafe { load4(s, from.add(chunk)) });
                        d[4..].copy_from_slice(&rest[..I - 4]);
                    }
                    *row = T::input(s, d);
                }
                let first_of_panel = tile / panel * panel;
                let width = (self.padded - first_of_panel).min(panel);
                let row = channel - self.first_channel;
                let at = self.at + first_of_panel * depth + row * width + tile - first_of_panel;
                let to = self.to.address(at + (I * I - 1) * matrix + S::LANES);
                // SAFETY: the last address was just checked, the first lies that much before it.
                let to = unsafe { to.sub((I * I - 1) * matrix + S::LANES) };
                for j in 0..I {
                    let mut column = [s.zero(); I];
                    for (d, row) in column.iter_mut().zip(&rows) {
                        *d = row[j];
                    }
                    for (i, v) in T::input(s, column).into_iter().enumerate() {
                        // SAFETY: `i * I + j < I * I`, see above.
                        unsafe { s.store(to.add((i * I + j) * matrix), v) };
                    }
                }
            }
        }
    }
}

/// # Safety
/// Four vectors are readable.
#[inline(always)]
unsafe fn load4<S: Simd>(s: S, from: *const f32) -> [S::V; 4] {
    // SAFETY: promised by the caller.
    unsafe { [0, 1, 2, 3].map(|i| s.load(from.add(i * S::LANES))) }
}

/// A^T m A of each tile of a block, with bias and activation, written to the output pictures.
pub(crate) struct OutputTransform<'a, T, const I: usize, const O: usize> {
    pub(crate) tiles: &'a Tiles,
    pub(crate) runs: &'a [Run],
    /// Tiles of the block, rounded up to whole vectors.
    pub(crate) padded: usize,
    /// `I * I` matrices of a row of tiles a channel, `matrix` floats apart.
    pub(crate) from: &'a [f32],
    pub(crate) matrix: usize,
    /// Output channel of the first row, and one epilogue a row.
    pub(crate) channel: usize,
    pub(crate) epilogues: &'a [Epilogue],
    pub(crate) output: SharedMut<'a>,
    pub(crate) stage: &'a mut [f32],
    pub(crate) kind: PhantomData<T>,
}

impl<T: Transform<I, O>, const I: usize, const O: usize> Kernel for OutputTransform<'_, T, I, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(self.stage.len() >= stage_len(self.padded));
        let chunk = 4 * self.padded;
        let stage = self.stage.as_mut_ptr();
        for (row, epilogue) in self.epilogues.iter().enumerate() {
            for tile in (0..self.padded).step_by(S::LANES) {
                let from = &self.from[row * self.padded + tile..][..(I * I - 1) * self.matrix + S::LANES];
                let mut columns = [[s.zero(); O]; I];
                for (j, column) in columns.iter_mut().enumerate() {
                    let mut m = [s.zero(); I];
                    for (i, m) in m.iter_mut().enumerate() {
                        // SAFETY: matrix `i * I + j < I * I` of the slice just taken.
                        *m = unsafe { s.load(from.as_ptr().add((i * I + j) * self.matrix)) };
                    }
                    *column = T::output(s, m);
                }
                for i in 0..O {
                    let mut m = [s.zero(); I];
                    for (m, column) in m.iter_mut().zip(&columns) {
                        *m = column[i];
                    }
                    let mut y = [s.zero(); 4];
                    for (y, v) in y.iter_mut().zip(T::output(s, m)) {
                        *y = epilogue.apply(s, v);
                    }
                    for (part, v) in s.interleave4(y).into_iter().enumerate() {
                        // SAFETY: `O` chunks of four floats a tile lie inside the stage.
                        unsafe { s.store(stage.add(i * chunk + 4 * tile + part * S::LANES), v) };
                    }
                }
            }
            self.write_channel(s, stage, self.channel + row);
        }
    }
}

impl<T, const I: usize, const O: usize> OutputTransform<'_, T, I, O> {
    /// Copies the staged rows of one channel to where they belong.
    #[inline(always)]
    fn write_channel<S: Simd>(&self, s: S, stage: *const f32, channel: usize) {
        let shape = &self.tiles.shape;
        let (height, width) = shape.output_size();
        for run in self.runs {
            let columns = (O * run.count).min(width - run.x);
            for i in 0..O.min(height - run.y) {
                let row = ((run.image * shape.out_channels + channel) * height + run.y + i) * width + run.x;
                // SAFETY: each tile belongs to one block and each channel to one row, so no other thread writes here;
                // the staged row lies inside the stage.
                unsafe {
                    let to = self.output.part(row, columns).as_mut_ptr();
                    let from = stage.add(i * 4 * self.padded + 4 * run.at);
                    if O == 4 {
                        copy(s, from, to, columns);
                    } else {
                        for column in 0..columns {
                            *to.add(column) = *from.add(column / O * 4 + column % O);
                        }
                    }
                }
            }
        }
    }
}
