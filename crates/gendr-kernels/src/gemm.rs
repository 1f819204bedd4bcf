//! The product of packed matrices, on which convolutions and linear layers rest.
//!
//! The left matrix is packed in panels of four rows (`[panel][depth][4]`), the right one in panels of three vectors
//! of columns (`[panel][depth][3 * LANES]`, the last panel as many whole vectors as it needs). One step of the inner loop
//! multiplies a broadcast left float with up to three vectors of the right panel.

mod bf16;

use crate::simd::{Kernel, Level, Simd, clear, copy, load, store};
pub use bf16::Factors;

/// Rows that are packed at once: the longest vector, so that they can be transformed with one row a lane.
pub(crate) const ROWS: usize = 16;

/// Rows in a packed left panel.
pub(crate) const QUAD: usize = 4;

/// Rows multiplied at once where the registers suffice.
const HALF: usize = 8;

/// Rows whose left matrix stays in the second-level cache while all columns go by.
const ROW_BLOCK: usize = 128;

/// How deep one pass over packed panels goes, so that a right panel and a left one stay in the nearest cache.
pub(crate) const DEPTH: usize = 256;

/// Where the rows of a left matrix lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LeftLayout {
    /// Packed panels of this depth.
    Packed(usize),
    /// Anywhere in memory: `row` floats from row to row, `step` from one step of the depth to the next.
    Plain { row: usize, step: usize },
}

/// `out (+)= left * right` for one block, in one thread.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) left: *const f32,
    pub(crate) left_layout: LeftLayout,
    /// First float of the first right panel at the first step of the depth ...
    pub(crate) right: *const f32,
    /// ... and the depth the panels were packed with, of which `right_from` steps are passed over.
    pub(crate) right_depth: usize,
    pub(crate) right_from: usize,
    pub(crate) out: *mut f32,
    pub(crate) out_stride: usize,
    /// Adds to what `out` holds instead of replacing it.
    pub(crate) accumulate: bool,
}

impl Block {
    /// Multiplies.
    ///
    /// # Safety
    /// The operands are readable and `out` writable as the fields say, by this thread alone.
    #[inline(always)]
    pub(crate) unsafe fn multiply<S: Simd>(&self, s: S) {
        let panel = 3 * S::LANES;
        let column_panels = self.columns.div_ceil(panel);
        for job in 0..self.rows.div_ceil(ROW_BLOCK) * column_panels {
            let (first, column) = (job / column_panels * ROW_BLOCK, job % column_panels * panel);
            let width = (self.columns - column).min(panel);
            let vectors = width.div_ceil(S::LANES);
            // SAFETY: the column panel lies inside the packed right matrix.
            let right =
                unsafe { self.right.add(column * self.right_depth + self.right_from * vectors * S::LANES) };
            let last = (first + ROW_BLOCK).min(self.rows);
            for row in (first..last).step_by(HALF) {
                let rows = (last - row).min(HALF);
                // SAFETY: row and column lie inside the block.
                unsafe {
                    let out = self.out.add(row * self.out_stride + column);
                    match self.left_layout {
                        LeftLayout::Packed(depth) => {
                            let left = self.left.add(row * depth);
                            self.panel::<S, true>(s, left, [depth, QUAD], right, out, rows, width, vectors);
                        }
                        LeftLayout::Plain { row: stride, step } => {
                            let left = self.left.add(row * stride);
                            self.panel::<S, false>(s, left, [stride, step], right, out, rows, width, vectors);
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn panel<S: Simd, const PACKED: bool>(
        &self,
        s: S,
        left: *const f32,
        strides: [usize; 2],
        right: *const f32,
        out: *mut f32,
        rows: usize,
        width: usize,
        vectors: usize,
    ) {
        // SAFETY: handed on from `multiply`; rows that are a multiple of four lie that many strides (plain rows) or depths (packed
        // ones) further on.
        unsafe {
            if S::WIDE_FILE && rows > 4 {
                return match vectors {
                    3 => self.tile::<S, PACKED, 8, 3>(s, left, strides, right, out, rows, width),
                    2 => self.tile::<S, PACKED, 8, 2>(s, left, strides, right, out, rows, width),
                    _ => self.tile::<S, PACKED, 8, 1>(s, left, strides, right, out, rows, width),
                };
            }
            if vectors == 1 && rows > 4 {
                return self.tile::<S, PACKED, 8, 1>(s, left, strides, right, out, rows, width);
            }
            let mut first = 0;
            while first < rows {
                let left = left.add(first * strides[0]);
                let out = out.add(first * self.out_stride);
                let rows = (rows - first).min(QUAD);
                match vectors {
                    3 => self.tile::<S, PACKED, 4, 3>(s, left, strides, right, out, rows, width),
                    2 => self.tile::<S, PACKED, 4, 2>(s, left, strides, right, out, rows, width),
                    _ => self.tile::<S, PACKED, 4, 1>(s, left, strides, right, out, rows, width),
                }
                first += QUAD;
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn tile<S: Simd, const PACKED: bool, const R: usize, const N: usize>(
        &self,
        s: S,
        mut left: *const f32,
        [stride, step]: [usize; 2],
        mut right: *const f32,
        out: *mut f32,
        rows: usize,
        width: usize,
    ) {
        let mut sums = [[s.zero(); N]; R];
        // SAFETY: `left` and `right` hold `depth` steps; only `rows` rows of `width` floats of `out` are touched.
        unsafe {
            if R == QUAD && N > 1 && (PACKED || rows == R) {
                let strides = [if PACKED { 1 } else { stride }, step];
                let next = if PACKED { left.wrapping_add(QUAD * stride) } else { left };
                let quad: [[S::V; N]; QUAD] = s.multiply_quad(self.depth, left, strides, next, right);
                sums.iter_mut().zip(quad).for_each(|(sums, quad)| *sums = quad);
            } else {
                // Rows that a block lacks repeat its last one and are not stored.
                let mut offsets = [0; R];
                for (r, offset) in offsets.iter_mut().enumerate() {
                    *offset =
                        if PACKED { r / QUAD * QUAD * stride + r % QUAD } else { r.min(rows - 1) * stride };
                }
                for _ in 0..self.depth {
                    let mut b = [s.zero(); N];
                    for (n, b) in b.iter_mut().enumerate() {
                        *b = s.load(right.add(n * S::LANES));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let a = s.splat(*left.add(offsets[r]));
                        for (sum, b) in sums.iter_mut().zip(b) {
                            *sum = s.mul_add(a, b, *sum);
                        }
                    }
                    left = left.add(step);
                    right = right.add(N * S::LANES);
                }
            }
            self.store_tile(s, sums, out, rows, width);
        }
    }

    /// Writes the sums of a tile, or adds them to what is there.
    ///
    /// # Safety
    /// `rows` rows of `width` floats of `out` are writable, by this thread alone.
    #[inline(always)]
    unsafe fn store_tile<S: Simd, const R: usize, const N: usize>(
        &self,
        s: S,
        mut sums: [[S::V; N]; R],
        out: *mut f32,
        rows: usize,
        width: usize,
    ) {
        // SAFETY: inside those rows.
        unsafe {
            let place = |r: usize, n: usize| out.wrapping_add(r * self.out_stride + n * S::LANES);
            // Plain loops over a whole tile keep the sums in registers.
            if rows == R && width == N * S::LANES {
                if self.accumulate {
                    for (r, sums) in sums.iter_mut().enumerate() {
                        for (n, sum) in sums.iter_mut().enumerate() {
                            *sum = s.add(*sum, s.load(place(r, n)));
                        }
                    }
                }
                for (r, sums) in sums.into_iter().enumerate() {
                    for (n, sum) in sums.into_iter().enumerate() {
                        s.store(place(r, n), sum);
                    }
                }
                return;
            }
            for (r, sums) in sums.into_iter().enumerate().take(rows) {
                for (n, sum) in sums.into_iter().enumerate() {
                    let (to, count) = (place(r, n), width.saturating_sub(n * S::LANES).min(S::LANES));
                    let sum = if self.accumulate { s.add(sum, load(s, to, count)) } else { sum };
                    store(s, to, sum, count);
                }
            }
        }
    }
}

impl Kernel for Block {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: promised where the block was built.
        unsafe { self.multiply(s) }
    }
}

/// A matrix in memory: `rows` and `columns` floats apart.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

/// Floats that a packed left matrix takes.
pub(crate) fn left_len(rows: usize, depth: usize) -> usize {
    rows.next_multiple_of(ROWS) * depth
}

/// Floats that a packed right matrix takes.
pub(crate) fn right_len(level: Level, columns: usize, depth: usize) -> usize {
    columns.next_multiple_of(level.lanes()) * depth
}

/// Where in packed left panels of depth `depth` the float of a row and a step of the depth lies.
pub(crate) fn packed_place(row: usize, step: usize, depth: usize) -> usize {
    row / QUAD * QUAD * depth + step * QUAD + row % QUAD
}

/// Packs up to [`ROWS`] rows from `row` on into panels; missing rows become zero.
pub(crate) fn pack_left(
    level: Level,
    view: View<'_>,
    row: usize,
    rows: usize,
    depth: usize,
    panels: &mut [f32],
) {
    let rows = rows.min(ROWS);
    if view.row_stride == 1 && rows == ROWS {
        let (from, stride) = (&view.data[row..], view.column_stride);
        return level.run(PackCrosswise { from, stride, depth, panels });
    }
    for (quad, panel) in panels.chunks_exact_mut(QUAD * depth).enumerate() {
        let (row, rows) = (row + quad * QUAD, rows.saturating_sub(quad * QUAD).min(QUAD));
        if rows < QUAD {
            panel.fill(0.0);
        }
        if view.row_stride == 1 {
            for (step, to) in panel.chunks_exact_mut(QUAD).enumerate().take(if rows > 0 { depth } else { 0 })
            {
                let from = row + step * view.column_stride;
                to[..rows].copy_from_slice(&view.data[from..from + rows]);
            }
        } else {
            for r in 0..rows {
                let source = view.data[(row + r) * view.row_stride..].iter().step_by(view.column_stride);
                for (to, &x) in panel[r..].iter_mut().step_by(QUAD).zip(source.take(depth)) {
                    *to = x;
                }
            }
        }
    }
}

/// [`pack_left`] where whole panels lie crosswise, `stride` floats from one step of the depth to the next.
struct PackCrosswise<'a> {
    from: &'a [f32],
    stride: usize,
    depth: usize,
    panels: &'a mut [f32],
}

impl Kernel for PackCrosswise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Steps lie too far apart for the processor to guess the next ones.
        const AHEAD: usize = 16;
        let Self { from, stride, depth, panels } = self;
        let (panels, _) = panels.as_chunks_mut::<QUAD>();
        for step in 0..depth {
            s.prefetch(from.as_ptr().wrapping_add((step + AHEAD) * stride));
            let (rows, _) = from[step * stride..][..ROWS].as_chunks::<QUAD>();
            for (panel, rows) in rows.iter().enumerate() {
                panels[panel * depth + step] = *rows;
            }
        }
    }
}

/// Packs a right matrix whose rows are whole in memory, row by row; missing columns up to a whole vector become zero.
pub(crate) struct PackRightRows<'a> {
    pub(crate) view: View<'a>,
    pub(crate) column: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) panels: &'a mut [f32],
}

impl Kernel for PackRightRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { view, column, columns, depth, panels } = self;
        assert!(panels.len() >= columns.next_multiple_of(S::LANES) * depth);
        for step in 0..depth {
            let row = &view.data[step * view.row_stride + column..][..columns];
            for first in (0..columns).step_by(3 * S::LANES) {
                let width = (columns - first).min(3 * S::LANES);
                let padded = width.next_multiple_of(S::LANES);
                // SAFETY: the columns lie inside the row, the step of the panel inside `panels`, see above.
                unsafe {
                    let to = panels.as_mut_ptr().add(first * depth + step * padded);
                    copy(s, row.as_ptr().add(first), to, width);
                    clear(s, to.add(width), padded - width);
                }
            }
        }
    }
}

/// Packs the columns of one right panel; missing columns up to a whole vector become zero.
pub(crate) struct PackRightPanel<'a> {
    pub(crate) view: View<'a>,
    pub(crate) column: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) panel: &'a mut [f32],
}

impl Kernel for PackRightPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { view, column, columns, depth, panel } = self;
        let width = columns.next_multiple_of(S::LANES);
        let whole_columns = if view.row_stride == 1 { columns / S::LANES * S::LANES } else { 0 };
        let whole_depth = depth / S::LANES * S::LANES;
        for first in (0..whole_columns).step_by(S::LANES) {
            for step in (0..whole_depth).step_by(S::LANES) {
                let from = &view.data[(column + first) * view.column_stride + step..];
                assert!(from.len() >= (S::LANES - 1) * view.column_stride + S::LANES);
                let to = &mut panel[step * width + first..(step + S::LANES - 1) * width + first + S::LANES];
                // SAFETY: both slices were just seen to hold the block.
                unsafe { s.transpose(from.as_ptr(), view.column_stride, to.as_mut_ptr(), width) };
            }
        }
        for step in 0..depth {
            let done = if step < whole_depth { whole_columns } else { 0 };
            for c in done..width {
                panel[step * width + c] = if c < columns {
                    view.data[step * view.row_stride + (column + c) * view.column_stride]
                } else {
                    0.0
                };
            }
        }
    }
}
