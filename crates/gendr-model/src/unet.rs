//! The UNet of Stable Diffusion 1 and 2 (diffusers' UNet2DConditionModel), for latents and for pixel-unshuffled
//! pictures alike.

mod blocks;
mod conditioning;
mod config;
mod segments;
mod transformer;

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};

use self::blocks::{DownBlock, MidBlock, UpBlock};
use crate::{
    error::{Error, Result},
    layers::{Conv2d, GroupNorm, Linear},
    ops,
    pass::Pass,
};

pub use self::{
    conditioning::Conditioning,
    config::{PerLevel, UnetConfig},
    segments::UnetParts,
};

/// A UNet: down blocks, mid block, up blocks joined by skips, conditioned on a timestep and a prompt.
#[derive(Module, Debug)]
pub struct Unet {
    conv_in: Conv2d,
    time_embedding: TimeEmbedding,
    down_blocks: Vec<DownBlock>,
    mid_block: Option<MidBlock>,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    #[module(skip)]
    time_frequencies: TimeFrequencies,
    prompt_channels: Option<usize>,
}

impl UnetConfig {
    /// The network, without weights yet.
    ///
    /// # Errors
    /// All of [`UnetConfig::validate`].
    pub fn init(&self, device: &Device) -> Result<Unet> {
        self.validate()?;
        let outer = self.block_out_channels[0];
        let levels = self.levels();
        Ok(Unet {
            conv_in: Conv2d::new(self.in_channels, outer, 3, device),
            time_embedding: TimeEmbedding::new(outer, self.time_channels(), device),
            down_blocks: (0..levels).map(|level| DownBlock::new(self, level, device)).collect(),
            mid_block: self.mid_block_type.as_ref().map(|_| MidBlock::new(self, device)),
            up_blocks: (0..levels).rev().map(|level| UpBlock::new(self, level, device)).collect(),
            conv_norm_out: GroupNorm::new(self.norm_num_groups, outer, self.norm_eps, device),
            conv_out: Conv2d::new(outer, self.out_channels, 3, device),
            time_frequencies: TimeFrequencies {
                channels: outer,
                cosine_first: self.flip_sin_to_cos,
                shift: self.freq_shift,
            },
            prompt_channels: self.uses_prompt().then_some(self.cross_attention_dim),
        })
    }
}

impl Unet {
    /// What timesteps and prompt mean to this network: one timestep for the whole batch or one a sample, and the
    /// prompt embedding `[1 or n, tokens, cross_attention_dim]` (a network without attention needs none).
    ///
    /// # Errors
    /// `Argument` when there is no timestep, or the prompt is missing or has another width.
    pub fn condition(&self, timesteps: &[f32], prompt: Option<Tensor<3>>) -> Result<Conditioning> {
        self.check_told(timesteps, prompt.as_ref())?;
        let mut conditioning = Conditioning::new(self.embed_time(timesteps), prompt);
        self.down_blocks.iter().for_each(|block| block.condition(&mut conditioning));
        self.mid_block.iter().for_each(|block| block.condition(&mut conditioning));
        self.up_blocks.iter().for_each(|block| block.condition(&mut conditioning));
        Ok(conditioning)
    }

    /// Whether there is a timestep, and the prompt that the network needs.
    fn check_told(&self, timesteps: &[f32], prompt: Option<&Tensor<3>>) -> Result<()> {
        if timesteps.is_empty() {
            return Err(Error::argument("a UNet needs at least one timestep"));
        }
        if let Some(channels) = self.prompt_channels {
            let found = prompt.map(|prompt| prompt.dims()[2]);
            if found != Some(channels) {
                let found = found.map_or("none".to_owned(), |width| format!("one {width} wide"));
                return Err(Error::argument(format!(
                    "the UNet needs a prompt embedding {channels} wide, there is {found}"
                )));
            }
        }
        Ok(())
    }

    /// The noise prediction: `[n, in_channels, h, w]` to `[n, out_channels, h, w]`, any height and width.
    pub fn forward(&self, sample: Tensor<4>, conditioning: &Conditioning) -> Tensor<4> {
        self.forward_pass(sample, conditioning, &mut Pass::whole())
    }

    /// The same, normalised as `pass` says, whose observer sees the intermediate activations `conv_in`, `down_blocks.0`
    /// (after its downsampler), ..., `mid_block`, `up_blocks.0`, ..., `conv_norm_out` (before SiLU).
    pub fn forward_pass(&self, sample: Tensor<4>, conditioning: &Conditioning, pass: &mut Pass) -> Tensor<4> {
        let mut conditions = conditioning.iter();

        let mut x = pass.conv(sample, &self.conv_in);
        pass.observe("conv_in", &x);
        let mut skips = vec![x.clone()];
        for (index, block) in self.down_blocks.iter().enumerate() {
            x = block.forward(x, &mut conditions, &mut skips, pass);
            pass.observe(&format!("down_blocks.{index}"), &x);
        }
        if let Some(block) = &self.mid_block {
            x = block.forward(x, &mut conditions, pass);
            pass.observe("mid_block", &x);
        }
        for (index, block) in self.up_blocks.iter().enumerate() {
            x = block.forward(x, &mut conditions, &mut skips, pass);
            pass.observe(&format!("up_blocks.{index}"), &x);
        }
        pass.last(x, &self.conv_norm_out, &self.conv_out, "conv_norm_out")
    }

    /// Sines and cosines of the timesteps, `[timesteps, block_out_channels[0]]`.
    pub fn project_time(&self, timesteps: &[f32]) -> Tensor<2> {
        self.time_frequencies.project(timesteps, &self.conv_in.weight.lazy_device())
    }

    /// The time embedding, `[timesteps, 4 · block_out_channels[0]]`.
    pub fn embed_time(&self, timesteps: &[f32]) -> Tensor<2> {
        self.time_embedding.forward(self.project_time(timesteps))
    }

    /// Multiply-adds of one forward pass on a sample of `height` x `width` with a prompt of `prompt_tokens`, matrix
    /// products of attention, timestep and prompt included.
    pub fn multiply_adds(&self, height: usize, width: usize, prompt_tokens: usize) -> u64 {
        let mut size = [height, width];
        let mut sum = self.conv_in.multiply_adds(height * width) + self.time_embedding.multiply_adds();
        let mut sizes = Vec::new();
        for block in &self.down_blocks {
            sizes.push(size);
            sum += block.multiply_adds(&mut size, prompt_tokens);
        }
        sum += self.mid_block.as_ref().map_or(0, |block| block.multiply_adds(size, prompt_tokens));
        for block in &self.up_blocks {
            let at = sizes.pop().unwrap_or(size);
            sum += block.multiply_adds(at, *sizes.last().unwrap_or(&at), prompt_tokens);
        }
        sum + self.conv_out.multiply_adds(height * width)
    }
}

/// The frequencies a timestep is spread over.
#[derive(Debug, Clone)]
struct TimeFrequencies {
    channels: usize,
    cosine_first: bool,
    shift: usize,
}

impl TimeFrequencies {
    /// Frequency i is 10000^(-i / (channels/2 - shift)).
    fn project(&self, timesteps: &[f32], device: &Device) -> Tensor<2> {
        let half = self.channels / 2;
        let angle = |timestep: f32, index: usize| {
            let exponent = -(10000f64.ln()) * index as f64 / (half - self.shift) as f64;
            f64::from(timestep) * exponent.exp()
        };
        let mut values = Vec::with_capacity(timesteps.len() * self.channels);
        for &timestep in timesteps {
            let sines = (0..half).map(|index| angle(timestep, index).sin() as f32);
            let cosines = (0..half).map(|index| angle(timestep, index).cos() as f32);
            match self.cosine_first {
                true => values.extend(cosines.chain(sines)),
                false => values.extend(sines.chain(cosines)),
            }
        }
        Tensor::from_data(TensorData::new(values, [timesteps.len(), self.channels]), device)
    }
}

/// Linear, SiLU, linear.
#[derive(Module, Debug)]
struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimeEmbedding {
    fn new(channels: usize, time_channels: usize, device: &Device) -> Self {
        Self {
            linear_1: Linear::new(channels, time_channels, device),
            linear_2: Linear::new(time_channels, time_channels, device),
        }
    }

    fn forward(&self, projected: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(ops::silu(self.linear_1.forward(projected)))
    }

    fn multiply_adds(&self) -> u64 {
        self.linear_1.multiply_adds(1) + self.linear_2.multiply_adds(1)
    }
}
