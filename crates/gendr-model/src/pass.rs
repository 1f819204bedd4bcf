//! One pass of a network's spatial layers over a picture: whole or tile by tile, by whose norm statistics.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};

use crate::{
    layers::{Conv2d, GroupNorm},
    ops::{self, Moments, Padding},
};

/// Sees intermediate activations by name.
pub type Observer<'a> = dyn FnMut(&str, &Tensor<4>) + 'a;

/// Hears of multiply-adds that are done, and says whether to go on.
pub type Watch<'a> = dyn Fn(u64) -> bool + 'a;

/// Side of the squares of pixels that look at one window.
const ATTENDING: usize = 16;

/// Mean and variance of every group norm of a pass, in the order of the network.
#[derive(Clone, Debug, Default)]
pub struct NormStatistics(Vec<Moments>);

/// How spatial layers go over their input, and what they leave behind.
///
/// A pass is used for one picture: the first layer starts at the first of the given statistics.
#[derive(Default)]
pub struct Pass<'a> {
    tile: Option<usize>,
    most_keys: Option<usize>,
    window: Option<usize>,
    statistics: Statistics<'a>,
    observer: Option<&'a mut Observer<'a>>,
    watch: Option<&'a Watch<'a>>,
    stopped: bool,
}

/// By what a group norm normalises.
#[derive(Default)]
enum Statistics<'a> {
    /// The input's own mean and variance.
    #[default]
    Own,
    /// The same, kept for later passes; the samples of a batch count as one picture.
    Record { statistics: NormStatistics, counted: Counted },
    /// Those of another pass, from `next` on.
    Given { statistics: &'a NormStatistics, next: usize },
}

impl<'a> Pass<'a> {
    /// Every layer takes the whole picture at once.
    pub fn whole() -> Self {
        Self::default()
    }

    /// Every layer takes tiles of `tile` x `tile` output pixels with the surroundings they need: the result is that of
    /// [`Pass::whole`] up to rounding, temporary memory that of a tile.
    pub fn tiled(tile: usize) -> Self {
        Self { tile: Some(tile.max(1)), ..Self::default() }
    }

    /// The same, but attention of every pixel to every pixel looks, in a layer of more than `side` x `side` of them, only at
    /// the `side` x `side` round it: its work then follows the size of the picture, not the square of it.
    #[must_use]
    pub fn within(self, side: usize) -> Self {
        Self { window: Some(side.max(ATTENDING)), ..self }
    }

    /// As [`Pass::whole`], but attention of every pixel to every pixel looks at no more than `most_keys` of them, evenly
    /// spread: its work then follows the size of the picture, not the square of it.
    pub fn sparse(most_keys: usize) -> Self {
        Self { most_keys: Some(most_keys.max(1)), ..Self::default() }
    }

    /// Normalises by the statistics of the batch as if its samples were parts of one picture, and keeps them.
    pub fn recording(counted: Counted) -> Self {
        let statistics = NormStatistics::default();
        Self { statistics: Statistics::Record { statistics, counted }, ..Self::default() }
    }

    /// Normalises by the statistics of another pass of the same network.
    pub fn given(statistics: &'a NormStatistics) -> Self {
        Self { statistics: Statistics::Given { statistics, next: 0 }, ..Self::default() }
    }

    /// Shows intermediate activations to `observer`.
    #[must_use]
    pub fn observed(self, observer: &'a mut Observer<'a>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Tells `watch` of the work as it is done. Once that says no, the layers left are passed over, and what comes out means
    /// nothing.
    #[must_use]
    pub fn watched(self, watch: &'a Watch<'a>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// The statistics of a [`Pass::recording`]; empty for any other.
    pub fn into_statistics(self) -> NormStatistics {
        match self.statistics {
            Statistics::Record { statistics, .. } => statistics,
            Statistics::Own | Statistics::Given { .. } => NormStatistics::default(),
        }
    }

    /// Shows an activation to the observer, if there is one.
    pub(crate) fn observe(&mut self, name: &str, x: &Tensor<4>) {
        if let Some(observer) = &mut self.observer {
            observer(name, x);
        }
    }

    /// Whether the watch said no.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Tells the watch of work done.
    pub(crate) fn done(&mut self, multiply_adds: u64) {
        if let Some(watch) = self.watch {
            self.stopped |= !watch(multiply_adds);
        }
    }

    /// Multi-head attention of the pixels of `[n, h · w, c]` to each other, or to those round them.
    pub(crate) fn attention(
        &mut self,
        [query, key, value]: [Tensor<3>; 3],
        heads: usize,
        [h, w]: [usize; 2],
    ) -> Tensor<3> {
        let [n, _, c] = query.dims();
        let work = |queries: usize| 2 * queries as u64 * (h * w * c) as u64;
        let Some(side) = self.window.filter(|side| h * w > side * side) else {
            let y = ops::attention(query, key, value, heads);
            self.done(work(h * w));
            return y;
        };
        let [query, key, value] = [query, key, value].map(|x| x.reshape([n, h, w, c]));
        let part = |x: &Tensor<4>, rows: &Range<usize>, columns: &Range<usize>| {
            let part = x.clone().slice([0..n, rows.clone(), columns.clone(), 0..c]);
            part.reshape([n, rows.len() * columns.len(), c])
        };
        let mut y = Tensor::<4>::zeros([n, h, w, c], &query.device());
        for [rows, columns] in tiles([h, w], ATTENDING) {
            if self.stopped {
                break;
            }
            let (near, beside) = (around(&rows, side, h), around(&columns, side, w));
            let [key, value] = [&key, &value].map(|x| part(x, &near, &beside));
            let seen = ops::attention(part(&query, &rows, &columns), key, value, heads);
            let seen = seen.reshape([n, rows.len(), columns.len(), c]);
            self.done(work(rows.len() * columns.len()));
            y = y.slice_assign([0..n, rows, columns, 0..c], seen);
        }
        y.reshape([n, h * w, c])
    }

    /// The pixels that attention of every pixel to every pixel looks at.
    pub(crate) fn keys(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let Some(most) = self.most_keys.filter(|&most| h * w > most) else { return x };
        let step = ((h * w) as f64 / most as f64).sqrt().ceil() as usize;
        let places = |side: usize| {
            let places: Vec<i64> = (step / 2..side).step_by(step).map(|place| place as i64).collect();
            let count = places.len();
            Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &x.device())
        };
        let (rows, columns) = (places(h), places(w));
        x.select(2, rows).select(3, columns)
    }

    /// A group norm.
    pub(crate) fn norm(&mut self, x: Tensor<4>, norm: &GroupNorm) -> Tensor<4> {
        let moments = self.moments(&x, norm);
        norm.apply(x, moments.as_ref(), false)
    }

    /// Norm, SiLU, convolution of stride 1.
    pub(crate) fn norm_silu_conv(&mut self, x: Tensor<4>, norm: &GroupNorm, conv: &Conv2d) -> Tensor<4> {
        let moments = self.moments(&x, norm);
        self.over_tiles(x, conv, Window::same(conv), |x| norm.apply(x, moments.as_ref(), true))
    }

    /// Norm, SiLU, convolution of stride 1, plus `residual`.
    pub(crate) fn norm_silu_conv_added(
        &mut self,
        x: Tensor<4>,
        norm: &GroupNorm,
        conv: &Conv2d,
        residual: Tensor<4>,
    ) -> Tensor<4> {
        if self.tile.is_some() || self.stopped {
            return residual + self.norm_silu_conv(x, norm, conv);
        }
        let [_, _, h, w] = x.dims();
        let moments = self.moments(&x, norm);
        let y = conv.forward_added(norm.apply(x, moments.as_ref(), true), 1.0, residual);
        self.done(conv.multiply_adds(h * w));
        y
    }

    /// The norm, SiLU and convolution that end a network; the observer sees the norm's output as `name`.
    pub(crate) fn last(&mut self, x: Tensor<4>, norm: &GroupNorm, conv: &Conv2d, name: &str) -> Tensor<4> {
        if self.observer.is_none() {
            return self.norm_silu_conv(x, norm, conv);
        }
        // A step of its own: the fused one has no value between norm and SiLU.
        let normed = self.norm(x, norm);
        self.observe(name, &normed);
        self.conv(ops::silu(normed), conv)
    }

    /// A convolution of stride 1 that keeps the size.
    pub(crate) fn conv(&mut self, x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
        self.over_tiles(x, conv, Window::same(conv), |x| x)
    }

    /// A 3x3 convolution of stride 2 with a row of zeros below and a column on the right: half the size, rounded down.
    pub(crate) fn downsample(&mut self, x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
        self.over_tiles(x, conv, Window { before: 0, after: 1, stride: 2, kernel: 3 }, |x| x)
    }

    /// A 3x3 convolution of stride 2 with zeros on all sides: half the size, rounded up.
    pub(crate) fn downsample_rounding_up(&mut self, x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
        self.over_tiles(x, conv, Window { before: 1, after: 1, stride: 2, kernel: 3 }, |x| x)
    }

    /// To `size`, twice the size or one less each way, by nearest neighbour, then a 3x3 convolution.
    pub(crate) fn upsample(&mut self, x: Tensor<4>, size: [usize; 2], conv: &Conv2d) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        if self.tile.is_none() && !self.stopped {
            let y = conv.forward_upsampled(x, size, None);
            self.done(conv.multiply_adds(size[0] * size[1]));
            return y;
        }
        // A tile of the input with one more pixel on each side; of its enlargement that pixel's outer half is cut off.
        let mut canvas = canvas(&x, conv, size);
        for [rows, columns] in tiles(size, self.tile.unwrap_or(usize::MAX)) {
            if self.stopped {
                break;
            }
            let [above, left] = [&rows, &columns].map(|side| (side.start / 2).saturating_sub(1));
            let below = (rows.end.div_ceil(2) + 1).min(h);
            let right = (columns.end.div_ceil(2) + 1).min(w);
            let part = x.clone().narrow(2, above, below - above).narrow(3, left, right - left);
            let enlarged = [(2 * below).min(size[0]) - 2 * above, (2 * right).min(size[1]) - 2 * left];
            let part = conv.forward_upsampled(part, enlarged, None);
            let part = part.narrow(2, rows.start - 2 * above, rows.len());
            let part = part.narrow(3, columns.start - 2 * left, columns.len());
            self.done(conv.multiply_adds(rows.len() * columns.len()));
            canvas = put(canvas, part, [rows, columns]);
        }
        canvas
    }

    /// Moments that `norm` must use for `x`; `None` where it may compute them on its own.
    fn moments(&mut self, x: &Tensor<4>, norm: &GroupNorm) -> Option<Moments> {
        match &mut self.statistics {
            Statistics::Own => self.tile.map(|tile| moments_by_tiles(x, norm, tile)),
            Statistics::Record { statistics, counted } => {
                let moments = norm.moments(counted.joined(x));
                statistics.0.push(moments.clone());
                Some(repeat(&moments, x.dims()[0]))
            }
            Statistics::Given { statistics, next } => {
                let moments = statistics.0.get(*next).map(|moments| repeat(moments, x.dims()[0]));
                *next += 1;
                moments
            }
        }
    }

    /// `conv` over `prepare` of the input.
    fn over_tiles(
        &mut self,
        x: Tensor<4>,
        conv: &Conv2d,
        window: Window,
        prepare: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let size = [h, w].map(|side| window.output(side));
        if self.tile.is_none() && !self.stopped {
            let Window { before, after, .. } = window;
            let padding = Padding { top: before, bottom: after, left: before, right: after };
            let y = conv.forward_padded(prepare(x), padding);
            self.done(conv.multiply_adds(size[0] * size[1]));
            return y;
        }
        let mut canvas = canvas(&x, conv, size);
        for [rows, columns] in tiles(size, self.tile.unwrap_or(usize::MAX)) {
            if self.stopped {
                break;
            }
            let (vertical, top, bottom) = window.input(&rows, h);
            let (horizontal, left, right) = window.input(&columns, w);
            let part = x.clone().slice([0..x.dims()[0], 0..x.dims()[1], vertical, horizontal]);
            let part = conv.forward_padded(prepare(part), Padding { top, bottom, left, right });
            self.done(conv.multiply_adds(rows.len() * columns.len()));
            canvas = put(canvas, part, [rows, columns]);
        }
        canvas
    }
}

/// The part of a tile that counts for statistics: without the edges that missing surroundings have spoilt, or that other
/// tiles count too. Rows and columns are places of any grid on which the tile has the size `of`; layers of other sizes count
/// the same part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Height and width of the tile.
    pub of: [usize; 2],
    /// Rows that count.
    pub rows: Range<usize>,
    /// Columns that count.
    pub columns: Range<usize>,
}

impl Counted {
    /// All of a tile.
    pub fn all() -> Self {
        Self { of: [1, 1], rows: 0..1, columns: 0..1 }
    }

    /// What counts of `x`, the batch in the rows so that its samples are pooled: `[n, c, h, w]` to `[1, c, n · h', w']`.
    fn joined(&self, x: &Tensor<4>) -> Tensor<4> {
        let [n, c, h, w] = x.dims();
        let part = |range: &Range<usize>, of: usize, side: usize| {
            let start = (range.start * side / of).min(side - 1);
            start..(range.end * side / of).clamp(start + 1, side)
        };
        let (rows, columns) = (part(&self.rows, self.of[0], h), part(&self.columns, self.of[1], w));
        let [height, width] = [rows.len(), columns.len()];
        x.clone().slice([0..n, 0..c, rows, columns]).swap_dims(0, 1).reshape([1, c, n * height, width])
    }
}

/// What a convolution reads: for output `o`, `kernel` pixels from `o * stride - before` on, zeros outside the input, of
/// which there are `before` and `after`.
#[derive(Clone, Copy)]
struct Window {
    before: usize,
    after: usize,
    stride: usize,
    kernel: usize,
}

impl Window {
    fn same(conv: &Conv2d) -> Self {
        let reach = conv.padding();
        Self { before: reach, after: reach, stride: 1, kernel: 2 * reach + 1 }
    }

    /// Length of the output for a side of length `size`.
    fn output(self, size: usize) -> usize {
        (size + self.before + self.after).checked_sub(self.kernel).map_or(0, |rest| rest / self.stride + 1)
    }

    /// The input that `output` needs of a side of length `size`, and the zeros before and after it.
    fn input(self, output: &Range<usize>, size: usize) -> (Range<usize>, usize, usize) {
        let first = output.start * self.stride;
        let end = (output.end - 1) * self.stride + self.kernel - self.before;
        let before = self.before.saturating_sub(first);
        let after = end.saturating_sub(size);
        (first + before - self.before..end - after, before, after)
    }
}

/// Zeros in the place of what `conv` makes of `x`.
fn canvas(x: &Tensor<4>, conv: &Conv2d, [height, width]: [usize; 2]) -> Tensor<4> {
    Tensor::zeros([x.dims()[0], conv.weight.lazy_shape()[0], height, width], &x.device())
}

/// Writes a tile in its place.
fn put(canvas: Tensor<4>, part: Tensor<4>, [rows, columns]: [Range<usize>; 2]) -> Tensor<4> {
    let [n, c, _, _] = part.dims();
    canvas.slice_assign([0..n, 0..c, rows, columns], part)
}

/// Rows and columns of each tile of a picture.
fn tiles([height, width]: [usize; 2], tile: usize) -> impl Iterator<Item = [Range<usize>; 2]> {
    let spans = move |side: usize| {
        (0..side).step_by(tile).map(move |start| start..start.saturating_add(tile).min(side))
    };
    spans(height).flat_map(move |rows| spans(width).map(move |columns| [rows.clone(), columns]))
}

/// `side` places with `part` in their middle, or as many as there are; at the ends of `0..length` they move inwards.
fn around(part: &Range<usize>, side: usize, length: usize) -> Range<usize> {
    let side = side.min(length);
    let start = ((part.start + part.end) / 2).saturating_sub(side / 2).min(length - side);
    start..start + side
}

/// Moments of two parts together; `share` of the pixels belong to the second.
fn pooled(first: &Moments, second: Moments, share: f64) -> Moments {
    let step = second.mean - first.mean.clone();
    let mean = first.mean.clone() + step.clone() * share;
    let within = first.variance.clone() * (1.0 - share) + second.variance * share;
    Moments { mean, variance: within + step.square() * (share * (1.0 - share)) }
}

/// Moments of the whole of `x`, pooled from those of its tiles.
fn moments_by_tiles(x: &Tensor<4>, norm: &GroupNorm, tile: usize) -> Moments {
    let [n, c, h, w] = x.dims();
    let mut all: Option<(Moments, f64)> = None;
    for [rows, columns] in tiles([h, w], tile) {
        let count = (rows.len() * columns.len()) as f64;
        let moments = norm.moments(x.clone().slice([0..n, 0..c, rows, columns]));
        all = Some(match all {
            None => (moments, count),
            Some((before, counted)) => (pooled(&before, moments, count / (counted + count)), counted + count),
        });
    }
    all.map_or_else(|| norm.moments(x.clone()), |(moments, _)| moments)
}

/// The moments of one picture for each of `n` samples.
fn repeat(moments: &Moments, n: usize) -> Moments {
    let groups = moments.mean.dims()[1];
    let each = |x: &Tensor<2>| x.clone().expand([n, groups]);
    Moments { mean: each(&moments.mean), variance: each(&moments.variance) }
}
