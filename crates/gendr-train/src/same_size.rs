//! Pairs whose input has the size of the result, as with `gendr restore --scale 1`: a network that only ever saw enlarged pictures
//! takes a sharp one for blurred and sharpens it once more.

use crate::{Result, degradations::Degradations, trainer::Presets};
use gendr_degrade::Draws;
use gendr_image::Planes;
use serde::{Deserialize, Serialize};

/// What is drawn from: which pairs these are, how each goes bad, and by what.
const SHARE_STREAM: u64 = 0x7361_6d65;
const CHOICE_STREAM: u64 = 0x7361_6d63;
const DEGRADATION_STREAM: u64 = 0x7361_6d64;

/// How many inputs have the size of the result, and how these go bad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SameSizeConfig {
    /// The share of pairs, `0` to `1`.
    pub share: f64,
    /// How sharp crops go bad at their own size. `bicubic` leaves them as they are.
    pub preset: Presets,
}

/// Which pairs of a set are shown at the size of the result, and what is done to these.
#[derive(Debug, Serialize)]
pub(crate) struct SameSize {
    seed: u64,
    share: f64,
    degradations: Degradations,
}

impl SameSizeConfig {
    /// Draws by `seed`.
    ///
    /// # Errors
    /// An argument error for a preset that does not exist.
    pub(crate) fn with_seed(&self, seed: u64) -> Result<SameSize> {
        Ok(SameSize { seed, share: self.share, degradations: self.preset.read("data.same_size.preset", 1)? })
    }
}

impl SameSize {
    /// Whether a pair is one of them.
    pub(crate) fn has(&self, pair: usize) -> bool {
        Draws::new(self.seed ^ SHARE_STREAM, pair as u64).chance(self.share)
    }

    /// The input of a pair: its sharp crop gone bad, at its own size.
    pub(crate) fn input(&self, pair: usize, sharp: &Planes) -> Result<Planes> {
        let seeds = [CHOICE_STREAM, DEGRADATION_STREAM].map(|stream| self.seed ^ stream);
        self.degradations.apply(sharp, pair, seeds)
    }
}
