//! What will be done to a picture, decided before it is done: sizes, tiles, memory.

mod by_rows;

use gendr_image::{Tile, TileOptions, TilePlan, Window};
use gendr_model::{Model, RestorationModel, TileWindow};
use serde::{Deserialize, Serialize};

use crate::{
    Error, RestoreOptions, Result, Stage, TILE_STEP, Tiling, VaeTiling, footprint::Footprint,
    options::LARGEST_TILE,
};

/// Sides of tiles that are tried, in pixels of the result, largest first.
const SIDES: [usize; 8] = [LARGEST_TILE, 768, 512, 384, 256, 192, 128, 64];
/// Largest result, in pixels, that the autoencoder treats exactly unless told otherwise.
const EXACT_PIXELS: usize = 1024 * 1024;
/// Side of the tiles in which a layer of the exact autoencoder is computed, in pixels.
const LAYER_TILE: usize = 256;
/// The same of a UNet, unless told otherwise.
const NETWORK_LAYER_TILE: usize = 512;
/// Places a side that a UNet's attention looks at where a larger picture is computed layer by layer: all of 1024x1024.
pub(crate) const ATTENTION_WINDOW: usize = 128;
/// Side of the tiles of the fast autoencoder, in pixels: with its margin as large as the samples it takes.
const FAST_TILE: usize = 768;
/// Tiles each way, at most, whose norm statistics stand for those of the picture.
const SAMPLES: usize = 2;
/// Tokens of a prompt.
const PROMPT_TOKENS: usize = 77;

/// The plan of one restoration. All sizes are width, height.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The size asked for.
    pub(crate) target: (usize, usize),
    /// The size at which the network works: the target, but never smaller than the input or the least enlargement that the
    /// model names, for a network that takes enlarged pictures; else the network's own multiple of the input.
    pub(crate) working: (usize, usize),
    /// The working size made up to whole steps of the network.
    pub(crate) padded: (usize, usize),
    /// Pixels a side of one place on the grid of tiles.
    pub(crate) grid: usize,
    /// Tiles on the grid.
    pub(crate) tiles: TilePlan,
    /// Side of the tiles and their overlap, in pixels.
    tile: (usize, usize),
    /// How the network goes over the picture.
    pub(crate) network: NetworkPass,
    /// How the autoencoder goes over the picture.
    pub(crate) vae: VaePass,
    /// Multiply-adds: encode, network, decode.
    work: [u64; 3],
    /// Bytes that it takes at most, beside the weights.
    pub(crate) bytes: u64,
}

/// How the network goes over the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkPass {
    /// All at once.
    Whole,
    /// Layer by layer in tiles of this many places a side, norm statistics those of the picture and attention to all of
    /// it, or of a large one to the surroundings: there is nothing to join.
    Layers(usize),
    /// One tile after the other through all layers, joined smoothly: memory follows the tile.
    Tiles,
}

/// Sizes that follow from the input's, all width, height: see [`Plan`].
struct Sizes {
    target: (usize, usize),
    working: (usize, usize),
    padded: (usize, usize),
}

impl Sizes {
    fn of(model: &Model, input: (usize, usize), options: &RestoreOptions) -> Result<Self> {
        let (networks, least) = (&model.networks, model.description.least_scale);
        let target = options.size.resolve(input.0, input.1)?;
        let working = match networks.native_scale() {
            None => (target.0.max(input.0 * least), target.1.max(input.1 * least)),
            Some(scale) => (input.0 * scale, input.1 * scale),
        };
        let multiple = networks.multiple();
        let padded = (working.0.next_multiple_of(multiple), working.1.next_multiple_of(multiple));
        Ok(Self { target, working, padded })
    }
}

/// How a picture was cut, so that it can be cut like that again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cutting {
    /// Number of tiles.
    pub tiles: usize,
    /// Side of the tiles in pixels of the result; none where the picture was not cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<usize>,
    /// Pixels that neighbouring tiles share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<usize>,
    /// How the autoencoder went over the picture; none for a model without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoencoder: Option<VaeTiling>,
}

/// How the autoencoder goes over the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VaePass {
    /// All at once.
    Whole,
    /// Layer by layer in tiles of this many pixels a side: the result is that of the whole.
    Layers(usize),
    /// In tiles of this many pixels a side: memory follows the tile.
    Fast(usize),
}

impl Plan {
    /// Plans the restoration of a picture of `input` pixels in at most `memory` bytes beside the weights.
    ///
    /// # Errors
    /// An argument error for options that make no sense for this model, a limit error, with the number of bytes needed,
    /// where the memory does not suffice.
    pub(crate) fn new(
        model: &Model,
        input: (usize, usize),
        options: &RestoreOptions,
        memory: u64,
    ) -> Result<Self> {
        let networks = &model.networks;
        let Sizes { target, working, padded } = Sizes::of(model, input, options)?;
        let cut = Cut::of(networks);
        let footprint = Footprint::new(model, padded, target);
        let (side, network) = cut.choose(options, padded, &footprint, memory)?;
        let overlap = if network == NetworkPass::Tiles { cut.overlap(side, options.overlap)? } else { 0 };
        let vae = vae_pass(options.vae_tiling, padded, &footprint, memory)?;
        let bytes = match network {
            NetworkPass::Layers(_) => footprint.network(padded.0, padded.1),
            NetworkPass::Whole | NetworkPass::Tiles => cut.needed(side, padded, &footprint),
        };
        Ok(Self {
            target,
            working,
            padded,
            grid: cut.grid,
            tiles: cut.plan(padded, side, overlap)?,
            tile: (side, overlap),
            network,
            vae,
            work: work(networks, padded, options.guidance),
            bytes: bytes.max(footprint.autoencoder(vae)),
        })
    }

    /// The picture as one tile.
    pub(crate) fn whole(&self) -> TileWindow {
        let side = |length: usize| vec![1.0; length / self.grid];
        TileWindow { y: 0, x: 0, rows: side(self.padded.1), columns: side(self.padded.0) }
    }

    /// Side of the tiles in pixels, no longer than the picture.
    pub(crate) fn tile_side(&self) -> usize {
        self.tile.0.min(self.padded.0.max(self.padded.1))
    }

    /// How the picture is cut, in the words of options.
    pub(crate) fn cutting(&self, has_autoencoder: bool) -> Cutting {
        let count = self.tiles.count();
        Cutting {
            tiles: count,
            side: (count > 1).then_some(self.tile.0),
            overlap: (self.network == NetworkPass::Tiles && count > 1).then_some(self.tile.1),
            autoencoder: has_autoencoder.then_some(match self.vae {
                VaePass::Whole => VaeTiling::Whole,
                VaePass::Layers(_) => VaeTiling::Layers,
                VaePass::Fast(_) => VaeTiling::Fast,
            }),
        }
    }

    /// The tiles as networks cut and join them.
    pub(crate) fn windows(&self) -> impl Iterator<Item = TileWindow> {
        windows(&self.tiles)
    }

    /// Tiles from all over the picture, all of one size, whose norm statistics stand for the picture's.
    pub(crate) fn samples(&self) -> Vec<TileWindow> {
        self.sample_numbers().into_iter().map(|index| window(self.tiles.tile(index))).collect()
    }

    fn sample_numbers(&self) -> Vec<usize> {
        let (columns, rows) = self.tiles.grid();
        let spread = |count: usize| {
            let samples = SAMPLES.min(count);
            (0..samples).map(move |i| (2 * i + 1) * count / (2 * samples))
        };
        let chosen = spread(rows).flat_map(|row| spread(columns).map(move |column| row * columns + column));
        let mut samples: Vec<usize> = chosen.collect();
        // The last of a row or column may be shorter than the others.
        let size = |index: usize| (self.tiles.rect(index).width, self.tiles.rect(index).height);
        let first = samples.first().copied().map(size);
        samples.retain(|&index| Some(size(index)) == first);
        samples
    }

    /// Multiply-adds of `stage`.
    pub(crate) fn work(&self, stage: Stage) -> u64 {
        self.work[stage as usize]
    }

    /// Share of the whole work that is finished when this share of `stage` is.
    pub(crate) fn fraction(&self, stage: Stage, share: f64) -> f64 {
        let before: u64 = self.work[..stage as usize].iter().sum();
        let total: u64 = self.work.iter().sum();
        (before as f64 + self.work[stage as usize] as f64 * share.min(1.0)) / total.max(1) as f64
    }
}

/// The tiles of a plan as networks cut and join them.
pub(crate) fn windows(tiles: &TilePlan) -> impl Iterator<Item = TileWindow> {
    tiles.tiles().map(window)
}

fn window(tile: Tile) -> TileWindow {
    TileWindow { y: tile.rect.y, x: tile.rect.x, rows: tile.rows, columns: tile.columns }
}

/// How pictures for a family of networks are cut.
struct Cut {
    /// Pixels a side of one place on the grid.
    grid: usize,
    /// Tiles begin at, and are, multiples of this many pixels.
    step: usize,
    /// Pixels a side of one place of the network's layers, for a network that can go layer by layer.
    layered: Option<usize>,
    /// A picture no longer than this many pixels a side is not cut if the memory allows: what attention takes grows with the square
    /// of its area, and without attention nothing is gained by cutting.
    uncut: usize,
    /// Overlap unless told otherwise: this share of the tile's side, and at most this many pixels.
    overlap: (usize, usize),
    /// Tiles each way that are normalised together.
    samples: usize,
}

impl Cut {
    fn of(networks: &RestorationModel) -> Self {
        let multiple = networks.multiple();
        match networks {
            // What a UNet makes of a place depends on all of its tile: neighbours fade into each other slowly.
            RestorationModel::Latent(_) | RestorationModel::Adc(_) => Self {
                grid: multiple,
                step: least_common_multiple(TILE_STEP, multiple),
                layered: Some(multiple),
                uncut: LARGEST_TILE,
                overlap: (4, 256),
                samples: SAMPLES,
            },
            RestorationModel::Pix(model) => Self {
                grid: 1,
                step: least_common_multiple(TILE_STEP, multiple),
                layered: Some(multiple),
                uncut: if model.unet.positive().has_attention() { LARGEST_TILE } else { usize::MAX },
                overlap: (4, 256),
                samples: SAMPLES,
            },
            RestorationModel::Rrdb(_) | RestorationModel::Compact(_) => {
                let scale = networks.native_scale().unwrap_or(1);
                let step = least_common_multiple(TILE_STEP, scale);
                Self { grid: 1, step, layered: None, uncut: LARGEST_TILE, overlap: (4, 128), samples: 1 }
            }
        }
    }

    /// The side of the tiles in pixels, and how the network goes over them.
    ///
    /// Layer by layer is better than one tile after the other, and quicker, as nothing is computed twice; but every
    /// activation of the whole picture must fit the memory. An overlap is asked for by who wants tiles to be joined.
    fn choose(
        &self,
        options: &RestoreOptions,
        padded: (usize, usize),
        footprint: &Footprint,
        memory: u64,
    ) -> Result<(usize, NetworkPass)> {
        let whole = padded.0.max(padded.1).next_multiple_of(self.step);
        let all = footprint.network(padded.0, padded.1);
        let uncut = if options.overlap.is_none() { self.uncut } else { LARGEST_TILE };
        let side = match options.tile {
            Tiling::Off => whole,
            Tiling::Size(side) if side.is_multiple_of(self.step) => side.min(whole),
            Tiling::Size(side) => {
                let step = self.step;
                return Err(Error::argument(format!(
                    "the tile must be a multiple of {step} for this model, not {side}"
                )));
            }
            Tiling::Auto if whole <= uncut && all <= memory => whole,
            Tiling::Auto => NETWORK_LAYER_TILE.next_multiple_of(self.step).min(whole),
        };
        match self.layered {
            Some(place) if side < whole && all <= memory && options.overlap.is_none() => {
                return Ok((side, NetworkPass::Layers(side / place)));
            }
            _ => {}
        }
        let side = if options.tile == Tiling::Auto {
            self.largest(uncut, padded, footprint, memory)?
        } else {
            let needed = self.needed(side, padded, footprint);
            if needed > memory {
                let error = footprint.refusal(needed, memory);
                return Err(error.with_hint("`--tile auto` chooses tiles that fit"));
            }
            side
        };
        Ok((side, if side < whole { NetworkPass::Tiles } else { NetworkPass::Whole }))
    }

    /// The largest side of tiles that fit the memory; at most `uncut` and the picture's.
    fn largest(
        &self,
        uncut: usize,
        padded: (usize, usize),
        footprint: &Footprint,
        memory: u64,
    ) -> Result<usize> {
        let whole = padded.0.max(padded.1).next_multiple_of(self.step);
        let sides = std::iter::once(uncut).chain(SIDES);
        let mut sides = sides.map(|side| side.min(whole).next_multiple_of(self.step));
        sides.find(|&side| self.needed(side, padded, footprint) <= memory).ok_or_else(|| {
            let least = SIDES[SIDES.len() - 1].min(whole).next_multiple_of(self.step);
            footprint.refusal(self.needed(least, padded, footprint), memory)
        })
    }

    /// Bytes that tiles take. Of a side that is cut, several tiles are in memory at once while norm statistics are taken.
    fn needed(&self, side: usize, padded: (usize, usize), footprint: &Footprint) -> u64 {
        let held = |length: usize| if side < length { (self.samples * side).min(length) } else { length };
        footprint.network(held(padded.0), held(padded.1))
    }

    fn overlap(&self, side: usize, asked: Option<usize>) -> Result<usize> {
        let (share, most) = self.overlap;
        let step = self.step;
        match asked {
            None => Ok((side / share).min(most) / step * step),
            // Tiles that fit the memory may be smaller than the overlap was meant for.
            Some(overlap) if overlap.is_multiple_of(step) => Ok(overlap.min(side / 2 / step * step)),
            Some(overlap) => Err(Error::argument(format!(
                "the overlap must be a multiple of {step} for this model, not {overlap}"
            ))),
        }
    }

    fn plan(&self, padded: (usize, usize), side: usize, overlap: usize) -> Result<TilePlan> {
        let options = TileOptions {
            tile: side / self.grid,
            overlap: overlap / self.grid,
            multiple: self.step / self.grid,
            window: Window::RaisedCosine,
        };
        Ok(TilePlan::new(padded.0 / self.grid, padded.1 / self.grid, options)?)
    }
}

fn vae_pass(
    tiling: VaeTiling,
    padded: (usize, usize),
    footprint: &Footprint,
    memory: u64,
) -> Result<VaePass> {
    let fits = |pass: &VaePass| footprint.autoencoder(*pass) <= memory;
    let [whole, layers] = [VaePass::Whole, VaePass::Layers(LAYER_TILE)];
    let exact = [whole, layers];
    let fast = [VaePass::Fast(FAST_TILE)];
    let small = padded.0 * padded.1 <= EXACT_PIXELS;
    let choices: Vec<VaePass> = match tiling {
        VaeTiling::Exact => exact.into(),
        VaeTiling::Whole => [whole].into(),
        VaeTiling::Layers => [layers].into(),
        VaeTiling::Fast => fast.into(),
        VaeTiling::Auto if small => exact.into_iter().chain(fast).collect(),
        VaeTiling::Auto => fast.into(),
    };
    let last = choices[choices.len() - 1];
    choices.into_iter().find(fits).ok_or_else(|| {
        let error = footprint.refusal(footprint.autoencoder(last), memory);
        if !matches!(tiling, VaeTiling::Auto | VaeTiling::Fast) {
            error.with_hint("`--vae-tiling fast` needs less")
        } else {
            error
        }
    })
}

/// Multiply-adds of encoder, network and decoder.
fn work(networks: &RestorationModel, (width, height): (usize, usize), guidance: f32) -> [u64; 3] {
    let total = networks.multiply_adds(height, width, PROMPT_TOKENS);
    let [encode, decode] = match networks {
        RestorationModel::Latent(model) => [
            model.autoencoder.encode_multiply_adds(height, width),
            model.autoencoder.decode_multiply_adds(height, width),
        ],
        RestorationModel::Adc(model) => [0, model.autoencoder.decode_multiply_adds(height, width)],
        _ => [0, 0],
    };
    let passes = if guidance == 1.0 { 1 } else { 2 };
    [encode, passes * total.saturating_sub(encode + decode), decode]
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}
