//! The sizes of a new UNet.

use gendr_model::{PerLevel, UnetConfig};
use serde::{Deserialize, Serialize};
use serde_json::Map;

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
