//! MUSIQ: multi-scale image quality transformer.

use gendr_image::{Error, Planes, Resampling, Result, resize};
use gendr_kernels::Padding;
use rayon::prelude::*;

use super::{
    HALVES,
    attention::{MultiHeadAttention, softmax},
    check_size,
    convolution::{Convolution, GroupNorm},
    layers::{LayerNorm, Linear, Mlp, Tokens, gelu},
    pooling::{Pool, Pooling},
    residual::add_rectified,
    weights::Weights,
};
use crate::levels::check_picture;

/// Side of a patch, in pixels.
const PATCH: usize = 32;
/// Longer sides of the smaller copies.
const SIDES: [usize; 2] = [224, 384];
/// Places that positions are hashed to, along a side.
const GRID: usize = 10;
const HEADS: usize = 6;
/// Patches whose embeddings are computed together.
const TOGETHER: usize = 32;

/// MUSIQ (Ke, Wang, Wang, Milanfar and Yang 2021), a score without a reference.
///
/// About 0 to 100 with the weights trained on KonIQ-10k, SPAQ or PaQ-2-PiQ, 1 to 10 with those trained on AVA; higher is
/// better. Patches of 32x32 pixels of the picture and of two copies, 224 and 384 pixels long, go through one
/// residual block and a transformer.
#[derive(Clone, Debug)]
pub struct Musiq {
    root: Convolution,
    root_norm: GroupNorm,
    block: Block,
    embedding: Linear,
    /// `[GRID * GRID, width]`.
    positions: Tokens,
    /// One for each size of the picture.
    scales: Tokens,
    class: Tokens,
    layers: Vec<Layer>,
    norm: LayerNorm,
    head: Linear,
}

impl Musiq {
    /// With the parameter names of pyiqa.
    ///
    /// # Errors
    /// An input error that names the tensor that is missing or has the wrong shape.
    pub fn new(weights: &Weights) -> Result<Self> {
        let root = Convolution::read(weights, "conv_root", 3, 2)?.standardized();
        let channels = root.out_channels();
        if root.kernel() != Some(7) {
            return Err(Error::input("conv_root has no kernel of 7x7"));
        }
        // As TensorFlow pads 32 pixels for a kernel of 7 and a stride of 2.
        let root = root.with_padding(Padding { top: 2, bottom: 3, left: 2, right: 3 });
        let block = Block::read(weights, channels)?;
        let side = PATCH / 4;
        let embedding = Linear::read(weights, "embedding", block.out_channels() * side * side)?;
        let width = embedding.out_features();
        let encoder = |name: &str| format!("transformer_encoder.{name}");
        let table = |name: &str, shape: &[usize]| -> Result<Tokens> {
            Ok(Tokens { width, data: weights.shaped(&encoder(name), shape)?.data })
        };
        let positions = table("posembed_input.position_emb", &[1, GRID * GRID, width])?;
        let scales = table("scaleembed_input.scale_emb", &[SIDES.len() + 1, width])?;
        let class = table("cls", &[1, 1, width])?;
        let name = |layer: usize| encoder(&format!("transformer.encoderblock_{layer}."));
        let count = weights.count(|layer| name(layer) + "norm1.weight");
        let layers = (0..count).map(|layer| Layer::read(weights, &name(layer), width));
        let head = ["head", "head.0"].into_iter().find(|name| weights.has(&format!("{name}.weight")));
        Ok(Self {
            root_norm: GroupNorm::read(weights, "gn_root", channels, 32, 1e-6)?,
            layers: layers.collect::<Result<_>>()?,
            norm: LayerNorm::read(weights, &encoder("encoder_norm"), width, 1e-6)?,
            head: Linear::read(weights, head.unwrap_or("head"), width)?,
            root,
            block,
            embedding,
            positions,
            scales,
            class,
        })
    }

    /// Scores a picture.
    ///
    /// # Errors
    /// Where the picture is neither grey nor colour, holds values that are not finite or has more than 2^24 pixels.
    pub fn score(&self, picture: &Planes) -> Result<f64> {
        check_picture(picture)?;
        check_size(picture, 1, "MUSIQ")?;
        let input = HALVES.input(picture);
        let mut tokens = self.class.clone();
        for (scale, side) in SIDES.into_iter().enumerate() {
            let longer = input.width().max(input.height());
            let length = |old: usize| {
                let exact = old as f64 * (side as f64 / longer as f64);
                (exact.round_ties_even() as usize).max(1)
            };
            let (width, height) = (length(input.width()), length(input.height()));
            self.embed(&resize(&input, width, height, Resampling::TORCH_BICUBIC)?, scale, &mut tokens)?;
        }
        self.embed(&input, SIDES.len(), &mut tokens)?;
        for layer in &self.layers {
            tokens = layer.forward(tokens);
        }
        let class = Tokens { width: tokens.width, data: tokens.token(0).to_vec() };
        let mut scores = self.head.forward(&self.norm.forward(&class)).data;
        if let [score] = scores[..] {
            return Ok(f64::from(score));
        }
        softmax(&mut scores);
        Ok((1..).zip(scores).map(|(grade, share)| f64::from(grade) * f64::from(share)).sum())
    }

    /// Adds a token for every patch of a picture.
    fn embed(&self, picture: &Planes, scale: usize, tokens: &mut Tokens) -> Result<()> {
        let (columns, rows) = (picture.width().div_ceil(PATCH), picture.height().div_ceil(PATCH));
        let all: Vec<usize> = (0..rows * columns).collect();
        for some in all.chunks(TOGETHER) {
            let features: Vec<Vec<f32>> = some
                .par_iter()
                .map(|index| self.features(&patch(picture, index / columns, index % columns)))
                .collect::<Result<_>>()?;
            let features = Tokens { width: features[0].len(), data: features.concat() };
            let embedded = self.embedding.forward(&features);
            for (index, embedded) in some.iter().zip(embedded.data.chunks_exact(embedded.width)) {
                let place = hashed(index / columns, rows) * GRID + hashed(index % columns, columns);
                let terms = embedded.iter().zip(self.positions.token(place)).zip(self.scales.token(scale));
                tokens.data.extend(terms.map(|((value, position), scale)| value + position + scale));
            }
        }
        Ok(())
    }

    /// The features of a patch, pixel by pixel.
    fn features(&self, patch: &Planes) -> Result<Vec<f32>> {
        let mut maps = self.root_norm.forward(&self.root.forward(patch)?);
        maps.map_in_place(|value| value.max(0.0));
        // One row and column of zeros at the right and at the bottom, which change no maximum of what is not negative.
        let maps = Pooling::new(Pool::Greatest, 3, 2).forward(&extended(&maps)?);
        Ok(Tokens::of_pixels(&self.block.forward(&maps)?).data)
    }
}

/// The place of a patch among [`GRID`], as torch's nearest neighbour finds it.
fn hashed(index: usize, count: usize) -> usize {
    let step = GRID as f32 / count as f32;
    ((index as f32 * step) as usize).min(GRID - 1)
}

/// A patch of the picture, which lies in the middle of whole patches of zeros.
fn patch(picture: &Planes, row: usize, column: usize) -> Planes {
    let margin = |length: usize| (length.div_ceil(PATCH) * PATCH - length) / 2;
    let (left, top) = (margin(picture.width()), margin(picture.height()));
    let mut patch = Planes::filled(picture.channels(), PATCH, PATCH, 0.0);
    for channel in 0..picture.channels() {
        for (y, line) in patch.plane_mut(channel).chunks_exact_mut(PATCH).enumerate() {
            let y = (row * PATCH + y).checked_sub(top).filter(|&y| y < picture.height());
            let Some(source) = y.map(|y| picture.row(channel, y)) else { continue };
            for (x, value) in line.iter_mut().enumerate() {
                let x = (column * PATCH + x).checked_sub(left);
                *value = x.and_then(|x| source.get(x)).copied().unwrap_or(0.0);
            }
        }
    }
    patch
}

/// The maps with zeros at the right and at the bottom.
fn extended(maps: &Planes) -> Result<Planes> {
    let mut data = Vec::with_capacity(maps.channels() * (maps.height() + 1) * (maps.width() + 1));
    for channel in 0..maps.channels() {
        for line in maps.plane(channel).chunks_exact(maps.width()) {
            data.extend_from_slice(line);
            data.push(0.0);
        }
        data.resize(data.len() + maps.width() + 1, 0.0);
    }
    Planes::from_vec(maps.channels(), maps.height() + 1, maps.width() + 1, data)
}

/// The residual block, group normalisation after each convolution.
#[derive(Clone, Debug)]
struct Block {
    layers: [(Convolution, GroupNorm); 3],
    shortcut: (Convolution, GroupNorm),
}

impl Block {
    fn read(weights: &Weights, in_channels: usize) -> Result<Self> {
        let layer = |conv: &str, norm: &str, channels: usize| -> Result<(Convolution, GroupNorm)> {
            let conv = Convolution::read(weights, &format!("block1.{conv}"), channels, 1)?;
            let out = conv.out_channels();
            let norm = GroupNorm::read(weights, &format!("block1.{norm}"), out, 32, 1e-4)?;
            Ok((conv.standardized().padded(), norm))
        };
        let first = layer("conv1", "gn1", in_channels)?;
        let second = layer("conv2", "gn2", first.0.out_channels())?;
        let third = layer("conv3", "gn3", second.0.out_channels())?;
        let shortcut = layer("conv_proj", "gn_proj", in_channels)?;
        if shortcut.0.out_channels() != third.0.out_channels() {
            return Err(Error::input("block1.conv_proj and block1.conv3 differ in their channels"));
        }
        Ok(Self { layers: [first, second, third], shortcut })
    }

    fn out_channels(&self) -> usize {
        self.shortcut.0.out_channels()
    }

    fn forward(&self, input: &Planes) -> Result<Planes> {
        let layer = |(conv, norm): &(Convolution, GroupNorm), maps: &Planes| -> Result<Planes> {
            Ok(norm.forward(&conv.forward(maps)?))
        };
        let [first, second, third] = &self.layers;
        let mut maps = layer(first, input)?;
        maps.map_in_place(|value| value.max(0.0));
        maps = layer(second, &maps)?;
        maps.map_in_place(|value| value.max(0.0));
        maps = layer(third, &maps)?;
        add_rectified(&mut maps, &layer(&self.shortcut, input)?);
        Ok(maps)
    }
}

/// A layer of the transformer.
#[derive(Clone, Debug)]
struct Layer {
    norms: [LayerNorm; 2],
    attention: MultiHeadAttention,
    mlp: Mlp,
}

impl Layer {
    fn read(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        let norm = |which: &str| LayerNorm::read(weights, &format!("{name}{which}"), width, 1e-6);
        let parts = ["query", "key", "value", "out"].map(|part| format!("{name}attention.{part}"));
        let mlp = ["fc1", "fc2"].map(|layer| format!("{name}mlp.{layer}"));
        Ok(Self {
            norms: [norm("norm1")?, norm("norm2")?],
            attention: MultiHeadAttention::read(weights, parts, width, HEADS)?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_over_the_grid() {
        let places: Vec<usize> = (0..7).map(|index| hashed(index, 7)).collect();
        assert_eq!(places, [0, 1, 2, 4, 5, 7, 8]);
        assert_eq!((hashed(0, 1), hashed(99, 100)), (0, 9));
    }

    #[test]
    fn patches_lie_in_the_middle_of_zeros() {
        let picture = Planes::filled(1, 33, 32, 1.0);
        let first = patch(&picture, 0, 0);
        assert_eq!((first.row(0, 14)[0], first.row(0, 15)[0]), (0.0, 1.0));
        let second = patch(&picture, 1, 0);
        assert_eq!((second.row(0, 15)[0], second.row(0, 16)[0]), (1.0, 0.0));
    }
}
