//! The configuration of a UNet, as in the `config.json` of a diffusers folder.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    config::{MAX_DEPTH, MAX_WIDTH, check_other},
    error::{Error, Result},
};

/// A number for all levels or one a level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerLevel {
    /// The same everywhere.
    All(usize),
    /// One a level, outermost first.
    Each(Vec<usize>),
}

impl PerLevel {
    /// The number of `level`, zero where the list is too short.
    pub fn at(&self, level: usize) -> usize {
        match self {
            Self::All(number) => *number,
            Self::Each(numbers) => numbers.get(level).copied().unwrap_or(0),
        }
    }

    fn fits(&self, levels: usize, max: usize) -> bool {
        let length = if let Self::Each(numbers) = self { numbers.len() } else { levels };
        length == levels && (0..levels).all(|level| (1..=max).contains(&self.at(level)))
    }
}

/// A UNet of the Stable Diffusion 1 and 2 kind. Unknown keys are kept and must hold what this network does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnetConfig {
    /// Channels of the input: 4 or 16 for latents, 192 for pixel-unshuffled pictures.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Channels of each level, outermost first.
    pub block_out_channels: Vec<usize>,
    /// `DownBlock2D` (no attention) or `CrossAttnDownBlock2D` a level.
    pub down_block_types: Vec<String>,
    /// `UNetMidBlock2DCrossAttn`, `UNetMidBlock2D` (one residual block) or none.
    #[serde(default = "default_mid_block_type")]
    pub mid_block_type: Option<String>,
    /// `UpBlock2D` or `CrossAttnUpBlock2D` a level, innermost first.
    pub up_block_types: Vec<String>,
    /// Residual blocks a level on the way down; one more on the way up.
    #[serde(default = "default_layers_per_block")]
    pub layers_per_block: PerLevel,
    /// Transformer blocks a layer with attention.
    #[serde(default = "default_transformer_layers")]
    pub transformer_layers_per_block: PerLevel,
    /// Number of attention heads. (The name is a mistake diffusers keeps: these are counts, not sizes.)
    #[serde(default = "default_heads")]
    pub attention_head_dim: PerLevel,
    /// Number of attention heads, where a configuration names them so.
    #[serde(default)]
    pub num_attention_heads: Option<PerLevel>,
    /// Width of the prompt embedding.
    #[serde(default = "default_cross_attention_dim")]
    pub cross_attention_dim: usize,
    /// Linear layers round each transformer instead of 1x1 convolutions.
    #[serde(default)]
    pub use_linear_projection: bool,
    /// Groups of each group norm.
    #[serde(default = "default_norm_num_groups")]
    pub norm_num_groups: usize,
    /// Epsilon of the group norms (those before a transformer always have 1e-6).
    #[serde(default = "default_norm_eps")]
    pub norm_eps: f64,
    /// Cosines before sines in the timestep's embedding.
    #[serde(default = "default_true")]
    pub flip_sin_to_cos: bool,
    /// Subtracted from the number of frequencies in the timestep's embedding.
    #[serde(default)]
    pub freq_shift: usize,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn default_mid_block_type() -> Option<String> {
    Some("UNetMidBlock2DCrossAttn".to_owned())
}

fn default_layers_per_block() -> PerLevel {
    PerLevel::All(2)
}

fn default_transformer_layers() -> PerLevel {
    PerLevel::All(1)
}

fn default_heads() -> PerLevel {
    PerLevel::All(8)
}

fn default_cross_attention_dim() -> usize {
    1280
}

fn default_norm_num_groups() -> usize {
    32
}

fn default_norm_eps() -> f64 {
    1e-5
}

fn default_true() -> bool {
    true
}

impl UnetConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) for a file that is no UNet configuration, and all of
    /// [`UnetConfig::validate`].
    pub fn from_json(text: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(text)
            .map_err(|error| Error::input(format!("not a UNet configuration: {error}")).with_source(error))?;
        config.validate()?;
        Ok(config)
    }

    /// Checks that the network can be built.
    ///
    /// # Errors
    /// `Input` for numbers that contradict each other, `Unsupported` for a variant this network does not have,
    /// `Limit` for absurd sizes.
    pub fn validate(&self) -> Result<()> {
        let levels = self.levels();
        if levels == 0 || self.down_block_types.len() != levels || self.up_block_types.len() != levels {
            return Err(Error::input("a UNet needs one down and one up block type for each of its levels"));
        }
        self.check_sizes(levels)?;
        self.check_types()?;
        let one_or_more = |name: &str, numbers: &PerLevel, max: usize| {
            if numbers.fits(levels, max) {
                Ok(())
            } else {
                Err(Error::input(format!(
                    "{name} must be a number from 1 to {max}, or one such number a level"
                )))
            }
        };
        one_or_more("layers_per_block", &self.layers_per_block, MAX_DEPTH)?;
        one_or_more("transformer_layers_per_block", &self.transformer_layers_per_block, MAX_DEPTH)?;
        one_or_more("attention_head_dim", self.head_counts(), MAX_WIDTH)?;
        for level in 0..levels {
            let (channels, heads) = (self.block_out_channels[level], self.heads(level));
            if self.attends(level) && channels % heads != 0 {
                return Err(Error::input(format!("{channels} channels cannot be split among {heads} heads")));
            }
        }
        check_other(&self.other, &fixed_keys(), "UNet")
    }

    /// Number of levels.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Number of attention heads of `level`, the outermost being 0.
    pub fn heads(&self, level: usize) -> usize {
        self.head_counts().at(level)
    }

    /// Width of the time embedding.
    pub fn time_channels(&self) -> usize {
        4 * self.block_out_channels[0]
    }

    /// Whether `level` has attention on the way down.
    pub fn down_attends(&self, level: usize) -> bool {
        self.down_block_types[level] == "CrossAttnDownBlock2D"
    }

    /// Whether `level` has attention on the way up.
    pub fn up_attends(&self, level: usize) -> bool {
        self.up_block_types[self.levels() - 1 - level] == "CrossAttnUpBlock2D"
    }

    /// Whether the mid block has attention.
    pub fn mid_attends(&self) -> bool {
        self.mid_block_type.as_deref() == Some("UNetMidBlock2DCrossAttn")
    }

    /// Whether any block looks at the prompt.
    pub fn uses_prompt(&self) -> bool {
        (0..self.levels()).any(|level| self.attends(level))
    }

    fn attends(&self, level: usize) -> bool {
        self.down_attends(level)
            || self.up_attends(level)
            || (level + 1 == self.levels() && self.mid_attends())
    }

    fn head_counts(&self) -> &PerLevel {
        self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim)
    }

    fn check_sizes(&self, levels: usize) -> Result<()> {
        let widths = [self.in_channels, self.out_channels, self.cross_attention_dim, self.norm_num_groups];
        if levels > MAX_DEPTH {
            return Err(Error::limit(format!("{levels} levels; at most {MAX_DEPTH} are possible")));
        }
        for &width in widths.iter().chain(&self.block_out_channels) {
            if width == 0 {
                return Err(Error::input("a UNet's channels and groups cannot be zero"));
            }
            if width > MAX_WIDTH {
                return Err(Error::limit(format!("{width} channels; at most {MAX_WIDTH} are possible")));
            }
        }
        let groups = self.norm_num_groups;
        if let Some(channels) = self.block_out_channels.iter().find(|&&channels| channels % groups != 0) {
            return Err(Error::input(format!(
                "{channels} channels cannot be split into {groups} norm groups"
            )));
        }
        let half = self.block_out_channels[0] / 2;
        if !self.block_out_channels[0].is_multiple_of(2) || half <= self.freq_shift {
            return Err(Error::unsupported("the outermost level needs an even number of channels"));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(Error::input("norm_eps must lie between 0 and 1"));
        }
        Ok(())
    }

    fn check_types(&self) -> Result<()> {
        let known = |found: &[String], plain: &str, attending: &str| match found
            .iter()
            .find(|name| *name != plain && *name != attending)
        {
            Some(name) => Err(Error::unsupported(format!("UNet block type {name}"))
                .with_hint(format!("known are {plain} and {attending}"))),
            None => Ok(()),
        };
        known(&self.down_block_types, "DownBlock2D", "CrossAttnDownBlock2D")?;
        known(&self.up_block_types, "UpBlock2D", "CrossAttnUpBlock2D")?;
        known(self.mid_block_type.as_slice(), "UNetMidBlock2D", "UNetMidBlock2DCrossAttn")
    }
}

/// Keys of diffusers that change the network, with the only value this one has (null always passes).
fn fixed_keys() -> Value {
    json!({
        "act_fn": "silu", "addition_embed_type": null, "attention_type": "default", "center_input_sample": false,
        "class_embed_type": null, "class_embeddings_concat": false, "conv_in_kernel": 3, "conv_out_kernel": 3,
        "cross_attention_norm": null, "downsample_padding": 1, "dual_cross_attention": false,
        "encoder_hid_dim": null, "encoder_hid_dim_type": null, "mid_block_only_cross_attention": false,
        "mid_block_scale_factor": 1, "num_class_embeds": null, "only_cross_attention": false,
        "resnet_out_scale_factor": 1, "resnet_skip_time_act": false, "resnet_time_scale_shift": "default",
        "reverse_transformer_layers_per_block": null, "time_cond_proj_dim": null, "time_embedding_act_fn": null,
        "time_embedding_dim": null, "time_embedding_type": "positional", "timestep_post_act": null,
    })
}
