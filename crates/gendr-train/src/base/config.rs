//! The configuration of a `base` run.

use crate::{
    PartConfig, Result,
    trainer::{CheckpointConfig, DataConfig, StepsConfig, ValidationConfig, check_rules},
};
use gendr_model::{PerLevel, UnetConfig};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use std::path::PathBuf;

/// Everything that fixes the result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseConfig {
    /// What all draws come from.
    pub seed: u64,
    /// The autoencoder: a folder that the stage `vae` or diffusers wrote, or a model file; relative to the data folder.
    pub autoencoder: PathBuf,
    /// Photographs and their degradation.
    pub data: DataConfig,
    /// The network to train.
    pub unet: UnetSource,
    /// Share of a batch that is degraded and shown under the negative embedding.
    #[serde(default)]
    pub degraded_share: f64,
    /// How long.
    pub training: StepsConfig,
    /// How UNet, embeddings and projector are trained.
    #[serde(default)]
    pub optimization: PartConfig,
    /// Alignment with features of the clean picture.
    #[serde(default)]
    pub alignment: AlignmentConfig,
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

/// The sizes of a UNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnetShape {
    /// Channels of each level, outermost first.
    pub block_out_channels: Vec<usize>,
    /// Whether each level has attention.
    pub attention: Vec<bool>,
    /// Residual blocks a level on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// Attention heads a level.
    pub heads: usize,
    /// Width of the embeddings.
    pub prompt_width: usize,
    /// Groups of the normalisation.
    pub norm_num_groups: usize,
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

impl UnetShape {
    /// The network's own configuration, for latents of `channels`.
    pub(crate) fn network(&self, channels: usize) -> UnetConfig {
        let types = |plain: &str, attending: &str| -> Vec<String> {
            let name = |&attends: &bool| (if attends { attending } else { plain }).to_owned();
            self.attention.iter().map(name).collect()
        };
        let mut up_block_types = types("UpBlock2D", "CrossAttnUpBlock2D");
        up_block_types.reverse();
        let attends = self.attention.contains(&true);
        let mid = if attends { "UNetMidBlock2DCrossAttn" } else { "UNetMidBlock2D" };
        UnetConfig {
            in_channels: channels,
            out_channels: channels,
            block_out_channels: self.block_out_channels.clone(),
            down_block_types: types("DownBlock2D", "CrossAttnDownBlock2D"),
            mid_block_type: Some(mid.to_owned()),
            up_block_types,
            layers_per_block: PerLevel::All(self.layers_per_block),
            transformer_layers_per_block: PerLevel::All(1),
            attention_head_dim: PerLevel::All(self.heads),
            num_attention_heads: None,
            cross_attention_dim: self.prompt_width,
            use_linear_projection: true,
            norm_num_groups: self.norm_num_groups,
            norm_eps: 1e-5,
            flip_sin_to_cos: true,
            freq_shift: 0,
            other: Map::new(),
        }
    }
}

impl AlignmentConfig {
    pub(crate) fn is_sound(&self) -> bool {
        self.weight.is_finite() && self.weight >= 0.0 && (1..=16384).contains(&self.hidden)
    }
}

impl BaseConfig {
    /// Checks what types cannot express; `factor` is the autoencoder's.
    ///
    /// # Errors
    /// An argument error that names the first value that makes no sense.
    pub(crate) fn check(&self, factor: usize) -> Result<()> {
        self.data.degradation()?;
        // The features are at half the latent's resolution.
        let factor = if self.alignment.weight > 0.0 { 2 * factor } else { factor };
        check_rules(&[
            ("degraded_share must be 0 to 1", (0.0..=1.0).contains(&self.degraded_share)),
            ("optimization must have numbers that make sense", self.optimization.is_sound()),
            ("alignment must have numbers that make sense", self.alignment.is_sound()),
        ])?;
        check_rules(&self.data.rules(factor))?;
        check_rules(&self.training.rules())?;
        check_rules(&self.checkpoints.rules(&self.validation))
    }
}
