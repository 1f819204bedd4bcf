//! The configuration of a `vae` run.

use crate::{
    PartConfig, PerceptualConfig, Result,
    trainer::{CheckpointConfig, DataConfig, StepsConfig, ValidationConfig, check_rules},
};
use gendr_model::AutoencoderKlConfig;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use std::path::PathBuf;

/// Everything that fixes the result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeConfig {
    /// What all draws come from.
    pub seed: u64,
    /// Photographs; only the sharp crops are used.
    pub data: DataConfig,
    /// The network to train.
    pub autoencoder: AutoencoderConfig,
    /// How long.
    pub training: StepsConfig,
    /// How the autoencoder is trained.
    #[serde(default)]
    pub optimization: PartConfig,
    /// How the discriminator is trained.
    #[serde(default)]
    pub discriminator: PartConfig,
    /// What is minimised.
    pub loss: VaeLossConfig,
    /// The perceptual term; 1 in latent diffusion.
    #[serde(default)]
    pub perceptual: PerceptualConfig,
    /// Hold the graph of one part of the network at a time, and run each once more: less memory, the same gradients.
    #[serde(default)]
    pub checkpointing: bool,
    /// Scores on held-out photographs.
    pub validation: ValidationConfig,
    /// States to resume from.
    pub checkpoints: CheckpointConfig,
}

/// An autoencoder from scratch or from weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderConfig {
    /// A folder or model file to start from, relative to the data folder, of the same shape.
    #[serde(default)]
    pub from: Option<PathBuf>,
    /// Channels of the latent; 16 in GenDR.
    pub latent_channels: usize,
    /// Channels of each level, outermost first; every level but the last halves the resolution.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks a level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Groups of the normalisation.
    pub norm_num_groups: usize,
    /// Attention in the middle.
    pub attention: bool,
}

/// Weights of what is minimised. Pictures are in `[-1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeLossConfig {
    /// Of the divergence of the posterior from a standard normal, summed over a picture; 1e-6 in latent diffusion.
    pub kl: f64,
    /// Of the discriminator, relative to the gradient of L1 and perceptual term; 0.5 in latent diffusion.
    pub adversarial: f64,
    /// The step from which the discriminator counts.
    #[serde(default)]
    pub adversarial_from: u64,
}

impl AutoencoderConfig {
    /// The network's own configuration.
    pub(crate) fn network(&self) -> AutoencoderKlConfig {
        AutoencoderKlConfig {
            in_channels: 3,
            out_channels: 3,
            latent_channels: self.latent_channels,
            block_out_channels: self.block_out_channels.clone(),
            layers_per_block: self.layers_per_block,
            norm_num_groups: self.norm_num_groups,
            scaling_factor: 1.0,
            shift_factor: None,
            mid_block_add_attention: self.attention,
            use_quant_conv: true,
            use_post_quant_conv: true,
            other: Map::new(),
        }
    }
}

impl VaeConfig {
    /// Checks what types cannot express.
    ///
    /// # Errors
    /// An argument error that names the first value that makes no sense; those of the network's configuration.
    pub fn check(&self) -> Result<()> {
        self.data.degradations()?;
        let network = self.autoencoder.network();
        network.validate()?;
        let from_zero = |value: f64| value.is_finite() && value >= 0.0;
        let rules = [
            ("weights of the loss must be numbers from 0", {
                from_zero(self.loss.kl) && from_zero(self.loss.adversarial)
            }),
            ("optimization must have numbers that make sense", self.optimization.is_sound()),
            ("discriminator must have numbers that make sense", self.discriminator.is_sound()),
        ];
        check_rules(&rules)?;
        check_rules(&self.perceptual.rules(self.data.photos.crop))?;
        check_rules(&self.data.rules(network.factor()))?;
        check_rules(&self.training.rules())?;
        check_rules(&self.checkpoints.rules(&self.validation))
    }
}
