//! The configuration of a `regress` run.

use crate::{
    AdamWConfig, Result, UnetShape,
    trainer::{CheckpointConfig, DataConfig, ValidationConfig, check_rules, one},
    vae::AutoencoderConfig,
};
use gendr_degrade::SharpenConfig;
use gendr_model::Family;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that fixes the result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegressConfig {
    /// What all draws come from.
    pub seed: u64,
    /// Photographs and their degradation.
    pub data: DataConfig,
    /// A network to learn from; without one, the sharp crops are the target.
    pub teacher: Option<TeacherConfig>,
    /// The network to train.
    pub model: ModelConfig,
    /// A model of that shape to go on from, relative to the data folder; without one, weights are drawn.
    #[serde(default)]
    pub start: Option<PathBuf>,
    /// Optimisation.
    pub training: TrainingConfig,
    /// What is minimised.
    pub loss: LossConfig,
    /// Scores on held-out photographs.
    pub validation: ValidationConfig,
    /// States to resume from.
    pub checkpoints: CheckpointConfig,
}

/// A Real-ESRGAN network to learn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// Its weights, relative to the data folder.
    pub weights: PathBuf,
    /// Share of the teacher's result in the target, the rest is the sharp crop.
    pub share: f64,
    /// Take its detail alone: what a copy eight times smaller holds, colours among it, comes from the sharp crop.
    #[serde(default)]
    pub detail_only: bool,
    /// Sharpen the target: a small network's means come out softer than what it learns from.
    #[serde(default)]
    pub sharpen: Option<SharpenConfig>,
}

/// The network to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// `pix` (a UNet on pixels), `adc` (a UNet on pixels and a decoder) or `latent` (an encoder, too).
    #[serde(default = "pix")]
    pub family: Family,
    /// Side of the square of pixels that becomes one position of the UNet of `pix`; the others have their autoencoder's.
    #[serde(default = "one")]
    pub patch: usize,
    /// Channels of every level of the UNet.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of every level on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// Groups of the normalisation.
    pub norm_num_groups: usize,
    /// Whether each level has attention; left out, none has.
    #[serde(default)]
    pub attention: Vec<bool>,
    /// Attention heads a level.
    #[serde(default = "one")]
    pub heads: usize,
    /// Width of the embedding that attention looks at.
    #[serde(default = "prompt_width")]
    pub prompt_width: usize,
    /// The autoencoder of `adc` and `latent`, trained along with the UNet.
    #[serde(default)]
    pub autoencoder: Option<AutoencoderConfig>,
}

fn pix() -> Family {
    Family::Pix
}

fn prompt_width() -> usize {
    64
}

/// Optimisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Steps in all.
    pub steps: u64,
    /// Pairs that go through the network at once.
    pub batch: usize,
    /// How many such batches make one step.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Steps of the rise to it; a half cosine down to zero follows.
    pub warmup: u64,
    /// Largest joint norm of the gradients.
    pub max_gradient_norm: f64,
    /// Decay of the average of the weights.
    pub average_decay: f64,
    /// The optimiser.
    pub optimizer: AdamWConfig,
}

/// Weights of the terms that are minimised; a term with weight zero is not computed. Pictures are in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// Mean absolute difference to the target.
    pub pixel: f64,
    /// Mean absolute difference of the gradients along x and y.
    pub gradient: f64,
    /// Mean absolute difference, in octaves, of the local amplitude of detail.
    pub amplitude: f64,
    /// Mean absolute difference of the local mean of each phase of the pixel shuffle: against a grid.
    pub grid: f64,
}

impl LossConfig {
    /// No term at all.
    pub(crate) const NONE: Self = Self { pixel: 0.0, gradient: 0.0, amplitude: 0.0, grid: 0.0 };

    /// Whether all weights make sense.
    pub(crate) fn is_sound(&self) -> bool {
        let terms = [self.pixel, self.gradient, self.amplitude, self.grid];
        terms.iter().all(|term| term.is_finite() && *term >= 0.0)
    }
}

impl ModelConfig {
    /// The sizes of the UNet.
    pub(crate) fn shape(&self) -> UnetShape {
        let levels = self.block_out_channels.len();
        let attention = if self.attention.is_empty() { vec![false; levels] } else { self.attention.clone() };
        UnetShape {
            block_out_channels: self.block_out_channels.clone(),
            attention,
            layers_per_block: self.layers_per_block,
            heads: self.heads,
            prompt_width: self.prompt_width,
            norm_num_groups: self.norm_num_groups,
        }
    }

    /// Whether the family and its autoencoder belong together.
    fn is_whole(&self) -> bool {
        let has_vae = matches!(self.family, Family::Latent | Family::Adc);
        has_vae == self.autoencoder.is_some() && (has_vae || self.family == Family::Pix)
    }
}

impl RegressConfig {
    /// Checks what types cannot express.
    ///
    /// # Errors
    /// An argument error that names the first value that makes no sense.
    pub fn check(&self) -> Result<()> {
        self.data.degradations()?;
        let (model, training) = (&self.model, &self.training);
        let positive = |value: f64| value.is_finite() && value >= 0.0;
        let share = self.teacher.as_ref().map_or(0.0, |teacher| teacher.share);
        let rules = [
            ("model.family must be pix, or latent or adc with model.autoencoder", model.is_whole()),
            ("model.patch must be 2 to 64", model.family != Family::Pix || (2..=64).contains(&model.patch)),
            ("model.attention must have one value a level", {
                model.attention.is_empty() || model.attention.len() == model.block_out_channels.len()
            }),
            ("model.heads and model.prompt_width must be 1 to 4096", {
                (1..=4096).contains(&model.heads) && (1..=4096).contains(&model.prompt_width)
            }),
            ("model.block_out_channels must be multiples of norm_num_groups, at most 4096", {
                let groups = model.norm_num_groups;
                let channels = &model.block_out_channels;
                groups > 0
                    && !channels.is_empty()
                    && channels.iter().all(|&c| c > 0 && c <= 4096 && c % groups == 0)
            }),
            ("model.layers_per_block must be 1 to 8", (1..=8).contains(&model.layers_per_block)),
            ("training.batch must be 1 to 4096", (1..=4096).contains(&training.batch)),
            ("training.accumulation must be 1 to 4096", (1..=4096).contains(&training.accumulation)),
            ("training.learning_rate must be a number from 0", positive(training.learning_rate)),
            ("training.max_gradient_norm must be a number from 0", positive(training.max_gradient_norm)),
            ("training.average_decay must be 0 to 1", (0.0..=1.0).contains(&training.average_decay)),
            ("teacher.share must be 0 to 1", (0.0..=1.0).contains(&share)),
            ("weights of the loss must be numbers from 0", self.loss.is_sound()),
        ];
        check_rules(&rules)?;
        if let Some(vae) = model.vae() {
            vae.validate()?;
        }
        check_rules(&self.data.rules(model.factor()))?;
        check_rules(&self.checkpoints.rules(&self.validation))
    }
}
