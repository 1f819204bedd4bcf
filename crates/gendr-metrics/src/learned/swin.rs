//! The windowed transformer inside MANIQA.

use gendr_image::{Error, Result};
use rayon::prelude::*;

use super::{
    attention::MultiHeadAttention,
    convolution::Convolution,
    layers::{LayerNorm, Mlp, Tokens, gelu},
    weights::Weights,
};

/// Side of a window, in tokens.
const WINDOW: usize = 4;
const HEADS: usize = 4;
/// Layer normalisation's share of safety.
const EPSILON: f32 = 1e-5;
/// Added to the scores of tokens that were no neighbours before the shift.
const APART: f32 = -100.0;

/// Swin transformer layers (Liu et al. 2021), each with a convolution and a shortcut around it.
#[derive(Clone, Debug)]
pub(super) struct Swin {
    layers: Vec<(Vec<Block>, Convolution)>,
    /// Side of the square of tokens.
    side: usize,
    /// Factor of what a layer adds.
    scale: f32,
}

impl Swin {
    pub(super) fn read(
        weights: &Weights,
        prefix: &str,
        width: usize,
        side: usize,
        scale: f32,
    ) -> Result<Self> {
        let window = WINDOW.min(side);
        if !side.is_multiple_of(window) {
            return Err(Error::input(format!("{side} tokens a side are no whole windows of {window}")));
        }
        let layer_name = |layer: usize| format!("{prefix}.layers.{layer}.");
        let count = weights.count(|layer| layer_name(layer) + "conv.weight");
        let mut layers = Vec::new();
        for layer in 0..count {
            let layer = layer_name(layer);
            let name = |block: usize| format!("{layer}blocks.{block}.");
            let count = weights.count(|block| name(block) + "norm1.weight");
            let block = |index: usize| {
                let shift = if index % 2 == 1 && side > window { window / 2 } else { 0 };
                Block::read(weights, &name(index), width, Windows { side, window, shift })
            };
            let blocks = (0..count).map(block).collect::<Result<_>>()?;
            let conv = Convolution::read(weights, &format!("{layer}conv"), width, 1)?.padded().rectified();
            if conv.out_channels() != width || conv.kernel() != Some(3) {
                return Err(Error::input(format!("{layer}conv has no kernels of 3x3 for {width} channels")));
            }
            layers.push((blocks, conv));
        }
        Ok(Self { layers, side, scale })
    }

    pub(super) fn forward(&self, mut tokens: Tokens) -> Result<Tokens> {
        for (blocks, conv) in &self.layers {
            let inner = blocks.iter().fold(tokens.clone(), |tokens, block| block.forward(tokens));
            let inner = Tokens::of_pixels(&conv.forward(&inner.to_maps(self.side, self.side)?)?);
            tokens = tokens.plus(&inner.mapped(|value| value * self.scale));
        }
        Ok(tokens)
    }
}

/// How a square of tokens is cut.
#[derive(Clone, Copy, Debug)]
struct Windows {
    side: usize,
    window: usize,
    /// Rows and columns that go around before it is cut.
    shift: usize,
}

impl Windows {
    fn count(self) -> usize {
        (self.side / self.window).pow(2)
    }

    /// The places of a window's tokens, each with the part of the shifted square that it lies in.
    fn places(self, window: usize) -> Vec<(usize, usize)> {
        let Self { side, window: length, shift } = self;
        let (top, left) = (window / (side / length) * length, window % (side / length) * length);
        let part =
            |at: usize| usize::from(at >= side - length) + usize::from(shift > 0 && at >= side - shift);
        let place = |index: usize| {
            let (y, x) = (top + index / length, left + index % length);
            let source = (y + shift) % side * side + (x + shift) % side;
            (source, if shift > 0 { part(y) * 3 + part(x) } else { 0 })
        };
        (0..length * length).map(place).collect()
    }
}

#[derive(Clone, Debug)]
struct Block {
    windows: Windows,
    norms: [LayerNorm; 2],
    attention: MultiHeadAttention,
    /// Added to the scores by relative position, `[(2 window - 1)^2, heads]`.
    bias: Vec<f32>,
    mlp: Mlp,
}

impl Block {
    fn read(weights: &Weights, name: &str, width: usize, windows: Windows) -> Result<Self> {
        let norm = |which: &str| LayerNorm::read(weights, &format!("{name}{which}"), width, EPSILON);
        let packed = ["weight", "bias"].map(|what| format!("{name}attn.qkv.{what}"));
        let output = format!("{name}attn.proj");
        let mlp = ["fc1", "fc2"].map(|layer| format!("{name}mlp.{layer}"));
        let places = (2 * windows.window - 1).pow(2);
        let bias =
            weights.shaped(&format!("{name}attn.relative_position_bias_table"), &[places, HEADS])?.data;
        Ok(Self {
            windows,
            norms: [norm("norm1")?, norm("norm2")?],
            attention: MultiHeadAttention::packed(weights, packed, &output, width, HEADS)?,
            bias,
            mlp: Mlp::read(weights, &mlp, width, gelu)?,
        })
    }

    fn forward(&self, tokens: Tokens) -> Tokens {
        let normed = self.norms[0].forward(&tokens);
        let results: Vec<(Vec<(usize, usize)>, Tokens)> = (0..self.windows.count())
            .into_par_iter()
            .map(|window| {
                let places = self.windows.places(window);
                let data = places.iter().flat_map(|&(place, _)| normed.token(place)).copied().collect();
                let inside = Tokens { width: tokens.width, data };
                let bias = |head, query, key| self.bias_of(head, query, key, &places);
                let attended = self.attention.biased(&inside, bias);
                (places, attended)
            })
            .collect();
        let mut tokens = tokens;
        for (places, attended) in results {
            for (index, (place, _)) in places.into_iter().enumerate() {
                let start = place * tokens.width;
                for (value, change) in tokens.data[start..].iter_mut().zip(attended.token(index)) {
                    *value += change;
                }
            }
        }
        let changed = self.mlp.forward(&self.norms[1].forward(&tokens));
        tokens.plus(&changed)
    }

    fn bias_of(&self, head: usize, query: usize, key: usize, places: &[(usize, usize)]) -> f32 {
        let window = self.windows.window;
        let apart = |a: usize, b: usize| a + window - 1 - b;
        let (rows, columns) = (apart(query / window, key / window), apart(query % window, key % window));
        let bias = self.bias[(rows * (2 * window - 1) + columns) * HEADS + head];
        if places[query].1 == places[key].1 { bias } else { bias + APART }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_token_once() {
        for (shift, parts) in [(0, 1), (2, 9)] {
            let windows = Windows { side: 8, window: 4, shift };
            let mut places: Vec<(usize, usize)> =
                (0..windows.count()).flat_map(|window| windows.places(window)).collect();
            let mut seen: Vec<usize> = places.iter().map(|(_, part)| *part).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), parts);
            places.sort_unstable();
            assert!(places.iter().enumerate().all(|(index, (place, _))| index == *place));
        }
    }
}
