//! The autoencoder over large pictures: tile by tile where pictures are large, whole where latents are small.
//!
//! Layers at the size of the latent see the whole picture, but attention looks at no more than [`MOST_KEYS`] places. The
//! layers above run in tiles that fade into each other; a tile alone does not know what the group norms of the whole
//! picture would see, so their statistics come from samples cut evenly out of the picture at full resolution: all kinds of
//! content and all frequencies count. Memory beside the latent follows the tile.

use std::ops::Range;

use burn::tensor::Tensor;
use gendr_image::{TileOptions, TilePlan, Window};
use gendr_model::{AutoencoderKl, Counted, NormStatistics, Pass, Posterior, join_tiles};

use crate::{Error, Result, plan::windows};

/// Places that attention looks at: all of a picture of 1024x1024.
const MOST_KEYS: usize = 128 * 128;
/// Samples along each side of the picture: many small ones see more of it than few large ones.
const SAMPLES: usize = 16;
/// Side of what counts of a sample, in pixels.
const SAMPLE: usize = 8;
/// Pixels round that which are computed and do not count.
const SAMPLE_MARGIN: usize = 24;
/// Pixels of all samples together.
pub(crate) const SAMPLED_PIXELS: usize = (SAMPLES * (SAMPLE + 2 * SAMPLE_MARGIN)).pow(2);
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
        let outer = |picture, pass: &mut Pass| self.autoencoder.encode_outer(picture, pass);
        let work = Work { tile: self.tile, input: factor, unit: factor, output: 1 };
        let x = work.run(picture, outer, tell)?;
        let moments = self.autoencoder.encode_inner(x, &mut Pass::sparse(MOST_KEYS));
        Ok(self.autoencoder.scale(Posterior::from_moments(moments).mean))
    }

    /// The picture of a latent `[1, c, h, w]` that is neither scaled nor shifted, about [-1, 1]; `tell` as for
    /// [`FastVae::encode`].
    pub(crate) fn decode(
        &self,
        latent: Tensor<4>,
        tell: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Tensor<4>> {
        let factor = self.autoencoder.factor();
        let x = self.autoencoder.decode_inner(latent, &mut Pass::sparse(MOST_KEYS));
        let outer = |x, pass: &mut Pass| self.autoencoder.decode_outer(x, pass);
        let work = Work { tile: self.tile, input: 1, unit: factor, output: factor };
        work.run(&x, outer, tell)
    }
}

/// Tiles of one half of the autoencoder. Places are those of the latent.
struct Work {
    /// Side of a tile in pixels of the picture.
    tile: usize,
    /// Sides of the input for one place.
    input: usize,
    /// Pixels of the picture for one place.
    unit: usize,
    /// Sides of the output for one place.
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
        let places = [h, w].map(|side| side / self.input);
        let tile = self.tile / self.unit;
        let size = places.map(|side| side * self.output);
        let overlap = tile / OVERLAP * self.output;
        let options = TileOptions {
            tile: tile * self.output,
            overlap,
            multiple: self.output,
            window: Window::RaisedCosine,
        };
        let plan = TilePlan::new(size[1], size[0], options)?;
        let (total, mut done) = (plan.count(), 0);
        let statistics = self.statistics(x, places, &network);
        let picture = join_tiles(size, windows(&plan), |window| {
            let rows = window.y / self.output..(window.y + window.rows.len()) / self.output;
            let columns = window.x / self.output..(window.x + window.columns.len()) / self.output;
            let tile = Tile::new(rows, columns, MARGIN / self.unit, places);
            let output = network(tile.cut(x, self.input), &mut Pass::given(&statistics));
            done += 1;
            tell(done, total)?;
            Ok::<_, Error>(tile.core(output, self.output))
        })?;
        picture.ok_or_else(|| Error::argument("a picture without pixels"))
    }

    /// What the group norms of `network` see in samples of the whole picture.
    fn statistics(
        &self,
        x: &Tensor<4>,
        places: [usize; 2],
        network: impl Fn(Tensor<4>, &mut Pass) -> Tensor<4>,
    ) -> NormStatistics {
        let margin = SAMPLE_MARGIN / self.unit;
        let sides = places.map(|length| ((SAMPLE / self.unit).max(1) + 2 * margin).min(length));
        let spans = |axis: usize| {
            let (length, side) = (places[axis], sides[axis]);
            (0..SAMPLES).map(move |i| {
                let middle = (2 * i + 1) * length / (2 * SAMPLES);
                let start = middle.saturating_sub(side / 2).min(length - side);
                start..start + side
            })
        };
        let parts = spans(0).flat_map(|rows| {
            spans(1).map(move |columns| narrow(x.clone(), &[rows.clone(), columns], self.input))
        });
        let [rows, columns] = sides.map(|side| margin.min(side / 4)..side - margin.min(side / 4));
        let mut pass = Pass::recording(Counted { of: sides, rows, columns });
        network(Tensor::cat(parts.collect(), 0), &mut pass);
        pass.into_statistics()
    }
}

/// A tile and the margin round it that the picture has.
struct Tile {
    /// Rows and columns with the margin.
    outer: [Range<usize>; 2],
    /// Rows and columns of the tile inside that.
    inner: [Range<usize>; 2],
}

impl Tile {
    fn new(rows: Range<usize>, columns: Range<usize>, margin: usize, places: [usize; 2]) -> Self {
        let outer = |range: &Range<usize>, side: usize| {
            range.start.saturating_sub(margin)..(range.end + margin).min(side)
        };
        let outer = [outer(&rows, places[0]), outer(&columns, places[1])];
        let inner =
            |range: Range<usize>, outer: &Range<usize>| range.start - outer.start..range.end - outer.start;
        let inner = [inner(rows, &outer[0]), inner(columns, &outer[1])];
        Self { outer, inner }
    }

    fn cut(&self, x: &Tensor<4>, scale: usize) -> Tensor<4> {
        narrow(x.clone(), &self.outer, scale)
    }

    fn core(&self, output: Tensor<4>, scale: usize) -> Tensor<4> {
        narrow(output, &self.inner, scale)
    }
}

fn narrow(x: Tensor<4>, [rows, columns]: &[Range<usize>; 2], scale: usize) -> Tensor<4> {
    let x = x.narrow(2, rows.start * scale, rows.len() * scale);
    x.narrow(3, columns.start * scale, columns.len() * scale)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::{Device, TensorData};
    use gendr_model::{AutoencoderKlConfig, Weights};

    use super::*;

    /// Random weights as torch draws them.
    fn autoencoder(device: &Device) -> AutoencoderKl {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vae/tiny");
        let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let network = AutoencoderKlConfig::from_json(&config).unwrap().init(device).unwrap();
        Weights::open(&folder.join("diffusion_pytorch_model.safetensors")).unwrap().load(network).unwrap()
    }

    fn picture(side: usize, device: &Device) -> Tensor<4> {
        let mut data = Vec::with_capacity(3 * side * side);
        for (channel, y, x) in (0..3).flat_map(|c| (0..side * side).map(move |i| (c, i / side, i % side))) {
            let (channel, y, x) = (channel as f32, y as f32, x as f32);
            let slope = 0.5 * (x / 137.0 + channel).sin() * (y / 153.0).cos();
            let edge =
                if ((x - 240.0).hypot(y - 250.0) as usize / 124).is_multiple_of(2) { 0.2 } else { -0.2 };
            data.push(slope + edge + 0.1 * (x * 1.7 + y * 0.9).sin());
        }
        Tensor::from_data(TensorData::new(data, [1, 3, side, side]), device)
    }

    fn mean_difference(a: &Tensor<4>, b: &Tensor<4>) -> f32 {
        (a.clone() - b.clone()).abs().mean().into_scalar()
    }

    #[test]
    fn either_half_is_close_to_the_whole() {
        let device = Device::flex();
        let (autoencoder, picture) = (autoencoder(&device), picture(1024, &device));
        let fast = FastVae { autoencoder: &autoencoder, tile: 512 };
        let whole = autoencoder.scale(autoencoder.encode(picture.clone(), &mut Pass::whole()).mean);
        let latent = fast.encode(&picture, |_, _| Ok(())).unwrap();
        let spread: f32 =
            (whole.clone() - whole.clone().mean().into_scalar::<f32>()).abs().mean().into_scalar();
        let difference = mean_difference(&latent, &whole);
        assert!(difference < 0.03 * spread, "latents differ by {difference}, spread {spread}");

        let latent = autoencoder.unscale(whole);
        let whole = autoencoder.decode(latent.clone(), &mut Pass::whole());
        let decoded = fast.decode(latent, |_, _| Ok(())).unwrap();
        // Pictures span 2.
        let difference = mean_difference(&decoded, &whole) / 2.0;
        assert!(difference < 1.0 / 255.0, "pictures differ by {difference}");
    }
}
