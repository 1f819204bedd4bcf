//! One pass of a network's spatial layers over a picture: whole or tile by tile, by whose norm statistics.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::{
    layers::{Conv2d, GroupNorm},
    ops::{Moments, Padding},
};

/// Sees intermediate activations by name.
pub type Observer<'a> = dyn FnMut(&str, &Tensor<4>) + 'a;

/// Mean and variance of every group norm of a pass, in the order of the network.
#[derive(Clone, Debug, Default)]
pub struct NormStatistics(Vec<Moments>);

/// How spatial layers go over their input, and what they leave behind.
///
/// A pass is used for one picture: the first layer starts at the first of the given statistics.
#[derive(Default)]
pub struct Pass<'a> {
    tile: Option<usize>,
    statistics: Statistics<'a>,
    observer: Option<&'a mut Observer<'a>>,
}

/// By what a group norm normalises.
#[derive(Default)]
enum Statistics<'a> {
    /// The input's own mean and variance.
    #[default]
    Own,
    /// The same, kept for later passes; the samples of a batch count as one picture.
    Record { statistics: NormStatistics, margin: Margin },
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

    /// Normalises by the statistics of the batch as if its samples were parts of one picture, and keeps them. Of parts
    /// with `side` pixels a side, `margin` pixels along each edge do not count, nor what becomes of them.
    pub fn recording(margin: usize, side: usize) -> Self {
        let statistics = NormStatistics::default();
        Self {
            statistics: Statistics::Record { statistics, margin: Margin { margin, side } },
            ..Self::default()
        }
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

    /// The statistics of a [`Pass::recording`]; empty for any other.
    pub fn into_statistics(self) -> NormStatistics {
        if let Statistics::Record { statistics, .. } = self.statistics {
            statistics
        } else {
            NormStatistics::default()
        }
    }

    /// Shows an activation to the observer, if there is one.
    pub(crate) fn observe(&mut self, name: &str, x: &Tensor<4>) {
        if let Some(observer) = &mut self.observer {
            observer(name, x);
        }
    }

    /// Whether anyone looks at intermediate activations.
    pub(crate) fn is_observed(&self) -> bool {
        self.observer.is_some()
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

    /// A convolution of stride 1 that keeps the size.
    pub(crate) fn conv(&mut self, x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
        self.over_tiles(x, conv, Window::same(conv), |x| x)
    }

    /// A 3x3 convolution of stride 2 with a row of zeros below and a column on the right: half the size, rounded down.
    pub(crate) fn downsample(&mut self, x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
        self.over_tiles(x, conv, Window { before: 0, after: 1, stride: 2 }, |x| x)
    }

    /// Twice the size by nearest neighbour, then a 3x3 convolution.
    pub(crate) fn upsample(&mut self, x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let Some(tile) = self.tile else { return conv.forward_upsampled(x, [2 * h, 2 * w]) };
        // A tile of the input with one more pixel on each side; of its enlargement that pixel's outer half is cut off.
        let mut canvas = Canvas::default();
        for [rows, columns] in tiles([2 * h, 2 * w], tile) {
            let [above, left] = [&rows, &columns].map(|side| (side.start / 2).saturating_sub(1));
            let below = (rows.end.div_ceil(2) + 1).min(h);
            let right = (columns.end.div_ceil(2) + 1).min(w);
            let part = x.clone().narrow(2, above, below - above).narrow(3, left, right - left);
            let part = conv.forward_upsampled(part, [2 * (below - above), 2 * (right - left)]);
            let part = part.narrow(2, rows.start - 2 * above, rows.len());
            let part = part.narrow(3, columns.start - 2 * left, columns.len());
            canvas.put(part, [2 * h, 2 * w], [rows, columns]);
        }
        canvas.into_tensor(x)
    }

    /// Moments that `norm` must use for `x`; `None` where it may compute them on its own.
    fn moments(&mut self, x: &Tensor<4>, norm: &GroupNorm) -> Option<Moments> {
        match &mut self.statistics {
            Statistics::Own => self.tile.map(|tile| moments_by_tiles(x, norm, tile)),
            Statistics::Record { statistics, margin } => {
                let counted = margin.without(x);
                let [n, c, h, w] = counted.dims();
                // The batch stands in the rows, so that its samples are pooled.
                let joined = counted.swap_dims(0, 1).reshape([1, c, n * h, w]);
                let moments = norm.moments(joined);
                statistics.0.push(moments.clone());
                Some(repeat(&moments, n))
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
        let Some(tile) = self.tile else {
            let Window { before, after, .. } = window;
            let padding = Padding { top: before, bottom: after, left: before, right: after };
            return conv.forward_padded(prepare(x), padding);
        };
        let size = [h, w].map(|side| side / window.stride);
        let mut canvas = Canvas::default();
        for [rows, columns] in tiles(size, tile) {
            let (vertical, top, bottom) = window.input(&rows, h);
            let (horizontal, left, right) = window.input(&columns, w);
            let part = x.clone().slice([0..x.dims()[0], 0..x.dims()[1], vertical, horizontal]);
            let part = conv.forward_padded(prepare(part), Padding { top, bottom, left, right });
            canvas.put(part, size, [rows, columns]);
        }
        canvas.into_tensor(x)
    }
}

/// The edges of a part of a picture that the missing surroundings have spoilt.
#[derive(Clone, Copy)]
struct Margin {
    margin: usize,
    side: usize,
}

impl Margin {
    /// `x`, some enlargement of the part, without its edges.
    fn without(self, x: &Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let [top, left] = [h, w].map(|size| self.margin * size / self.side);
        x.clone().narrow(2, top, h - 2 * top).narrow(3, left, w - 2 * left)
    }
}

/// What a convolution reads round a pixel: `before` to `after` the pixel at `stride` times its place.
#[derive(Clone, Copy)]
struct Window {
    before: usize,
    after: usize,
    stride: usize,
}

impl Window {
    fn same(conv: &Conv2d) -> Self {
        let reach = conv.padding();
        Self { before: reach, after: reach, stride: 1 }
    }

    /// The input that `output` needs of a side of length `size`, and the zeros before and after it.
    fn input(self, output: &Range<usize>, size: usize) -> (Range<usize>, usize, usize) {
        let (first, last) = (output.start * self.stride, (output.end - 1) * self.stride + 1);
        // A stride of 2 reads the pixel after its own too.
        let end = last + self.after + (self.stride - 1);
        let before = self.before.saturating_sub(first);
        let after = end.saturating_sub(size);
        (first + before - self.before..end - after, before, after)
    }
}

/// Puts tiles together in one tensor, written in place.
#[derive(Default)]
struct Canvas(Option<Tensor<4>>);

impl Canvas {
    fn put(&mut self, part: Tensor<4>, size: [usize; 2], [rows, columns]: [Range<usize>; 2]) {
        let [n, c, _, _] = part.dims();
        let whole = self.0.take();
        let whole = whole.unwrap_or_else(|| Tensor::zeros([n, c, size[0], size[1]], &part.device()));
        self.0 = Some(whole.slice_assign([0..n, 0..c, rows, columns], part));
    }

    /// The picture; `empty` where no tile was put.
    fn into_tensor(self, empty: Tensor<4>) -> Tensor<4> {
        self.0.unwrap_or(empty)
    }
}

/// Rows and columns of each tile of a picture.
fn tiles([height, width]: [usize; 2], tile: usize) -> impl Iterator<Item = [Range<usize>; 2]> {
    let spans = move |side: usize| (0..side).step_by(tile).map(move |start| start..(start + tile).min(side));
    spans(height).flat_map(move |rows| spans(width).map(move |columns| [rows.clone(), columns]))
}

/// Moments of the whole of `x`, pooled from those of its tiles.
fn moments_by_tiles(x: &Tensor<4>, norm: &GroupNorm, tile: usize) -> Moments {
    let [n, c, h, w] = x.dims();
    let mut pooled: Option<(Moments, f64)> = None;
    for [rows, columns] in tiles([h, w], tile) {
        let count = (rows.len() * columns.len()) as f64;
        let moments = norm.moments(x.clone().slice([0..n, 0..c, rows, columns]));
        pooled = Some(match pooled {
            None => (moments, count),
            Some((before, counted)) => {
                let share = count / (counted + count);
                let step = moments.mean - before.mean.clone();
                let mean = before.mean + step.clone() * share;
                let within = before.variance * (1.0 - share) + moments.variance * share;
                let variance = within + step.square() * (share * (1.0 - share));
                (Moments { mean, variance }, counted + count)
            }
        });
    }
    pooled.map_or_else(|| norm.moments(x.clone()), |(moments, _)| moments)
}

/// The moments of one picture for each of `n` samples.
fn repeat(moments: &Moments, n: usize) -> Moments {
    let groups = moments.mean.dims()[1];
    let each = |x: &Tensor<2>| x.clone().expand([n, groups]);
    Moments { mean: each(&moments.mean), variance: each(&moments.variance) }
}
