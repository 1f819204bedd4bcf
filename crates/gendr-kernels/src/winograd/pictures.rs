//! From pictures to transformed tiles and back.

use super::{
    tiles::{PaddedRow, Run, Tiles},
    transform::Transform,
};
use crate::{
    activation::Finish,
    scratch::SharedMut,
    simd::{Kernel, Simd, UNCACHED, load, store_large},
};
use std::marker::PhantomData;

/// Floats between two of the `I * I` matrices of a block, each of `rows` rows for `tiles` tiles: one cache line more than they
/// need, because powers of two would fall on each other in the cache.
pub(crate) fn matrix_stride(rows: usize, tiles: usize) -> usize {
    rows * tiles + 16
}

/// Floats of a row of input under a vector of tiles: four columns a tile and, where tiles do not follow each other, four more.
const LINE: usize = 2 * 4 * 16;

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
    /// Tiles of a packed panel.
    pub(crate) panel: usize,
    pub(crate) kind: PhantomData<T>,
}

impl<T: Transform<I, O>, const I: usize, const O: usize> InputTransform<'_, T, I, O> {
    #[inline(always)]
    fn row<'p>(&'p self, run: &Run, channel: usize, row: usize) -> PaddedRow<'p> {
        let shape = &self.tiles.shape;
        let (height, width) = shape.stored_size();
        let area = height * width;
        let plane = &self.input[(run.image * shape.in_channels + channel) * area..][..area];
        PaddedRow::of_input(plane, shape, (run.y * T::STRIDE + row) as isize - shape.padding.top as isize)
    }

    /// Asks for the same columns of the next channel, and those beyond a run's last vector: channels lie too far apart for the
    /// processor to guess.
    #[inline(always)]
    fn announce<S: Simd>(&self, s: S, row: PaddedRow<'_>, x: isize, last: bool) {
        let (height, width) = self.tiles.shape.stored_size();
        let Some(pixels) = row.pixels else { return };
        let x = if row.enlarged { x / 2 } else { x };
        let from = pixels.as_ptr().wrapping_offset(x + 1).wrapping_add(height * width);
        for line in 0..S::LANES / 4 {
            s.prefetch(from.wrapping_add(16 * line));
        }
        if last {
            s.prefetch(from.wrapping_add(4 * S::LANES));
        }
    }

    /// The input columns of one row of a vector of neighbouring tiles of four columns each, from column `x` on.
    #[inline(always)]
    fn neighbours<S: Simd>(&self, s: S, row: PaddedRow<'_>, x: isize, line: &mut [f32; LINE]) -> [S::V; I] {
        let Some(pixels) = row.pixels else { return [s.zero(); I] };
        let mut d = [s.zero(); I];
        // Tiles of six columns begin one before a place where a vector of the picture may begin.
        let before = I.saturating_sub(5);
        let start = usize::try_from(x + before as isize);
        if let Some(start) = start.ok().filter(|start| !row.enlarged && start + 4 * S::LANES <= pixels.len())
        {
            // SAFETY: four vectors from `start` on lie in the row.
            let phases = unsafe { s.deinterleave4(load4(s, pixels[start..].as_ptr())) };
            let beyond = pixels.get(start + 4 * S::LANES).copied().unwrap_or(0.0);
            if before == 1 {
                let left = if start > 0 { pixels[start - 1] } else { 0.0 };
                d[0] = s.shift_up(left, phases[3]);
            }
            d[before..before + 4].copy_from_slice(&phases);
            d[before + 4] = s.shift_in(phases[0], beyond);
            return d;
        }
        // SAFETY: four vectors and two floats lie in the line, which is as long.
        unsafe {
            row.read(s, x, line.as_mut_ptr(), 4 * S::LANES + I - 4);
            let from = line.as_ptr();
            let phases = s.deinterleave4(load4(s, from));
            d[..4].copy_from_slice(&phases);
            // The tile's last columns are the next one's first.
            for (i, d) in d[4..].iter_mut().enumerate() {
                *d = s.shift_in(phases[i], *from.add(4 * S::LANES + i));
            }
        }
        d
    }

    /// The same for tiles of any size that lie in several `runs`; `first` is the vector's first tile.
    #[inline(always)]
    fn scattered<S: Simd>(
        &self,
        s: S,
        runs: &[Run],
        [first, channel, row]: [usize; 3],
        line: &mut [f32; LINE],
    ) -> [S::V; I] {
        let last = first + S::LANES;
        let left = self.tiles.shape.padding.left as isize;
        for run in runs {
            let pixels = self.row(run, channel, row);
            let (from, to) = (run.at.max(first), (run.at + run.count).min(last));
            let x = ((run.x + (from - run.at) * O) * T::STRIDE) as isize - left;
            let (at, count) = (4 * (from - first), to - from);
            // SAFETY: the run's tiles lie inside the vector, whose two chunks of four columns a tile fill the line.
            unsafe {
                if O * T::STRIDE == 4 {
                    pixels.read(s, x, line.as_mut_ptr().add(at), 4 * count);
                    pixels.read(s, x + 4, line.as_mut_ptr().add(4 * S::LANES + at), 4 * count);
                } else {
                    let mut overlapping = [0.0; LINE];
                    pixels.read(s, x, overlapping.as_mut_ptr(), O * count + 2);
                    for tile in 0..count {
                        line[at + 4 * tile..][..4].copy_from_slice(&overlapping[O * tile..][..4]);
                    }
                }
            }
        }
        let mut d = [s.zero(); I];
        // SAFETY: two chunks of four vectors lie inside the line.
        unsafe {
            d[..4].copy_from_slice(&s.deinterleave4(load4(s, line.as_ptr())));
            if I > 4 {
                let rest = s.deinterleave4(load4(s, line.as_ptr().add(4 * S::LANES)));
                d[4..].copy_from_slice(&rest[..I - 4]);
            }
        }
        d
    }
}

impl<T: Transform<I, O>, const I: usize, const O: usize> Kernel for InputTransform<'_, T, I, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (depth, matrix) = (self.depth, self.matrix);
        let panel = self.panel;
        let left = self.tiles.shape.padding.left as isize;
        let mut line = [0.0; LINE];
        let vectors = vectors(self.runs, self.padded, S::LANES);
        for channel in self.channels.clone() {
            for &(tile, runs) in &vectors {
                let first_of_panel = tile / panel * panel;
                let width = (self.padded - first_of_panel).min(panel);
                let mut rows = [[s.zero(); I]; I];
                for r in 0..I {
                    let d = match runs {
                        [run] if O * T::STRIDE == 4 => {
                            let pixels = self.row(run, channel, r);
                            if r > 0 && pixels.repeats(self.row(run, channel, r - 1)) {
                                rows[r] = rows[r - 1];
                                continue;
                            }
                            let x = ((run.x + (tile - run.at) * O) * T::STRIDE) as isize - left;
                            self.announce(s, pixels, x, tile + S::LANES >= run.at + run.count);
                            self.neighbours(s, pixels, x, &mut line)
                        }
                        runs => self.scattered(s, runs, [tile, channel, r], &mut line),
                    };
                    rows[r] = T::input(s, d);
                }
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
pub(super) unsafe fn load4<S: Simd>(s: S, from: *const f32) -> [S::V; 4] {
    // SAFETY: promised by the caller.
    unsafe {
        [
            s.load(from),
            s.load(from.add(S::LANES)),
            s.load(from.add(2 * S::LANES)),
            s.load(from.add(3 * S::LANES)),
        ]
    }
}

/// The first tile of each vector of a block and the runs that its tiles lie in.
fn vectors(runs: &[Run], padded: usize, lanes: usize) -> Vec<(usize, &[Run])> {
    let of = |first: usize| {
        let from = runs.partition_point(|run| run.at + run.count <= first);
        let to = runs.partition_point(|run| run.at < first + lanes);
        (first, &runs[from..to])
    };
    (0..padded).step_by(lanes).map(of).collect()
}

/// A^T m A of each tile of a block, finished and written to the output pictures.
pub(crate) struct OutputTransform<'a, T, const I: usize, const O: usize> {
    pub(crate) tiles: &'a Tiles,
    pub(crate) runs: &'a [Run],
    /// Tiles of the block, rounded up to whole vectors.
    pub(crate) padded: usize,
    /// `I * I` matrices of a row of tiles a channel, `matrix` floats apart.
    pub(crate) from: &'a [f32],
    pub(crate) matrix: usize,
    /// Output channel of the first row, and the number of rows.
    pub(crate) channel: usize,
    pub(crate) rows: usize,
    pub(crate) finish: &'a Finish<'a>,
    pub(crate) output: SharedMut<'a>,
    pub(crate) kind: PhantomData<T>,
}

impl<T: Transform<I, O>, const I: usize, const O: usize> OutputTransform<'_, T, I, O> {
    /// Writes one row of a vector of tiles, `O` columns a tile.
    #[inline(always)]
    fn write<S: Simd>(&self, s: S, [first, channel, row]: [usize; 3], runs: &[Run], y: [S::V; O]) {
        let shape = &self.tiles.shape;
        let (height, width) = shape.output_size();
        let mut line = [0.0; 4 * 16];
        let scattered = runs.len() > 1;
        let uncached = shape.output_len() >= UNCACHED;
        if scattered {
            for (part, v) in y.into_iter().enumerate() {
                // SAFETY: four vectors fill the line at most.
                unsafe { s.store(line.as_mut_ptr().add(part * S::LANES), v) };
            }
        }
        for run in runs.iter().filter(|run| run.y + row < height) {
            let (from, to) = (run.at.max(first), (run.at + run.count).min(first + S::LANES));
            let x = run.x + (from - run.at) * O;
            let columns = (O * (to - from)).min(width - x);
            let at = ((run.image * shape.out_channels + channel) * height + run.y + row) * width + x;
            // SAFETY: each tile belongs to one block and each channel to one row, so no other thread writes here.
            let out = unsafe { self.output.part(at, columns) };
            let residual = self.finish.residual(at, columns);
            if scattered {
                let line = &line[O * (from - first)..];
                for (column, out) in out.iter_mut().enumerate() {
                    *out = line[column] + residual.map_or(0.0, |residual| residual[column]);
                }
                continue;
            }
            // Plain loops over whole rows keep the vectors in registers.
            if columns == O * S::LANES {
                let mut y = y;
                if let Some(residual) = residual {
                    for (part, v) in y.iter_mut().enumerate() {
                        // SAFETY: as many floats as `out` has.
                        *v = s.add(*v, unsafe { s.load(residual.as_ptr().add(part * S::LANES)) });
                    }
                }
                let out = out.as_mut_ptr();
                let stream = uncached && out.addr().is_multiple_of(4 * S::LANES);
                // The next channel's row lies too far away for the processor to guess.
                for line in (0..if stream { 0 } else { columns }).step_by(16) {
                    s.prefetch(out.wrapping_add(height * width + line));
                }
                for (part, v) in y.into_iter().enumerate() {
                    // SAFETY: `O` vectors, all that `out` has; aligned if streamed.
                    unsafe {
                        let to = out.add(part * S::LANES);
                        if stream { s.stream(to, v) } else { s.store(to, v) }
                    }
                }
                continue;
            }
            for (part, mut v) in y.into_iter().enumerate() {
                let at = part * S::LANES;
                let Some(out) = out.get_mut(at..).filter(|out| !out.is_empty()) else { break };
                let count = out.len().min(S::LANES);
                // SAFETY: `count` floats from `at` on lie inside the rows.
                unsafe {
                    if let Some(residual) = residual {
                        v = s.add(v, load(s, residual.as_ptr().add(at), count));
                    }
                    store_large(s, out.as_mut_ptr(), v, count, uncached);
                }
            }
        }
    }
}

impl<T: Transform<I, O>, const I: usize, const O: usize> Kernel for OutputTransform<'_, T, I, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let vectors = vectors(self.runs, self.padded, S::LANES);
        for row in 0..self.rows {
            let epilogue = self.finish.epilogue(self.channel + row);
            for &(tile, runs) in &vectors {
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
                    let mut y = T::output(s, m);
                    for y in &mut y {
                        *y = epilogue.apply(s, *y);
                    }
                    self.write(s, [tile, self.channel + row, i], runs, T::interleave(s, y));
                }
            }
        }
        s.fence();
    }
}
