//! Encoder and decoder.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use super::config::AutoencoderKlConfig;
use crate::{
    layers::{Conv2d, GroupNorm, Linear},
    ops,
    pass::Pass,
    resnet::{Downsampler, ResnetBlock, ResnetConfig, Upsampler},
};

/// Epsilon of all norms.
const EPSILON: f64 = 1e-6;

/// Picture to moments.
#[derive(Module, Debug)]
pub(super) struct Encoder {
    pub(super) conv_in: Conv2d,
    pub(super) down_blocks: Vec<DownBlock>,
    pub(super) mid_block: MidBlock,
    pub(super) conv_norm_out: GroupNorm,
    pub(super) conv_out: Conv2d,
}

/// Latent to picture.
#[derive(Module, Debug)]
pub(super) struct Decoder {
    pub(super) conv_in: Conv2d,
    pub(super) mid_block: MidBlock,
    pub(super) up_blocks: Vec<UpBlock>,
    pub(super) conv_norm_out: GroupNorm,
    pub(super) conv_out: Conv2d,
}

impl Encoder {
    pub(super) fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let widths = &config.block_out_channels;
        let (outer, inner) = (widths[0], widths[widths.len() - 1]);
        Self {
            conv_in: Conv2d::new(config.in_channels, outer, 3, device),
            down_blocks: (0..widths.len()).map(|level| DownBlock::new(config, level, device)).collect(),
            mid_block: MidBlock::new(config, device),
            conv_norm_out: GroupNorm::new(config.norm_num_groups, inner, EPSILON, device),
            conv_out: Conv2d::new(inner, 2 * config.latent_channels, 3, device),
        }
    }

    /// From the picture down to the size of the latent.
    pub(super) fn outer(&self, picture: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let mut x = pass.conv(picture, &self.conv_in);
        pass.observe("encoder.conv_in", &x);
        for (index, block) in self.down_blocks[..self.down_blocks.len() - 1].iter().enumerate() {
            x = block.forward(x, pass);
            pass.observe(&format!("encoder.down_blocks.{index}"), &x);
        }
        x
    }

    /// The rest, at the size of the latent.
    pub(super) fn inner(&self, mut x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let last = self.down_blocks.len() - 1;
        x = self.down_blocks[last].forward(x, pass);
        pass.observe(&format!("encoder.down_blocks.{last}"), &x);
        x = self.mid_block.forward(x, pass, "encoder");
        pass.last(x, &self.conv_norm_out, &self.conv_out, "encoder.conv_norm_out")
    }

    /// From a picture of `size` (height, width), which becomes the size of the latent.
    pub(super) fn multiply_adds(&self, size: &mut [usize; 2]) -> u64 {
        let mut sum = self.conv_in.multiply_adds(area(*size));
        for block in &self.down_blocks {
            sum += block.resnets.iter().map(|resnet| resnet.multiply_adds(area(*size))).sum::<u64>();
            for downsampler in &block.downsamplers {
                *size = size.map(|side| side / 2);
                sum += downsampler.conv.multiply_adds(area(*size));
            }
        }
        sum + self.mid_block.multiply_adds(area(*size)) + self.conv_out.multiply_adds(area(*size))
    }
}

impl Decoder {
    pub(super) fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let widths = &config.block_out_channels;
        let (outer, inner) = (widths[0], widths[widths.len() - 1]);
        Self {
            conv_in: Conv2d::new(config.latent_channels, inner, 3, device),
            mid_block: MidBlock::new(config, device),
            up_blocks: (0..widths.len()).rev().map(|level| UpBlock::new(config, level, device)).collect(),
            conv_norm_out: GroupNorm::new(config.norm_num_groups, outer, EPSILON, device),
            conv_out: Conv2d::new(outer, config.out_channels, 3, device),
        }
    }

    /// All that happens at the size of the latent.
    pub(super) fn inner(&self, z: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let mut x = pass.conv(z, &self.conv_in);
        pass.observe("decoder.conv_in", &x);
        x = self.mid_block.forward(x, pass, "decoder");
        self.up_blocks[0].resnets.iter().fold(x, |x, resnet| resnet.forward(x, None, pass))
    }

    /// From the size of the latent up to the picture.
    pub(super) fn outer(&self, mut x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        for (index, block) in self.up_blocks.iter().enumerate() {
            if index > 0 {
                x = block.resnets.iter().fold(x, |x, resnet| resnet.forward(x, None, pass));
            }
            x = block.upsamplers.iter().fold(x, |x, upsampler| {
                let [_, _, h, w] = x.dims();
                pass.upsample(x, [2 * h, 2 * w], &upsampler.conv)
            });
            pass.observe(&format!("decoder.up_blocks.{index}"), &x);
        }
        pass.last(x, &self.conv_norm_out, &self.conv_out, "decoder.conv_norm_out")
    }

    /// From a latent of `size` (height, width).
    pub(super) fn multiply_adds(&self, mut size: [usize; 2]) -> u64 {
        let mut sum = self.conv_in.multiply_adds(area(size)) + self.mid_block.multiply_adds(area(size));
        for block in &self.up_blocks {
            sum += block.resnets.iter().map(|resnet| resnet.multiply_adds(area(size))).sum::<u64>();
            for upsampler in &block.upsamplers {
                size = size.map(|side| 2 * side);
                sum += upsampler.conv.multiply_adds(area(size));
            }
        }
        sum + self.conv_out.multiply_adds(area(size))
    }
}

/// A level of the encoder.
#[derive(Module, Debug)]
pub(super) struct DownBlock {
    pub(super) resnets: Vec<ResnetBlock>,
    pub(super) downsamplers: Vec<Downsampler>,
}

impl DownBlock {
    fn new(config: &AutoencoderKlConfig, level: usize, device: &Device) -> Self {
        let widths = &config.block_out_channels;
        let (from, to) = (widths[level.saturating_sub(1)], widths[level]);
        Self {
            resnets: resnets(config, from, to, config.layers_per_block, device),
            downsamplers: match level + 1 < widths.len() {
                true => vec![Downsampler::new(to, device)],
                false => Vec::new(),
            },
        }
    }

    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let x = self.resnets.iter().fold(x, |x, resnet| resnet.forward(x, None, pass));
        self.downsamplers.iter().fold(x, |x, downsampler| pass.downsample(x, &downsampler.conv))
    }
}

/// A level of the decoder.
#[derive(Module, Debug)]
pub(super) struct UpBlock {
    pub(super) resnets: Vec<ResnetBlock>,
    pub(super) upsamplers: Vec<Upsampler>,
}

impl UpBlock {
    fn new(config: &AutoencoderKlConfig, level: usize, device: &Device) -> Self {
        let widths = &config.block_out_channels;
        let (from, to) = (*widths.get(level + 1).unwrap_or(&widths[level]), widths[level]);
        Self {
            resnets: resnets(config, from, to, config.layers_per_block + 1, device),
            upsamplers: match level > 0 {
                true => vec![Upsampler::new(to, device)],
                false => Vec::new(),
            },
        }
    }
}

/// Two residual blocks, attention between them.
#[derive(Module, Debug)]
pub(super) struct MidBlock {
    pub(super) resnets: Vec<ResnetBlock>,
    attentions: Vec<SpatialAttention>,
}

impl MidBlock {
    fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let channels = config.block_out_channels[config.block_out_channels.len() - 1];
        Self {
            resnets: resnets(config, channels, channels, 2, device),
            attentions: match config.mid_block_add_attention {
                true => vec![SpatialAttention::new(config.norm_num_groups, channels, device)],
                false => Vec::new(),
            },
        }
    }

    fn forward(&self, mut x: Tensor<4>, pass: &mut Pass, half: &str) -> Tensor<4> {
        for (index, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, None, pass);
            if let Some(attention) = self.attentions.get(index) {
                x = attention.forward(x, pass);
                pass.observe(&format!("{half}.mid_attention"), &x);
            }
        }
        pass.observe(&format!("{half}.mid_block"), &x);
        x
    }

    /// One residual block and the attention after it, if there is one.
    pub(super) fn layer(&self, index: usize, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let x = self.resnets[index].forward(x, None, pass);
        match self.attentions.get(index) {
            Some(attention) => attention.forward(x, pass),
            None => x,
        }
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        self.resnets.iter().map(|resnet| resnet.multiply_adds(positions)).sum::<u64>()
            + self.attentions.iter().map(|attention| attention.multiply_adds(positions)).sum::<u64>()
    }
}

/// Attention of every pixel to every pixel, one head.
#[derive(Module, Debug)]
struct SpatialAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
}

impl SpatialAttention {
    fn new(groups: usize, channels: usize, device: &Device) -> Self {
        let linear = || Linear::new(channels, channels, device);
        Self {
            group_norm: GroupNorm::new(groups, channels, EPSILON, device),
            to_q: linear(),
            to_k: linear(),
            to_v: linear(),
            to_out: vec![linear()],
        }
    }

    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        if pass.stopped() {
            return x;
        }
        let [.., h, w] = x.dims();
        let normed = pass.norm(x.clone(), &self.group_norm);
        let seen = ops::tokens(pass.keys(normed.clone()));
        let query = self.to_q.forward(ops::tokens(normed));
        let key = self.to_k.forward(seen.clone());
        let value = self.to_v.forward(seen);
        let y = self.to_out[0].forward(ops::attention(query, key, value, 1));
        pass.done(self.multiply_adds(h * w));
        x + ops::pixels_of_tokens(y, [h, w])
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        let channels = self.to_q.weight.lazy_shape()[0] as u64;
        4 * self.to_q.multiply_adds(positions) + 2 * (positions as u64).pow(2) * channels
    }
}

fn resnets(
    config: &AutoencoderKlConfig,
    from: usize,
    to: usize,
    count: usize,
    device: &Device,
) -> Vec<ResnetBlock> {
    let resnet = |in_channels| ResnetConfig {
        in_channels,
        out_channels: to,
        time_channels: None,
        norm_groups: config.norm_num_groups,
        norm_epsilon: EPSILON,
    };
    (0..count).map(|layer| resnet(if layer == 0 { from } else { to }).init(device)).collect()
}

fn area([height, width]: [usize; 2]) -> usize {
    height * width
}
