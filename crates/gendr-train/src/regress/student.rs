//! The network in training: a UNet on pixel-unshuffled pictures that adds to the enlarged input (family `pix`).

use super::ModelConfig;
use crate::{Error, Result, parameters::Parameters};
use burn::tensor::{Device, Tensor};
use gendr_model::{PerLevel, Unet, UnetConfig, initialize, ops};
use serde_json::Map;

/// The timestep the UNet is told, that of the one-step formula.
pub(crate) const TIMESTEP: f32 = 354.0;

impl ModelConfig {
    /// The UNet's own configuration.
    pub(crate) fn unet(&self) -> UnetConfig {
        let (levels, channels) = (self.block_out_channels.len(), 3 * self.patch * self.patch);
        UnetConfig {
            in_channels: channels,
            out_channels: channels,
            block_out_channels: self.block_out_channels.clone(),
            down_block_types: vec!["DownBlock2D".to_owned(); levels],
            mid_block_type: Some("UNetMidBlock2D".to_owned()),
            up_block_types: vec!["UpBlock2D".to_owned(); levels],
            layers_per_block: PerLevel::All(self.layers_per_block),
            transformer_layers_per_block: PerLevel::All(1),
            attention_head_dim: PerLevel::All(8),
            num_attention_heads: None,
            cross_attention_dim: 64,
            use_linear_projection: true,
            norm_num_groups: self.norm_num_groups,
            norm_eps: 1e-5,
            flip_sin_to_cos: true,
            freq_shift: 0,
            other: Map::new(),
        }
    }

    /// The parameters to start from: random, but with an output of zero, so that the first result is the enlarged input.
    pub(crate) fn start(&self, seed: u64, device: &Device) -> Result<(Unet, Parameters)> {
        let unet = initialize(self.unet().init(device)?, seed);
        let mut parameters = Parameters::of(&unet)?;
        let last = parameters.names.iter().position(|name| name == "conv_out.weight");
        let last = last.ok_or_else(|| Error::argument("a UNet without conv_out"))?;
        parameters.values[last].fill(0.0);
        Ok((unet, parameters))
    }
}

/// Enlarged pictures `[n, 3, h, w]` in `[-1, 1]` to restored ones, with `patch` dividing `h` and `w`.
pub(crate) fn restore(unet: &Unet, patch: usize, enlarged: Tensor<4>) -> Result<Tensor<4>> {
    let conditioning = unet.condition(&[TIMESTEP], None)?;
    let out = unet.forward(ops::pixel_unshuffle(enlarged.clone(), patch), &conditioning);
    Ok(enlarged + ops::pixel_shuffle(out, patch))
}
