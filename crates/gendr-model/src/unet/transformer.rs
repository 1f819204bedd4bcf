//! The transformer of a UNet's level: self-attention, attention to the prompt, and a gated feed-forward layer.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use crate::{
    layers::{Conv2d, GroupNorm, LayerNorm, Linear},
    ops,
    pass::Pass,
};

/// Keys and values of the prompt for one cross-attention, each `[1 or n, prompt tokens, channels]`.
#[derive(Clone, Debug)]
pub(crate) struct PromptKeys {
    key: Tensor<3>,
    value: Tensor<3>,
}

/// Normalises a picture's features, takes its pixels as tokens through the transformer blocks, and adds the input.
#[derive(Module, Debug)]
pub(crate) struct Transformer2d {
    norm: GroupNorm,
    proj_in: Projection,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Projection,
}

/// Widths of a [`Transformer2d`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransformerConfig {
    /// Channels in and out.
    pub(crate) channels: usize,
    /// Attention heads, a divisor of `channels`.
    pub(crate) heads: usize,
    /// Width of the prompt embedding.
    pub(crate) prompt_channels: usize,
    /// Number of transformer blocks.
    pub(crate) blocks: usize,
    /// Groups of the norm at the entry.
    pub(crate) norm_groups: usize,
    /// Linear layers at entry and exit instead of 1x1 convolutions.
    pub(crate) linear_projection: bool,
}

impl TransformerConfig {
    /// The transformer, without weights yet.
    pub(crate) fn init(self, device: &Device) -> Transformer2d {
        let projection = || match self.linear_projection {
            true => Projection::Linear(Linear::new(self.channels, self.channels, device)),
            false => Projection::Conv(Conv2d::new(self.channels, self.channels, 1, device)),
        };
        Transformer2d {
            norm: GroupNorm::new(self.norm_groups, self.channels, 1e-6, device),
            proj_in: projection(),
            transformer_blocks: (0..self.blocks).map(|_| TransformerBlock::new(&self, device)).collect(),
            proj_out: projection(),
        }
    }
}

impl Transformer2d {
    /// The prompt's keys and values for each block: `[n, tokens, prompt_channels]` in.
    pub(crate) fn prompt_keys<'a>(&'a self, prompt: &'a Tensor<3>) -> impl Iterator<Item = PromptKeys> + 'a {
        self.transformer_blocks.iter().map(|block| block.attn2.prompt_keys(prompt))
    }

    /// `[n, channels, h, w]` to the same; takes one of `prompt` a block.
    pub(crate) fn forward<'a>(
        &self,
        x: Tensor<4>,
        prompt: &mut impl Iterator<Item = &'a PromptKeys>,
        pass: &mut Pass,
    ) -> Tensor<4> {
        let [_, c, h, w] = x.dims();
        let tokens = ops::tokens(pass.norm(x.clone(), &self.norm));
        let mut tokens = self.proj_in.forward(tokens);
        let mut prompt_tokens = 0;
        for (block, keys) in self.transformer_blocks.iter().zip(prompt) {
            if pass.stopped() {
                return x;
            }
            tokens = block.forward(tokens, keys, [h, w], pass);
            prompt_tokens = keys.key.dims()[1];
        }
        let y = ops::pixels_of_tokens(self.proj_out.forward(tokens), [h, w]);
        // Self-attention has told of its own work.
        let told = self.transformer_blocks.len() * 2 * c;
        pass.done(
            self.multiply_adds(h * w, prompt_tokens).saturating_sub((told * h * w) as u64 * (h * w) as u64),
        );
        x + y
    }

    /// Multiply-adds for `positions` pixels and `prompt_tokens` tokens, the prompt's keys and values included.
    pub(crate) fn multiply_adds(&self, positions: usize, prompt_tokens: usize) -> u64 {
        let projections = self.proj_in.multiply_adds(positions) + self.proj_out.multiply_adds(positions);
        let blocks = self.transformer_blocks.iter();
        projections + blocks.map(|block| block.multiply_adds(positions, prompt_tokens)).sum::<u64>()
    }
}

/// A layer that mixes channels alone: stored as a matrix (SD2) or as a 1x1 convolution (SD1).
#[derive(Module, Debug)]
enum Projection {
    Linear(Linear),
    Conv(Conv2d),
}

impl Projection {
    fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Linear(linear) => linear.forward(tokens),
            Self::Conv(conv) => {
                let weight = conv.weight.val();
                let [out, channels, ..] = weight.dims();
                ops::linear(tokens, weight.reshape([out, channels]), Some(conv.bias.val()))
            }
        }
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        match self {
            Self::Linear(linear) => linear.multiply_adds(positions),
            Self::Conv(conv) => conv.multiply_adds(positions),
        }
    }
}

#[derive(Module, Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl TransformerBlock {
    fn new(config: &TransformerConfig, device: &Device) -> Self {
        let &TransformerConfig { channels, heads, prompt_channels, .. } = config;
        Self {
            norm1: LayerNorm::new(channels, device),
            attn1: Attention::new(channels, channels, heads, device),
            norm2: LayerNorm::new(channels, device),
            attn2: Attention::new(channels, prompt_channels, heads, device),
            norm3: LayerNorm::new(channels, device),
            ff: FeedForward::new(channels, device),
        }
    }

    /// `[n, h · w, channels]` to the same, for a picture of `size` (height, width).
    fn forward(&self, x: Tensor<3>, prompt: &PromptKeys, size: [usize; 2], pass: &mut Pass) -> Tensor<3> {
        let x = self.attn1.forward_self_added(self.norm1.forward(x.clone()), size, pass, x);
        let x = self.attn2.forward_added(self.norm2.forward(x.clone()), prompt, x);
        self.ff.forward_added(self.norm3.forward(x.clone()), x)
    }

    fn multiply_adds(&self, positions: usize, prompt_tokens: usize) -> u64 {
        self.attn1.multiply_adds(positions, positions)
            + self.attn2.multiply_adds(positions, prompt_tokens)
            + self.ff.multiply_adds(positions)
    }
}

/// Multi-head attention of the tokens to themselves or to the prompt.
#[derive(Module, Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
    heads: usize,
}

impl Attention {
    fn new(channels: usize, key_channels: usize, heads: usize, device: &Device) -> Self {
        Self {
            to_q: Linear::without_bias(channels, channels, device),
            to_k: Linear::without_bias(key_channels, channels, device),
            to_v: Linear::without_bias(key_channels, channels, device),
            to_out: vec![Linear::new(channels, channels, device)],
            heads,
        }
    }

    fn prompt_keys(&self, tokens: &Tensor<3>) -> PromptKeys {
        PromptKeys { key: self.to_k.forward(tokens.clone()), value: self.to_v.forward(tokens.clone()) }
    }

    /// Attention of the pixels of a picture of `size` to each other, plus `residual`.
    fn forward_self_added(
        &self,
        x: Tensor<3>,
        size: [usize; 2],
        pass: &mut Pass,
        residual: Tensor<3>,
    ) -> Tensor<3> {
        let PromptKeys { key, value } = self.prompt_keys(&x);
        let query = self.to_q.forward(x);
        let y = pass.attention([query, key, value], self.heads, size);
        self.to_out[0].forward_added(y, residual)
    }

    /// Attention to the prompt, plus `residual`.
    fn forward_added(&self, x: Tensor<3>, keys: &PromptKeys, residual: Tensor<3>) -> Tensor<3> {
        let n = x.dims()[0];
        // One prompt serves the whole batch.
        let for_batch = |x: &Tensor<3>| match x.dims() {
            [1, tokens, channels] if n != 1 => x.clone().expand([n, tokens, channels]),
            _ => x.clone(),
        };
        let query = self.to_q.forward(x);
        let y = ops::attention(query, for_batch(&keys.key), for_batch(&keys.value), self.heads);
        self.to_out[0].forward_added(y, residual)
    }

    fn multiply_adds(&self, positions: usize, keys: usize) -> u64 {
        let channels = self.to_q.weight.lazy_shape()[0];
        let matmuls = 2 * positions as u64 * keys as u64 * channels as u64;
        let keyed = self.to_k.multiply_adds(keys) + self.to_v.multiply_adds(keys);
        self.to_q.multiply_adds(positions) + keyed + matmuls + self.to_out[0].multiply_adds(positions)
    }
}

/// GEGLU to four times the width and back (keys `net.0.proj` and `net.2`; `net.1` was a dropout).
#[derive(Module, Debug)]
struct FeedForward {
    net: (GegluProjection, Nothing, Linear),
}

#[derive(Module, Debug)]
struct GegluProjection {
    proj: Linear,
}

#[derive(Module, Debug)]
struct Nothing {}

impl FeedForward {
    fn new(channels: usize, device: &Device) -> Self {
        let proj = Linear::new(channels, 8 * channels, device);
        Self { net: (GegluProjection { proj }, Nothing {}, Linear::new(4 * channels, channels, device)) }
    }

    fn forward_added(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.net.2.forward_added(self.net.0.proj.forward_geglu(x), residual)
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        self.net.0.proj.multiply_adds(positions) + self.net.2.multiply_adds(positions)
    }
}
