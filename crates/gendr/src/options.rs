//! The one request type: what a caller asks of a picture.

use gendr_image::ColorFix;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, TargetSize};

/// How the network's work is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tiling {
    /// The largest tile that fits the memory; the whole picture where it does.
    #[default]
    Auto,
    /// The whole picture at once.
    Off,
    /// Square tiles with this side, in pixels of the result, a multiple of 8.
    Size(usize),
}

/// How the variational autoencoder of the latent families works on large pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VaeTiling {
    /// Exact up to 1024x1024 pixels of result, fast above.
    #[default]
    Auto,
    /// Equal to the untiled result: whole where the memory allows, else layer by layer.
    Exact,
    /// All at once.
    Whole,
    /// Layer by layer over the whole picture.
    Layers,
    /// Tile by tile, with the norm statistics of samples of the picture: memory follows the tile.
    Fast,
}

/// Tile side and overlap are multiples of this, the step of the latent grid.
pub const TILE_STEP: usize = 8;
/// Smallest side of a tile, in pixels of the result.
pub const MIN_TILE: usize = 64;
/// Largest side of a tile unless it is chosen, in pixels of the result.
pub(crate) const LARGEST_TILE: usize = 1024;

/// Everything about a restoration that a caller may choose. [`Default`] is what the command does without options.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoreOptions {
    /// The size of the result.
    pub size: TargetSize,
    /// How the network's work is cut.
    pub tile: Tiling,
    /// Pixels of the result that neighbouring tiles share, a multiple of 8. A network that can go layer by layer over all
    /// tiles at once has nothing to join and does so where the memory allows, unless an overlap is given.
    pub overlap: Option<usize>,
    /// How the autoencoder works on large pictures.
    pub vae_tiling: VaeTiling,
    /// How colours are brought back to the input's; `None` is the model's own way.
    pub color_fix: Option<ColorFix>,
    /// Closeness to the input, `0..=1`: the result is `(1 - fidelity) * restored + fidelity * upscaled input`,
    /// computed per pixel after the colour fix.
    pub fidelity: f32,
    /// Classifier-free guidance weight `w` of `negative + w * (positive - negative)`; at 1 the negative prompt is
    /// not computed.
    pub guidance: f32,
    /// Seed of whatever is sampled.
    pub seed: u64,
    /// Bytes that restoring may take besides the model's weights and the pictures; `None` is what is free.
    pub memory: Option<u64>,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            size: TargetSize::default(),
            tile: Tiling::Auto,
            overlap: None,
            vae_tiling: VaeTiling::Auto,
            color_fix: None,
            fidelity: 0.0,
            guidance: 1.0,
            seed: 0,
            memory: None,
        }
    }
}

impl RestoreOptions {
    /// Checks all that can be checked without a picture and a model.
    ///
    /// # Errors
    /// An argument error that names the value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        self.size.validate()?;
        if let Tiling::Size(side) = self.tile
            && (side < MIN_TILE || !side.is_multiple_of(TILE_STEP))
        {
            return Err(Error::argument(format!(
                "the tile must be a multiple of {TILE_STEP} and at least {MIN_TILE} pixels, not {side}"
            )));
        }
        if let Some(overlap) = self.overlap {
            self.validate_overlap(overlap)?;
        }
        if !(0.0..=1.0).contains(&self.fidelity) {
            return Err(Error::argument(format!("fidelity must be from 0 to 1, not {}", self.fidelity)));
        }
        if !(0.0..=MAX_GUIDANCE).contains(&self.guidance) {
            return Err(Error::argument(format!(
                "guidance must be from 0 to {MAX_GUIDANCE}, not {}",
                self.guidance
            )));
        }
        Ok(())
    }

    fn validate_overlap(&self, overlap: usize) -> Result<()> {
        if !overlap.is_multiple_of(TILE_STEP) {
            return Err(Error::argument(format!(
                "the overlap must be a multiple of {TILE_STEP} pixels, not {overlap}"
            )));
        }
        let side = if let Tiling::Size(side) = self.tile { side } else { LARGEST_TILE };
        if overlap > side / 2 {
            return Err(Error::argument(format!(
                "the overlap of {overlap} is more than half the tile of {side}"
            )));
        }
        Ok(())
    }
}

/// Largest guidance weight.
const MAX_GUIDANCE: f32 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_defaults_are_valid() {
        assert!(RestoreOptions::default().validate().is_ok());
    }

    #[test]
    fn each_senseless_value_is_refused() {
        let default = RestoreOptions::default;
        let wrong = [
            RestoreOptions { size: TargetSize::Scale(f64::NAN), ..default() },
            RestoreOptions { tile: Tiling::Size(0), ..default() },
            RestoreOptions { tile: Tiling::Size(250), ..default() },
            RestoreOptions { overlap: Some(12), ..default() },
            RestoreOptions { tile: Tiling::Size(128), overlap: Some(72), ..default() },
            RestoreOptions { overlap: Some(10_000), ..default() },
            RestoreOptions { fidelity: -0.1, ..default() },
            RestoreOptions { fidelity: 1.1, ..default() },
            RestoreOptions { fidelity: f32::NAN, ..default() },
            RestoreOptions { guidance: f32::INFINITY, ..default() },
            RestoreOptions { guidance: -1.0, ..default() },
        ];
        for options in wrong {
            let error = options.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Argument, "{options:?}");
        }
    }
}
