//! The levels of the UNet: down blocks, mid block, up blocks.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::{
    conditioning::{Conditioning, Conditions},
    config::UnetConfig,
    transformer::{Transformer2d, TransformerConfig},
};
use crate::{
    pass::Pass,
    resnet::{Downsampler, ResnetBlock, ResnetConfig, Upsampler},
};

/// A level on the way down: residual blocks, each with its transformer if the level attends, then a downsampler.
#[derive(Module, Debug)]
pub(crate) struct DownBlock {
    pub(super) resnets: Vec<ResnetBlock>,
    pub(super) attentions: Vec<Transformer2d>,
    pub(super) downsamplers: Vec<Downsampler>,
}

impl DownBlock {
    /// The block of `level`, the outermost being 0.
    pub(crate) fn new(config: &UnetConfig, level: usize, device: &Device) -> Self {
        let channels = config.block_out_channels[level];
        let below = config.block_out_channels[level.saturating_sub(1)];
        let layers = config.layers_per_block.at(level);
        let width_in = |layer| if layer == 0 { below } else { channels };
        Self {
            resnets: (0..layers).map(|layer| resnet(config, width_in(layer), channels, device)).collect(),
            attentions: transformers(
                config,
                level,
                if config.down_attends(level) { layers } else { 0 },
                device,
            ),
            downsamplers: match level + 1 < config.levels() {
                true => vec![Downsampler::new(channels, device)],
                false => Vec::new(),
            },
        }
    }

    /// Adds what this block needs of timestep and prompt, in the order in which [`Self::forward`] takes it.
    pub(crate) fn condition(&self, conditioning: &mut Conditioning) {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            conditioning.add(resnet, self.attentions.get(layer));
        }
    }

    /// The block's output; every intermediate state an up block will want goes to `skips`.
    pub(crate) fn forward(
        &self,
        mut x: Tensor<4>,
        conditions: &mut Conditions,
        skips: &mut Vec<Tensor<4>>,
        pass: &mut Pass,
    ) -> Tensor<4> {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            x = conditions.layer(x, resnet, self.attentions.get(layer), pass);
            skips.push(x.clone());
        }
        for downsampler in &self.downsamplers {
            x = pass.downsample_rounding_up(x, &downsampler.conv);
            skips.push(x.clone());
        }
        x
    }

    /// Multiply-adds from `size` (height, width), which becomes the size after the downsampler.
    pub(crate) fn multiply_adds(&self, size: &mut [usize; 2], prompt_tokens: usize) -> u64 {
        let mut sum = layers_multiply_adds(&self.resnets, &self.attentions, area(*size), prompt_tokens);
        for downsampler in &self.downsamplers {
            *size = size.map(|side| side.div_ceil(2));
            sum += downsampler.conv.multiply_adds(area(*size));
        }
        sum
    }
}

/// The innermost level: a residual block, and for each transformer one more after it.
#[derive(Module, Debug)]
pub(crate) struct MidBlock {
    pub(super) resnets: Vec<ResnetBlock>,
    pub(super) attentions: Vec<Transformer2d>,
}

impl MidBlock {
    /// The mid block of a configuration that has one.
    pub(crate) fn new(config: &UnetConfig, device: &Device) -> Self {
        let level = config.levels() - 1;
        let channels = config.block_out_channels[level];
        let attentions = usize::from(config.mid_attends());
        Self {
            resnets: (0..=attentions).map(|_| resnet(config, channels, channels, device)).collect(),
            attentions: transformers(config, level, attentions, device),
        }
    }

    /// Adds what this block needs of timestep and prompt.
    pub(crate) fn condition(&self, conditioning: &mut Conditioning) {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            conditioning.add(resnet, self.attentions.get(layer));
        }
    }

    /// `[n, c, h, w]` to the same.
    pub(crate) fn forward(
        &self,
        mut x: Tensor<4>,
        conditions: &mut Conditions,
        pass: &mut Pass,
    ) -> Tensor<4> {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            x = conditions.layer(x, resnet, self.attentions.get(layer), pass);
        }
        x
    }

    /// Multiply-adds at `size` (height, width).
    pub(crate) fn multiply_adds(&self, size: [usize; 2], prompt_tokens: usize) -> u64 {
        layers_multiply_adds(&self.resnets, &self.attentions, area(size), prompt_tokens)
    }
}

/// A level on the way up: each residual block takes one skipped state beside its input; then an upsampler.
#[derive(Module, Debug)]
pub(crate) struct UpBlock {
    pub(super) resnets: Vec<ResnetBlock>,
    pub(super) attentions: Vec<Transformer2d>,
    pub(super) upsamplers: Vec<Upsampler>,
}

impl UpBlock {
    /// The block of `level`, the outermost being 0.
    pub(crate) fn new(config: &UnetConfig, level: usize, device: &Device) -> Self {
        let widths = &config.block_out_channels;
        let channels = widths[level];
        let above = *widths.get(level + 1).unwrap_or(&channels);
        let below = widths[level.saturating_sub(1)];
        let layers = config.layers_per_block.at(level) + 1;
        let width_in = |layer| {
            let hidden = if layer == 0 { above } else { channels };
            let skipped = if layer + 1 == layers { below } else { channels };
            hidden + skipped
        };
        Self {
            resnets: (0..layers).map(|layer| resnet(config, width_in(layer), channels, device)).collect(),
            attentions: transformers(
                config,
                level,
                if config.up_attends(level) { layers } else { 0 },
                device,
            ),
            upsamplers: match level > 0 {
                true => vec![Upsampler::new(channels, device)],
                false => Vec::new(),
            },
        }
    }

    /// Adds what this block needs of timestep and prompt.
    pub(crate) fn condition(&self, conditioning: &mut Conditioning) {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            conditioning.add(resnet, self.attentions.get(layer));
        }
    }

    /// The block's output, at the size of the skipped state the next block will take.
    pub(crate) fn forward(
        &self,
        mut x: Tensor<4>,
        conditions: &mut Conditions,
        skips: &mut Vec<Tensor<4>>,
        pass: &mut Pass,
    ) -> Tensor<4> {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            if let Some(skip) = skips.pop() {
                x = Tensor::cat(vec![x, skip], 1);
            }
            x = conditions.layer(x, resnet, self.attentions.get(layer), pass);
        }
        if let (Some(upsampler), Some(next)) = (self.upsamplers.first(), skips.last()) {
            let [_, _, h, w] = next.dims();
            x = pass.upsample(x, [h, w], &upsampler.conv);
        }
        x
    }

    /// Multiply-adds at `size` (height, width), going up to `next`.
    pub(crate) fn multiply_adds(&self, size: [usize; 2], next: [usize; 2], prompt_tokens: usize) -> u64 {
        let upsamplers = self.upsamplers.iter().map(|upsampler| upsampler.conv.multiply_adds(area(next)));
        layers_multiply_adds(&self.resnets, &self.attentions, area(size), prompt_tokens)
            + upsamplers.sum::<u64>()
    }
}

impl Conditions<'_> {
    /// One residual block and its transformer, if it has one.
    pub(super) fn layer(
        &mut self,
        x: Tensor<4>,
        resnet: &ResnetBlock,
        attention: Option<&Transformer2d>,
        pass: &mut Pass,
    ) -> Tensor<4> {
        let x = resnet.forward(x, self.next_time_shift(), pass);
        match attention {
            Some(attention) => attention.forward(x, &mut self.prompt, pass),
            None => x,
        }
    }
}

fn resnet(config: &UnetConfig, in_channels: usize, out_channels: usize, device: &Device) -> ResnetBlock {
    ResnetConfig {
        in_channels,
        out_channels,
        time_channels: Some(config.time_channels()),
        norm_groups: config.norm_num_groups,
        norm_epsilon: config.norm_eps,
    }
    .init(device)
}

fn transformers(config: &UnetConfig, level: usize, count: usize, device: &Device) -> Vec<Transformer2d> {
    let transformer = TransformerConfig {
        channels: config.block_out_channels[level],
        heads: config.heads(level),
        prompt_channels: config.cross_attention_dim,
        blocks: config.transformer_layers_per_block.at(level),
        norm_groups: config.norm_num_groups,
        linear_projection: config.use_linear_projection,
    };
    (0..count).map(|_| transformer.init(device)).collect()
}

fn layers_multiply_adds(
    resnets: &[ResnetBlock],
    attentions: &[Transformer2d],
    positions: usize,
    prompt_tokens: usize,
) -> u64 {
    resnets.iter().map(|resnet| resnet.multiply_adds(positions)).sum::<u64>()
        + attentions.iter().map(|attention| attention.multiply_adds(positions, prompt_tokens)).sum::<u64>()
}

fn area([height, width]: [usize; 2]) -> usize {
    height * width
}
