//! The configuration of a `pix` run.

use crate::{
    PartConfig, PerceptualConfig, Result,
    trainer::{CheckpointConfig, DataConfig, StepsConfig, ValidationConfig, check_rules},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that fixes the result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixStageConfig {
    /// What all draws come from.
    pub seed: u64,
    /// The one-step restorer that teaches, relative to the data folder: what `distill` wrote.
    pub teacher: PathBuf,
    /// What the student makes.
    pub target: Target,
    /// For pictures: the model without encoder, whose features the discriminator looks at and whose weights the student starts from.
    #[serde(default)]
    pub previous: Option<PathBuf>,
    /// Side of the square of pixels that becomes one position of the UNet.
    #[serde(default = "default_patch")]
    pub patch: usize,
    /// Photographs and their degradation.
    pub data: DataConfig,
    /// How long.
    pub training: StepsConfig,
    /// How the student is trained.
    #[serde(default)]
    pub optimization: PartConfig,
    /// How the discriminator's head is trained.
    #[serde(default)]
    pub head: PartConfig,
    /// What is minimised.
    #[serde(default)]
    pub loss: PixLossConfig,
    /// The perceptual term of pictures (L_P of arXiv 2602.10630); pictures only.
    #[serde(default)]
    pub perceptual: PerceptualConfig,
    /// Hold the graph of one part of the student at a time, and run each once more: less memory, the same gradients.
    #[serde(default)]
    pub checkpointing: bool,
    /// Scores on held-out photographs.
    pub validation: ValidationConfig,
    /// States to resume from.
    pub checkpoints: CheckpointConfig,
}

/// What the student makes of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The teacher's latent (GenDR-Adc).
    Latent,
    /// The teacher's picture (GenDR-Pix).
    Picture,
}

/// Weights of what is minimised, besides the mean absolute difference to the teacher.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PixLossConfig {
    /// Of the adversarial term.
    pub adversarial: f64,
    /// Of the masked Fourier term; pictures only.
    pub fourier: f64,
    /// Bins round each multiple of the shuffle's frequency that the Fourier term looks at.
    pub fourier_radius: usize,
}

impl Default for PixLossConfig {
    fn default() -> Self {
        Self { adversarial: 0.05, fourier: 0.1, fourier_radius: 1 }
    }
}

fn default_patch() -> usize {
    8
}

impl PixStageConfig {
    /// Checks what types cannot express; `factor` is the autoencoder's.
    ///
    /// # Errors
    /// An argument error that names the first value that makes no sense.
    pub(crate) fn check(&self, factor: usize) -> Result<()> {
        self.data.degradations()?;
        let from_zero = |value: f64| value.is_finite() && value >= 0.0;
        let pictures = self.target == Target::Picture;
        check_rules(&[
            ("weights of the loss must be numbers from 0", {
                from_zero(self.loss.adversarial) && from_zero(self.loss.fourier)
            }),
            ("patch must be 2 to 64, and the autoencoder's factor where the target is the latent", {
                (2..=64).contains(&self.patch) && (pictures || self.patch == factor)
            }),
            ("loss.fourier_radius must be at most 4 and less than half of crop / patch", {
                self.loss.fourier_radius <= 4
                    && 2 * self.loss.fourier_radius < self.data.photos.crop / self.patch.max(1)
            }),
            ("the adversarial term for pictures needs `previous`, a model without encoder", {
                !pictures || self.loss.adversarial == 0.0 || self.previous.is_some()
            }),
            ("optimization must have numbers that make sense", self.optimization.is_sound()),
            ("head must have numbers that make sense", self.head.is_sound()),
        ])?;
        check_rules(&self.perceptual.rules(self.data.photos.crop))?;
        check_rules(&self.data.rules(factor.max(1)))?;
        check_rules(&self.data.rules(self.patch))?;
        check_rules(&self.training.rules())?;
        check_rules(&self.checkpoints.rules(&self.validation))
    }
}
