//! The autoencoder over pictures of any size, tile by tile: memory follows the tile, not the picture.
//!
//! A tile alone does not know what the group norms of the whole picture would see. Their statistics come from a pass over
//! samples cut evenly out of the picture at its full resolution, so that all kinds of content and all frequencies count.
//! Attention sees its tile and a margin. Tiles fade into each other.

use burn::tensor::Tensor;
use gendr_image::{TileOptions, TilePlan, Window};
use gendr_model::{AutoencoderKl, NormStatistics, Pass, TileWindow, join_tiles};

use crate::{Error, Result, plan::windows};

/// Samples along each side of the picture; each is this part of a tile a side, so that together they fill one tile.
const SAMPLES: usize = 4;
/// Edges of a sample, as a part of its side, that do not count: zeros were all they saw beyond.
const SAMPLE_MARGIN: usize = 8;
/// Pixels round a tile that are computed and thrown away.
pub(crate) const MARGIN: usize = 64;
/// Overlap of neighbouring tiles: this part of the tile's side.
const OVERLAP: usize = 4;

/// An autoencoder that works in tiles of `tile` x `tile` pixels, a multiple of its factor.
pub(crate) struct FastVae<'a> {
    pub(crate) autoencoder: &'a AutoencoderKl,
    pub(crate) tile: usize,
}

impl FastVae<'_> {
    /// The scaled latent (its mean) of pictures `[1, 3, h, w]` in [-1, 1]; `tell` hears of tiles done, of how many, and may
    /// stop the work.
    pub(crate) fn encode(
        &self,
        picture: &Tensor<4>,
        tell: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Tensor<4>> {
        let factor = self.autoencoder.factor();
        let encode =
            |picture, pass: &mut Pass| self.autoencoder.scale(self.autoencoder.encode(picture, pass).mean);
        let work = Work { tile: self.tile, margin: MARGIN, input: factor, unit: factor, output: 1 };
        work.run(picture, encode, tell)
    }

    /// The picture of a latent `[1, c, h, w]` that is neither scaled nor shifted, about [-1, 1]; `tell` as for
    /// [`FastVae::encode`].
    pub(crate) fn decode(
        &self,
        latent: &Tensor<4>,
        tell: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Tensor<4>> {
        let factor = self.autoencoder.factor();
        let decode = |latent, pass: &mut Pass| self.autoencoder.decode(latent, pass);
        let work = Work { tile: self.tile, margin: MARGIN, input: 1, unit: factor, output: factor };
        work.run(latent, decode, tell)
    }
}

/// Tiles of one half of the autoencoder. The grid is that of the latent.
struct Work {
    /// Side of a tile in pixels of the picture.
    tile: usize,
    /// Margin in pixels of the picture.
    margin: usize,
    /// Sides of the input for one place of the grid.
    input: usize,
    /// Pixels of the picture for one place of the grid.
    unit: usize,
    /// Sides of the output for one place of the grid.
    output: usize,
}

impl Work {
    fn run(
        &self,
        x: &Tensor<4>,
        network: impl Fn(Tensor<4>, &mut Pass) -> Tensor<4>,
        mut tell: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Tensor<4>> {
        let [_, _, h, w] = x.dims();
        let size = [h, w].map(|side| side / self.input * self.output);
        let tile = self.tile / self.unit * self.output;
        let overlap = (tile / OVERLAP).next_multiple_of(self.output);
        let options = TileOptions { tile, overlap, multiple: self.output, window: Window::RaisedCosine };
        let plan = TilePlan::new(size[1], size[0], options)?;
        let statistics = self.statistics(x, &network);
        let (total, mut done) = (plan.count(), 0);
        let joined = join_tiles(size, windows(&plan), |window| {
            let part = self.part(x, window, |part| network(part, &mut Pass::given(&statistics)));
            done += 1;
            tell(done, total)?;
            Ok::<_, Error>(part)
        })?;
        joined.ok_or_else(|| Error::argument("a picture without pixels"))
    }

    /// What the group norms of `network` see in samples of the whole picture.
    fn statistics(
        &self,
        x: &Tensor<4>,
        network: impl Fn(Tensor<4>, &mut Pass) -> Tensor<4>,
    ) -> NormStatistics {
        let [_, _, h, w] = x.dims();
        let side = self.tile / SAMPLES / self.unit;
        let [rows, columns] = [h, w].map(|length| side.clamp(1, length / self.input));
        let starts = |length: usize, sample: usize| {
            let places = length / self.input;
            (0..SAMPLES).map(move |i| {
                let middle = (2 * i + 1) * places / (2 * SAMPLES);
                middle.saturating_sub(sample / 2).min(places - sample) * self.input
            })
        };
        let samples = starts(h, rows).flat_map(|y| {
            starts(w, columns)
                .map(move |at| x.clone().narrow(2, y, rows * self.input).narrow(3, at, columns * self.input))
        });
        let mut pass = Pass::recording(1, SAMPLE_MARGIN);
        network(Tensor::cat(samples.collect(), 0), &mut pass);
        pass.into_statistics()
    }

    /// A tile of the output, computed with a margin of input round it.
    fn part(
        &self,
        x: &Tensor<4>,
        window: &TileWindow,
        network: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let margin = self.margin / self.unit;
        let span = |start: usize, length: usize, side: usize| {
            let (start, length) = (start / self.output, length / self.output);
            let first = start.saturating_sub(margin);
            let last = (start + length + margin).min(side / self.input);
            (first, last - first, start - first)
        };
        let (y, rows, above) = span(window.y, window.rows.len(), h);
        let (at, columns, left) = span(window.x, window.columns.len(), w);
        let input = x.clone().narrow(2, y * self.input, rows * self.input);
        let output = network(input.narrow(3, at * self.input, columns * self.input));
        let output = output.narrow(2, above * self.output, window.rows.len());
        output.narrow(3, left * self.output, window.columns.len())
    }
}
