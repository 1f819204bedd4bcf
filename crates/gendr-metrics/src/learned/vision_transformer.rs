//! The vision transformer of timm, up to one of its blocks.

use gendr_image::{Error, Planes, Result};

use super::{
    attention::MultiHeadAttention,
    convolution::Convolution,
    layers::{LayerNorm, Mlp, Tokens, gelu},
    weights::Weights,
};

/// Features of a head.
const HEAD: usize = 64;
/// Layer normalisation's share of safety.
const EPSILON: f32 = 1e-6;

/// A vision transformer (Dosovitskiy et al. 2021).
#[derive(Clone, Debug)]
pub(super) struct VisionTransformer {
    patches: Convolution,
    class: Vec<f32>,
    /// For the class and for each patch.
    positions: Tokens,
    blocks: Vec<Block>,
}

impl VisionTransformer {
    /// The first `count` blocks, for pictures of `side` pixels.
    pub(super) fn read(weights: &Weights, prefix: &str, side: usize, count: usize) -> Result<Self> {
        let name = format!("{prefix}patch_embed.proj");
        let kernel = weights.get(&[format!("{name}.weight")], 4)?.shape;
        let (width, patch) = (kernel[0], kernel[2]);
        if kernel[3] != patch || !side.is_multiple_of(patch) {
            return Err(Error::input(format!(
                "{name}.weight has the shape {kernel:?}, no patches of {side} pixels"
            )));
        }
        let places = (side / patch) * (side / patch) + 1;
        let positions = weights.shaped(&format!("{prefix}pos_embed"), &[1, places, width])?.data;
        let block = |index: usize| Block::read(weights, &format!("{prefix}blocks.{index}."), width);
        Ok(Self {
            patches: Convolution::read(weights, &name, 3, patch)?,
            class: weights.shaped(&format!("{prefix}cls_token"), &[1, 1, width])?.data,
            positions: Tokens { width, data: positions },
            blocks: (0..count).map(block).collect::<Result<_>>()?,
        })
    }

    pub(super) fn width(&self) -> usize {
        self.positions.width
    }

    /// Patches along a side.
    pub(super) fn side(&self) -> usize {
        (self.positions.count() - 1).isqrt()
    }

    /// The tokens after each block, the class first.
    pub(super) fn walk(&self, input: &Planes) -> Result<Vec<Tokens>> {
        let patches = Tokens::of_pixels(&self.patches.forward(input)?);
        let mut tokens = Tokens { width: self.width(), data: self.class.clone() };
        tokens.data.extend(patches.data);
        let mut tokens = tokens.plus(&self.positions);
        let mut features = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            tokens = block.forward(tokens);
            features.push(tokens.clone());
        }
        Ok(features)
    }
}

#[derive(Clone, Debug)]
struct Block {
    norms: [LayerNorm; 2],
    attention: MultiHeadAttention,
    mlp: Mlp,
}

impl Block {
    fn read(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        let norm = |which: &str| LayerNorm::read(weights, &format!("{name}{which}"), width, EPSILON);
        let packed = ["weight", "bias"].map(|what| format!("{name}attn.qkv.{what}"));
        let output = format!("{name}attn.proj");
        let mlp = ["fc1", "fc2"].map(|layer| format!("{name}mlp.{layer}"));
        Ok(Self {
            norms: [norm("norm1")?, norm("norm2")?],
            attention: MultiHeadAttention::packed(weights, packed, &output, width, width / HEAD)?,
            mlp: Mlp::read(weights, &mlp, width, gelu)?,
        })
    }

    fn forward(&self, tokens: Tokens) -> Tokens {
        let normed = self.norms[0].forward(&tokens);
        let tokens = tokens.plus(&self.attention.forward(&normed, &normed));
        let changed = self.mlp.forward(&self.norms[1].forward(&tokens));
        tokens.plus(&changed)
    }
}
