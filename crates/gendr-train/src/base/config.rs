//! The configuration of a `base` run.

use crate::{
    PartConfig, Patches, Result, UnetShape,
    trainer::{CheckpointConfig, DataConfig, StepsConfig, ValidationConfig, check_rules},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that fixes the result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseConfig {
    /// What all draws come from.
    pub seed: u64,
    /// The autoencoder: a folder that the stage `vae` or diffusers wrote, or a model file; relative to the data folder.
    #[serde(default)]
    pub autoencoder: Option<PathBuf>,
    /// In its place: diffusion on the pixels themselves.
    #[serde(default)]
    pub patches: Option<Patches>,
    /// Photographs and their degradation.
    pub data: DataConfig,
    /// The network to train.
    pub unet: UnetSource,
    /// Share of a batch that is degraded and shown under the negative embedding.
    #[serde(default)]
    pub degraded_share: f64,
    /// How long.
    pub training: StepsConfig,
    /// How the UNet is trained, and embeddings and projector unless they have their own settings.
    #[serde(default)]
    pub optimization: PartConfig,
    /// How the embeddings are trained, if not as the UNet.
    #[serde(default)]
    pub prompt: Option<PartConfig>,
    /// How the alignment's projector is trained, if not as the UNet.
    #[serde(default)]
    pub projector: Option<PartConfig>,
    /// Alignment with features of the clean picture.
    #[serde(default)]
    pub alignment: AlignmentConfig,
    /// DINOv2's weights for the alignment, relative to the data folder; without them the autoencoder's own encoder serves.
    #[serde(default)]
    pub dinov2: Option<PathBuf>,
    /// Hold the graph of one part of the network at a time, and run each once more: less memory, the same gradients.
    #[serde(default)]
    pub checkpointing: bool,
    /// Scores on held-out photographs.
    pub validation: ValidationConfig,
    /// States to resume from.
    pub checkpoints: CheckpointConfig,
}

/// A UNet from weights or from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnetSource {
    /// The UNet of a model (a file, or a folder in the layout of diffusers), relative to the data folder. Where its latents have
    /// other channels, its first and last convolutions are rebuilt.
    From(PathBuf),
    /// A new one.
    Shape(UnetShape),
}

/// Alignment of the first down block with features of the clean picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlignmentConfig {
    /// Weight of the term; 0.5 in REPA.
    pub weight: f64,
    /// Inner width of the projector; 2048 in REPA.
    pub hidden: usize,
}

impl Default for AlignmentConfig {
    fn default() -> Self {
        Self { weight: 0.5, hidden: 2048 }
    }
}

impl AlignmentConfig {
    pub(crate) fn is_sound(&self) -> bool {
        self.weight.is_finite() && self.weight >= 0.0 && (1..=16384).contains(&self.hidden)
    }
}

impl BaseConfig {
    /// Checks what types cannot express; `factor` is that of the latent space.
    ///
    /// # Errors
    /// An argument error that names the first value that makes no sense.
    pub(crate) fn check(&self, factor: usize) -> Result<()> {
        self.data.degradations()?;
        // The features are at half the latent's resolution.
        let factor = if self.alignment.weight > 0.0 { 2 * factor } else { factor };
        check_rules(&[
            ("degraded_share must be 0 to 1", (0.0..=1.0).contains(&self.degraded_share)),
            ("optimization must have numbers that make sense", self.optimization.is_sound()),
            ("prompt must have numbers that make sense", self.prompt.is_none_or(|part| part.is_sound())),
            (
                "projector must have numbers that make sense",
                self.projector.is_none_or(|part| part.is_sound()),
            ),
            ("alignment must have numbers that make sense", self.alignment.is_sound()),
            ("patches must have a patch of 2 to 64 and a scaling factor above 0", {
                self.patches.is_none_or(Patches::is_sound)
            }),
            ("alignment.weight must be 0 on patches: nothing encodes them without dinov2", {
                self.patches.is_none() || self.alignment.weight == 0.0 || self.dinov2.is_some()
            }),
        ])?;
        check_rules(&self.data.rules(factor))?;
        check_rules(&self.training.rules())?;
        check_rules(&self.checkpoints.rules(&self.validation))
    }
}
