//! The configuration of an autoencoder, as in the `config.json` of a diffusers folder.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    config::{MAX_DEPTH, MAX_WIDTH, check_other},
    error::{Error, Result},
};

/// An AutoencoderKL. Unknown keys are kept and must hold what this network does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutoencoderKlConfig {
    /// Channels of the picture that goes in.
    #[serde(default = "default_channels")]
    pub in_channels: usize,
    /// Channels of the picture that comes out.
    #[serde(default = "default_channels")]
    pub out_channels: usize,
    /// Channels of the latent.
    #[serde(default = "default_latent_channels")]
    pub latent_channels: usize,
    /// Channels of each level, outermost first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks a level of the encoder; the decoder has one more.
    #[serde(default = "default_layers_per_block")]
    pub layers_per_block: usize,
    /// Groups of each group norm.
    #[serde(default = "default_norm_num_groups")]
    pub norm_num_groups: usize,
    /// Latents are multiplied by this before the UNet sees them.
    #[serde(default = "default_scaling_factor")]
    pub scaling_factor: f64,
    /// Subtracted from latents before they are scaled.
    #[serde(default)]
    pub shift_factor: Option<f64>,
    /// Attention in the middle of encoder and decoder.
    #[serde(default = "default_true")]
    pub mid_block_add_attention: bool,
    /// A 1x1 convolution after the encoder.
    #[serde(default = "default_true")]
    pub use_quant_conv: bool,
    /// A 1x1 convolution before the decoder.
    #[serde(default = "default_true")]
    pub use_post_quant_conv: bool,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn default_channels() -> usize {
    3
}

fn default_latent_channels() -> usize {
    4
}

fn default_layers_per_block() -> usize {
    1
}

fn default_norm_num_groups() -> usize {
    32
}

fn default_scaling_factor() -> f64 {
    0.18215
}

fn default_true() -> bool {
    true
}

impl AutoencoderKlConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) for a file that is no autoencoder configuration, and all of
    /// [`AutoencoderKlConfig::validate`].
    pub fn from_json(text: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(text).map_err(|error| {
            Error::input(format!("not an autoencoder configuration: {error}")).with_source(error)
        })?;
        config.validate()?;
        Ok(config)
    }

    /// Checks that the network can be built.
    ///
    /// # Errors
    /// `Input` for numbers that contradict each other, `Unsupported` for a variant this network does not have,
    /// `Limit` for absurd sizes.
    pub fn validate(&self) -> Result<()> {
        let levels = self.block_out_channels.len();
        if levels == 0 || levels > MAX_DEPTH.min(16) {
            return Err(Error::input(format!("an autoencoder has 1 to 16 levels, not {levels}")));
        }
        if self.layers_per_block == 0 || self.layers_per_block > MAX_DEPTH {
            return Err(Error::input(format!("layers_per_block must be 1 to {MAX_DEPTH}")));
        }
        let widths = [self.in_channels, self.out_channels, self.latent_channels, self.norm_num_groups];
        for &width in widths.iter().chain(&self.block_out_channels) {
            if width == 0 || width > MAX_WIDTH {
                return Err(Error::limit(format!(
                    "an autoencoder's channels and groups are 1 to {MAX_WIDTH}"
                )));
            }
        }
        let groups = self.norm_num_groups;
        if let Some(channels) = self.block_out_channels.iter().find(|&&channels| channels % groups != 0) {
            return Err(Error::input(format!(
                "{channels} channels cannot be split into {groups} norm groups"
            )));
        }
        let shift = self.shift_factor.unwrap_or(0.0);
        if !(self.scaling_factor.is_finite() && self.scaling_factor > 0.0 && shift.is_finite()) {
            return Err(Error::input("scaling_factor must be a positive number and shift_factor a number"));
        }
        self.check_types("down_block_types", "DownEncoderBlock2D")?;
        self.check_types("up_block_types", "UpDecoderBlock2D")?;
        check_other(&self.other, &fixed_keys(), "autoencoder")
    }

    /// Pixels a side of one latent pixel.
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    /// Every level must be of the one type there is.
    fn check_types(&self, key: &str, only: &str) -> Result<()> {
        let Some(types) = self.other.get(key) else { return Ok(()) };
        let known = |types: &Vec<Value>| types.iter().all(|name| name == only);
        match types.as_array() {
            Some(types) if types.len() == self.block_out_channels.len() && known(types) => Ok(()),
            _ => Err(Error::unsupported(format!("autoencoder with {key} other than {only} for each level"))),
        }
    }
}

/// Keys of diffusers that change the network, with the only value this one has (null always passes).
fn fixed_keys() -> Value {
    json!({ "act_fn": "silu", "latents_mean": null, "latents_std": null })
}
