//! Products of matrices and linear layers.

use crate::{
    gemm::{
        Block, DEPTH, Factors, LeftLayout, PackRightPanel, PackRightRows, ROWS, View, left_len, pack_left,
        packed_place, right_len,
    },
    math::gelu,
    scratch::{SharedMut, with_scratch},
    simd::{Kernel, Level, Simd, each_vector, load, store},
};
use rayon::prelude::*;
use std::ops::Range;

mod by_depth;
mod few_rows;
#[cfg(test)]
mod tests;

/// Result rows that one job computes, at most ...
const JOB_ROWS: usize = 512;
/// ... and where a small right matrix is packed for all: what a job reads stays in the second-level cache.
const SMALL_JOB_ROWS: usize = 64;
/// Floats of such a right matrix, at most.
const SMALL_RIGHT: usize = 1 << 19;
/// Result columns that one job computes, at most; a quarter of it is whole panels at every level.
const JOB_COLUMNS: usize = 192;
/// Columns up to which a left matrix that lies crosswise is read where it is.
const CROSSWISE_COLUMNS: usize = 96;
/// Floats up to which a right matrix is packed for all jobs.
const SHARED_RIGHT: usize = 4 << 20;
/// Jobs a thread, so that no thread waits long for the others.
const JOBS_A_THREAD: usize = 6;

/// Products of matrices, each `[rows, depth]` by `[depth, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatmulShape {
    /// Products.
    pub batch: usize,
    /// Rows of the left matrix and of the result.
    pub rows: usize,
    /// Columns of the right matrix and of the result.
    pub columns: usize,
    /// Columns of the left and rows of the right matrix.
    pub depth: usize,
    /// Whether the left matrices are stored as `[depth, rows]`.
    pub left_transposed: bool,
    /// Whether the right matrices are stored as `[columns, depth]`.
    pub right_transposed: bool,
}

impl MatmulShape {
    /// One product of row-major matrices.
    pub const fn new(rows: usize, columns: usize, depth: usize) -> Self {
        Self { batch: 1, rows, columns, depth, left_transposed: false, right_transposed: false }
    }

    /// Multiplications, twice.
    pub const fn flops(&self) -> usize {
        2 * self.batch * self.rows * self.columns * self.depth
    }

    fn left<'a>(&self, data: &'a [f32]) -> View<'a> {
        let (row_stride, column_stride) = if self.left_transposed { (1, self.rows) } else { (self.depth, 1) };
        View { data, row_stride, column_stride }
    }

    fn right<'a>(&self, data: &'a [f32]) -> View<'a> {
        let (row_stride, column_stride) =
            if self.right_transposed { (1, self.depth) } else { (self.columns, 1) };
        View { data, row_stride, column_stride }
    }
}

/// `output[n] = left[n] * right[n]`, all row-major.
///
/// # Panics
///
/// A slice does not have the length that the shape gives.
pub fn matmul(shape: &MatmulShape, left: &[f32], right: &[f32], output: &mut [f32]) {
    let &MatmulShape { batch, rows, columns, depth, .. } = shape;
    assert_eq!(left.len(), batch * rows * depth, "floats in the left matrices of {shape:?}");
    assert_eq!(right.len(), batch * depth * columns, "floats in the right matrices of {shape:?}");
    assert_eq!(output.len(), batch * rows * columns, "floats in the result of {shape:?}");
    if depth == 0 {
        return output.fill(0.0);
    }
    for n in 0..batch {
        let left = shape.left(&left[n * rows * depth..][..rows * depth]);
        let right = shape.right(&right[n * depth * columns..][..depth * columns]);
        let output = &mut output[n * rows * columns..][..rows * columns];
        let (level, factors) = (Level::current(), Factors::F32);
        Product { level, factors, rows, columns, depth, left, right, bias: None, residual: None }.run(output);
    }
}

/// A linear layer over `rows` vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Vectors (tokens).
    pub rows: usize,
    /// Floats in an input vector.
    pub in_features: usize,
    /// Floats in an output vector.
    pub out_features: usize,
}

impl LinearShape {
    fn check(&self, input: usize, weight: usize, output: usize) {
        assert!(self.in_features > 0 && self.out_features > 0, "an empty layer: {self:?}");
        assert_eq!(input, self.rows * self.in_features, "floats in the input of {self:?}");
        assert_eq!(weight, self.in_features * self.out_features, "floats in the weights of {self:?}");
        assert_eq!(output, self.rows * self.out_features, "floats in the output of {self:?}");
    }
}

/// `output = input * weight^T + bias`: `input` is `[rows, in_features]`, `weight` `[out_features, in_features]`.
///
/// # Panics
///
/// A slice does not have the length that the shape gives, or a feature count is zero.
pub fn linear(shape: &LinearShape, input: &[f32], weight: &[f32], bias: Option<&[f32]>, output: &mut [f32]) {
    linear_added(shape, input, weight, bias, None, output);
}

/// [`linear`] plus `residual`, which is like the output.
///
/// # Panics
///
/// As [`linear`].
pub fn linear_added(
    shape: &LinearShape,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    output: &mut [f32],
) {
    shape.check(input.len(), weight.len(), output.len());
    check_bias(bias, shape.out_features);
    assert!(
        residual.is_none_or(|residual| residual.len() == output.len()),
        "floats in the residual of {shape:?}"
    );
    Product { residual, ..layer(shape, input, weight, bias) }.run(output);
}

/// The gradient of a linear layer's input: `output_gradient * weight`.
///
/// # Panics
///
/// As [`linear`].
pub fn linear_backward_input(
    shape: &LinearShape,
    output_gradient: &[f32],
    weight: &[f32],
    input_gradient: &mut [f32],
) {
    shape.check(input_gradient.len(), weight.len(), output_gradient.len());
    let &LinearShape { rows, in_features, out_features } = shape;
    matmul(&MatmulShape::new(rows, in_features, out_features), output_gradient, weight, input_gradient);
}

/// The gradient of a linear layer's weights: `output_gradient^T * input`.
///
/// # Panics
///
/// As [`linear`].
pub fn linear_backward_weight(
    shape: &LinearShape,
    input: &[f32],
    output_gradient: &[f32],
    weight_gradient: &mut [f32],
) {
    shape.check(input.len(), weight_gradient.len(), output_gradient.len());
    let &LinearShape { rows, in_features, out_features } = shape;
    let product = MatmulShape { left_transposed: true, ..MatmulShape::new(out_features, in_features, rows) };
    matmul(&product, output_gradient, input, weight_gradient);
}

/// The gradient of a linear layer's bias: the sum of the rows of `output_gradient`.
///
/// # Panics
///
/// As [`linear`].
pub fn linear_backward_bias(shape: &LinearShape, output_gradient: &[f32], bias_gradient: &mut [f32]) {
    assert_eq!(output_gradient.len(), shape.rows * shape.out_features, "floats in the output of {shape:?}");
    assert_eq!(bias_gradient.len(), shape.out_features, "floats in the bias of {shape:?}");
    let level = Level::current();
    // Fixed runs of rows, so that the sum does not depend on the threads.
    let runs: Vec<Vec<f32>> = output_gradient
        .par_chunks(256 * shape.out_features)
        .map(|run| {
            let mut sums = vec![0.0; shape.out_features];
            level.run(AddRows { rows: run, sums: &mut sums });
            sums
        })
        .collect();
    for (feature, sum) in bias_gradient.iter_mut().enumerate() {
        *sum = runs.iter().map(|run| f64::from(run[feature])).sum::<f64>() as f32;
    }
}

/// A linear layer to twice `out_features`, then value times gelu(gate) of its two halves (GEGLU): `weight` is
/// `[2 * out_features, in_features]`, `bias` `[2 * out_features]`, `output` `[rows, out_features]`.
///
/// The halves themselves are never stored. Shazeer, "GLU Variants Improve Transformer" (2020).
///
/// # Panics
///
/// As [`linear`].
pub fn linear_geglu(
    shape: &LinearShape,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let &LinearShape { in_features, out_features, .. } = shape;
    shape.check(input.len(), weight.len() / 2, output.len());
    check_bias(bias, 2 * out_features);
    let half = |part: usize| {
        let bias = bias.map(|bias| &bias[part * out_features..][..out_features]);
        layer(shape, input, &weight[part * in_features * out_features..][..in_features * out_features], bias)
    };
    let (value_half, gate_half) = (half(0), half(1));
    if few_rows::suits(&value_half) {
        return few_rows::run(&value_half, Some(&gate_half), output);
    }
    let jobs = value_half.jobs();
    let shared = SharedMut::new(output);
    value_half.with_packed(&jobs, |value_packed| {
        gate_half.with_packed(&jobs, |gate_packed| {
            (0..jobs.count()).into_par_iter().for_each(|job| {
                let (rows, columns) = jobs.part(job);
                let len = rows.len() * columns.len();
                with_scratch(2 * len, |scratch| {
                    let (value, gate) = scratch.split_at_mut(len);
                    let part = |half: &Product<'_>, packed, to: &mut [f32]| {
                        half.part(packed, rows.clone(), columns.clone(), to.as_mut_ptr(), columns.len());
                    };
                    part(&value_half, value_packed, value);
                    part(&gate_half, gate_packed, gate);
                    let halves = value.chunks_exact(columns.len()).zip(gate.chunks_exact(columns.len()));
                    for (row, (value, gate)) in rows.zip(halves) {
                        // SAFETY: this job alone writes these columns of these rows.
                        let to = unsafe { shared.part(row * out_features + columns.start, columns.len()) };
                        value_half.level.run(Gate { value, gate, to });
                    }
                });
            });
        });
    });
}

fn check_bias(bias: Option<&[f32]>, out_features: usize) {
    if let Some(bias) = bias {
        assert_eq!(bias.len(), out_features, "floats in the bias");
    }
}

fn layer<'a>(
    shape: &LinearShape,
    input: &'a [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
) -> Product<'a> {
    let &LinearShape { rows, in_features, out_features } = shape;
    let left = View { data: input, row_stride: in_features, column_stride: 1 };
    let right = View { data: weight, row_stride: 1, column_stride: in_features };
    let (level, factors) = (Level::current(), Factors::current());
    let (columns, depth) = (out_features, in_features);
    Product { level, factors, rows, columns, depth, left, right, bias, residual: None }
}

/// `to = value * gelu(gate)`.
struct Gate<'a> {
    value: &'a [f32],
    gate: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.to.len();
        assert!(self.value.len() == len && self.gate.len() == len);
        for at in (0..len).step_by(S::LANES) {
            let count = (len - at).min(S::LANES);
            // SAFETY: `count` floats from `at` on lie inside the three slices.
            unsafe {
                let value = load(s, self.value.as_ptr().add(at), count);
                let gate = load(s, self.gate.as_ptr().add(at), count);
                store(s, self.to.as_mut_ptr().add(at), s.mul(value, gelu(s, gate)), count);
            }
        }
    }
}

/// How a result is shared out.
struct Jobs {
    rows: usize,
    columns: usize,
    rows_each: usize,
    columns_each: usize,
    column_parts: usize,
}

impl Jobs {
    /// Of `most_rows` at most. A job may pack its columns of the right matrix anew, so that rows are parted last.
    fn new(rows: usize, columns: usize, most_rows: usize) -> Self {
        let wanted = JOBS_A_THREAD * rayon::current_num_threads();
        let row_parts = rows.div_ceil(most_rows);
        let fitting = columns.div_ceil(wanted.div_ceil(row_parts)).next_multiple_of(JOB_COLUMNS / 4);
        let columns_each = fitting.min(JOB_COLUMNS);
        let column_parts = columns.div_ceil(columns_each);
        let row_parts = row_parts.max(wanted.div_ceil(column_parts));
        let rows_each = rows.div_ceil(row_parts).next_multiple_of(8).clamp(64, most_rows);
        Self { rows, columns, rows_each, columns_each, column_parts }
    }

    fn count(&self) -> usize {
        self.row_parts() * self.column_parts
    }

    /// Jobs that share their columns.
    fn row_parts(&self) -> usize {
        self.rows.div_ceil(self.rows_each)
    }

    fn part(&self, job: usize) -> (Range<usize>, Range<usize>) {
        let (row, column) =
            (job / self.column_parts * self.rows_each, job % self.column_parts * self.columns_each);
        (row..(row + self.rows_each).min(self.rows), column..(column + self.columns_each).min(self.columns))
    }
}

/// What of a product's matrices was packed for all jobs; what was not is empty.
#[derive(Clone, Copy)]
struct Packed<'a> {
    left: &'a [f32],
    right: &'a [f32],
}

/// `left * right + bias + residual`, the bias the same for all rows.
#[derive(Clone, Copy)]
struct Product<'a> {
    level: Level,
    factors: Factors,
    rows: usize,
    columns: usize,
    depth: usize,
    left: View<'a>,
    right: View<'a>,
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
}

impl Product<'_> {
    fn run(&self, output: &mut [f32]) {
        if few_rows::suits(self) {
            return few_rows::run(self, None, output);
        }
        let parts = by_depth::parts(self);
        if parts > 1 {
            return by_depth::run(self, parts, output);
        }
        let jobs = self.jobs();
        let shared = SharedMut::new(output);
        self.with_packed(&jobs, |packed| {
            (0..jobs.count()).into_par_iter().for_each(|job| {
                let (rows, columns) = jobs.part(job);
                let out = shared.address(rows.start * self.columns + columns.start);
                self.part(packed, rows, columns, out, self.columns);
            });
        });
    }

    fn jobs(&self) -> Jobs {
        let in_rows = self.left.column_stride == 1;
        let most_rows = if in_rows && self.right_len() <= SMALL_RIGHT { SMALL_JOB_ROWS } else { JOB_ROWS };
        Jobs::new(self.rows, self.columns, most_rows)
    }

    fn right_len(&self) -> usize {
        right_len(self.level, self.columns, self.depth)
    }

    /// Packs what several jobs use.
    fn with_packed(&self, jobs: &Jobs, work: impl FnOnce(Packed<'_>)) {
        // A left matrix that lies crosswise is packed if enough columns repay that, a right one that several jobs would pack.
        let left_len = if self.left.column_stride == 1 || self.columns <= CROSSWISE_COLUMNS {
            0
        } else {
            left_len(self.rows, self.depth)
        };
        let right_len = match self.right_len() {
            len if jobs.row_parts() > 1 && len <= SHARED_RIGHT => len,
            _ => 0,
        };
        with_scratch(left_len + right_len, |packed| {
            let (left, right) = packed.split_at_mut(left_len);
            left.par_chunks_exact_mut(ROWS * self.depth).enumerate().for_each(|(panel, to)| {
                pack_left(self.level, self.left, panel * ROWS, self.rows - panel * ROWS, self.depth, to);
            });
            // Rows that are whole in memory are read some panels at a time.
            let most = if self.right.column_stride == 1 { JOB_COLUMNS } else { self.level.panel() };
            right.par_chunks_mut(most * self.depth).enumerate().for_each(|(index, to)| {
                let columns = index * most..((index + 1) * most).min(self.columns);
                pack_right(self.level, self.right, columns, self.depth, to);
            });
            work(Packed { left: &*left, right: &*right });
        });
    }

    /// Some rows and columns of the result, to rows `out_stride` floats apart.
    fn part(
        &self,
        packed: Packed<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
        out: *mut f32,
        out_stride: usize,
    ) {
        let level = self.level;
        let added = self.bias.is_some() || self.residual.is_some();
        if added {
            level.run(Start { product: self, rows: rows.clone(), columns: columns.clone(), out, out_stride });
        }
        let own_len =
            if packed.right.is_empty() { right_len(level, columns.len(), self.depth.min(DEPTH)) } else { 0 };
        with_scratch(own_len, |own| {
            for step in (0..self.depth).step_by(DEPTH) {
                let depth = (self.depth - step).min(DEPTH);
                let (right, right_depth, right_from) = if packed.right.is_empty() {
                    let from = &self.right.data[step * self.right.row_stride..];
                    pack_right(level, View { data: from, ..self.right }, columns.clone(), depth, own);
                    (&*own, depth, 0)
                } else {
                    (&packed.right[columns.start * self.depth..], self.depth, step)
                };
                let View { data, row_stride: row, column_stride } = self.left;
                let (left, left_layout) = if packed.left.is_empty() {
                    let from = &data[rows.start * row + step * column_stride..];
                    (from, LeftLayout::Plain { row, step: column_stride })
                } else {
                    let from = &packed.left[packed_place(rows.start, step, self.depth)..];
                    (from, LeftLayout::Packed(self.depth))
                };
                let block = Block {
                    rows: rows.len(),
                    columns: columns.len(),
                    depth,
                    left: left.as_ptr(),
                    left_layout,
                    right: right.as_ptr(),
                    right_depth,
                    right_from,
                    out,
                    out_stride,
                    accumulate: step > 0 || added,
                };
                self.factors.multiply(level, block);
            }
        });
    }
}

/// Writes what is added to some rows and columns of a product, to rows `out_stride` floats apart; the job that runs it owns those.
struct Start<'a> {
    product: &'a Product<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    out: *mut f32,
    out_stride: usize,
}

impl Kernel for Start<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { product, rows, columns, out, out_stride } = self;
        let bias = product.bias.map(|bias| &bias[columns.clone()]);
        for (index, row) in rows.enumerate() {
            let residual =
                product.residual.map(|residual| &residual[row * product.columns..][columns.clone()]);
            each_vector::<S>(columns.len(), |at, count| {
                // SAFETY: `count` floats from `at` on lie inside the slices, and inside the row by the promise above.
                unsafe {
                    let read = |of: Option<&[f32]>| of.map(|of| load(s, of.as_ptr().add(at), count));
                    let sum = match (read(bias), read(residual)) {
                        (Some(bias), Some(residual)) => s.add(bias, residual),
                        (bias, residual) => bias.or(residual).unwrap_or(s.zero()),
                    };
                    store(s, out.add(index * out_stride + at), sum, count);
                }
            });
        }
    }
}

/// Adds rows as long as `sums` to it.
struct AddRows<'a> {
    rows: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.rows.chunks_exact(self.sums.len()) {
            each_vector::<S>(row.len(), |at, count| {
                // SAFETY: `count` floats from `at` on lie inside both.
                unsafe {
                    let sum = self.sums.as_mut_ptr().add(at);
                    store(s, sum, s.add(load(s, sum, count), load(s, row.as_ptr().add(at), count)), count);
                }
            });
        }
    }
}

/// Packs some columns of a right matrix of `depth` rows.
pub(crate) fn pack_right(level: Level, view: View<'_>, columns: Range<usize>, depth: usize, to: &mut [f32]) {
    if view.column_stride == 1 {
        let (column, columns) = (columns.start, columns.len());
        return level.run(PackRightRows { view, column, columns, depth, panels: to });
    }
    let panel = level.panel();
    for column in (0..columns.len()).step_by(panel) {
        let width = (columns.len() - column).min(panel);
        let to = &mut to[column * depth..][..width.next_multiple_of(level.lanes()) * depth];
        level.run(PackRightPanel { view, column: columns.start + column, columns: width, depth, panel: to });
    }
}
