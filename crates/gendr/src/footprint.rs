//! How much memory a restoration will take, reckoned from the sizes of model and picture.
//!
//! The factors are upper bounds of what was measured (see the test on the built-in model and `docs/`): networks hold a few
//! of their widest activations at once, and every skip of a UNet.

use gendr_model::{Family, Model, PerLevel};

use crate::{
    Error,
    fast_vae::{MARGIN, SAMPLED_PIXELS},
    format_bytes,
    plan::VaePass,
};

/// Bytes of a value.
const VALUE: u64 = 4;
/// Pictures in full size that are held at once: enlarged, padded, restored, joined, mixed.
const PICTURES: u64 = 6;
/// Rows of tiles that are held at once where rows come and go: the canvas, what it becomes, what is finished of it.
const ROWS_OF_TILES: u64 = 3;
/// Other rows that are held then: of bands under way from colours to the file.
const ROWS_HELD: u64 = 512;
/// Widest activations that a network holds at once.
const ACTIVATIONS: u64 = 6;
/// Threads' scratch memory, small buffers.
const BASE: u64 = 96 << 20;

/// Sizes that memory follows.
#[derive(Clone, Debug)]
pub(crate) struct Footprint {
    padded: (usize, usize),
    /// Planes of pictures at working and target size, in bytes.
    pictures: u64,
    /// Bytes of a network's activations a pixel of its tile.
    network_pixel: u64,
    /// Bytes of an autoencoder's activations a pixel.
    autoencoder_pixel: u64,
}

impl Footprint {
    pub(crate) fn new(model: &Model, padded: (usize, usize), target: (usize, usize)) -> Self {
        let area = |size: (usize, usize)| size.0 as u64 * size.1 as u64;
        let picture = 3 * VALUE * area(padded).max(area(target));
        Self {
            padded,
            pictures: PICTURES * picture + BASE,
            network_pixel: network_pixel(model),
            autoencoder_pixel: autoencoder_pixel(model),
        }
    }

    /// The same where rows of the pictures come and go, with tiles of this side.
    pub(crate) fn by_rows(
        model: &Model,
        padded: (usize, usize),
        target: (usize, usize),
        input: (usize, usize),
        side: usize,
    ) -> Self {
        let row = 3 * VALUE * padded.0.max(target.0) as u64;
        let input_row = 3 * VALUE * input.0 as u64;
        // The rows of the input that a row of tiles needs: as many as it has where nothing is enlarged.
        let tiles = ROWS_OF_TILES * side as u64;
        let pictures = row * (tiles + ROWS_HELD) + input_row * (side as u64 + ROWS_HELD);
        Self { pictures: pictures + BASE, ..Self::new(model, padded, target) }
    }

    /// Bytes of the pictures alone.
    pub(crate) fn pictures(&self) -> u64 {
        self.pictures - BASE
    }

    /// Bytes that the network takes with tiles of `width` x `height` pixels.
    pub(crate) fn network(&self, width: usize, height: usize) -> u64 {
        self.pictures.saturating_add(self.network_pixel.saturating_mul(width as u64 * height as u64))
    }

    /// Bytes that the autoencoder takes.
    pub(crate) fn autoencoder(&self, pass: VaePass) -> u64 {
        let area = match pass {
            VaePass::Whole | VaePass::Layers(_) => self.padded.0 as u64 * self.padded.1 as u64,
            VaePass::Fast(tile) => {
                let side = |length: usize| (tile + 2 * MARGIN).min(length) as u64;
                let tile = side(self.padded.0) * side(self.padded.1);
                tile.max(SAMPLED_PIXELS as u64)
            }
        };
        // Layer by layer, the temporary copies are those of a tile.
        let held = if matches!(pass, VaePass::Layers(_)) { 2 } else { 4 };
        self.pictures.saturating_add(area.saturating_mul(self.autoencoder_pixel).saturating_mul(held))
    }

    /// The refusal of a restoration that needs more than there is.
    pub(crate) fn refusal(&self, needed: u64, memory: u64) -> Error {
        Error::limit(format!(
            "restoring to {}x{} needs {} of memory beside the model, {} are allowed",
            self.padded.0,
            self.padded.1,
            format_bytes(needed),
            format_bytes(memory)
        ))
    }
}

fn network_pixel(model: &Model) -> u64 {
    let description = &model.description;
    match description.family {
        Family::Latent => unet_place(model).div_ceil(64),
        Family::Adc | Family::Pix => unet_place(model).div_ceil((description.pix.patch as u64).pow(2)),
        // Half of the network runs at full size.
        Family::Rrdb => ACTIVATIONS * VALUE * description.rrdb.clone().unwrap_or_default().features as u64,
        Family::Compact => {
            let compact = description.compact.clone().unwrap_or_default();
            let scale = compact.scale as u64;
            ACTIVATIONS * VALUE * compact.features as u64 / (scale * scale) + 64
        }
    }
}

/// Bytes of a UNet's activations for one place of its input.
fn unet_place(model: &Model) -> u64 {
    let Some(config) = &model.description.unet else { return 0 };
    let layers = match &config.layers_per_block {
        PerLevel::All(layers) => *layers,
        PerLevel::Each(layers) => layers.iter().copied().max().unwrap_or(0),
    } as u64;
    let levels = config.block_out_channels.iter().enumerate();
    let widths: Vec<u64> =
        levels.map(|(level, &width)| (width as u64).div_ceil(4u64.pow(level as u32))).collect();
    let skips: u64 = widths.iter().sum::<u64>() * (layers + 1);
    let widest = widths.iter().max().copied().unwrap_or(0);
    VALUE * (skips + 2 * ACTIVATIONS * widest)
}

/// Bytes of one of the widest activations of an autoencoder for one pixel.
fn autoencoder_pixel(model: &Model) -> u64 {
    let Some(config) = &model.description.vae else { return 0 };
    let levels = config.block_out_channels.iter().enumerate();
    // The upsampled result of a level keeps the width of the level below it.
    let widest = levels.map(|(level, &width)| {
        let above = level.saturating_sub(1) as u32;
        (width as u64).div_ceil(4u64.pow(above))
    });
    VALUE * widest.max().unwrap_or(0)
}
