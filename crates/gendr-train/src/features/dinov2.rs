//! DINOv2 (Oquab et al. 2023): a vision transformer whose patch tokens other networks are aligned with.

use super::{resample, weights::Named};
use crate::{Error, Result};
use burn::tensor::{Device, Tensor};
use gendr_model::ops;
use std::path::Path;

/// Width of an attention head in every published size.
const HEAD: usize = 64;
const EPSILON: f64 = 1e-6;
/// Mean and deviation of the pictures that the network knows, for values in `[0, 1]`.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// A layer with bias, `[out, in]`.
#[derive(Clone, Debug)]
struct Affine {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Affine {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        ops::linear(x, self.weight.clone(), Some(self.bias.clone()))
    }
}

/// Scale and offset of a normalisation.
#[derive(Clone, Debug)]
struct Norm {
    weight: Tensor<1>,
    bias: Tensor<1>,
}

impl Norm {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        ops::layer_norm(x, self.weight.clone(), self.bias.clone(), EPSILON)
    }
}

#[derive(Clone, Debug)]
struct Block {
    norm1: Norm,
    query_key_value: [Affine; 3],
    projection: Affine,
    scale1: Tensor<1>,
    norm2: Norm,
    hidden: Affine,
    out: Affine,
    scale2: Tensor<1>,
}

/// DINOv2 with patches of any side; ViT-S/14 is 384 wide, ViT-B/14 768.
#[derive(Clone, Debug)]
pub struct Dinov2 {
    patch: usize,
    patches: Affine,
    class: Tensor<3>,
    registers: Option<Tensor<3>>,
    /// `[1, width, side, side]` for the patches, and `[1, 1, width]` for the class token.
    positions: Tensor<4>,
    class_position: Tensor<3>,
    blocks: Vec<Block>,
    norm: Norm,
}

/// What the tensors of a layout are called.
struct Names {
    patches: &'static str,
    class: &'static str,
    registers: &'static str,
    positions: &'static str,
    norm: &'static str,
    block: &'static str,
    /// Query, key and value: in one tensor, or in three.
    attention: &'static [&'static str],
    projection: &'static str,
    scale1: &'static str,
    scale2: &'static str,
}

/// The layout of Facebook Research and of timm.
const ORIGINAL: Names = Names {
    patches: "patch_embed.proj",
    class: "cls_token",
    registers: "register_tokens",
    positions: "pos_embed",
    norm: "norm",
    block: "blocks",
    attention: &["attn.qkv"],
    projection: "attn.proj",
    scale1: "ls1.gamma",
    scale2: "ls2.gamma",
};

/// That of transformers.
const TRANSFORMERS: Names = Names {
    patches: "embeddings.patch_embeddings.projection",
    class: "embeddings.cls_token",
    registers: "embeddings.register_tokens",
    positions: "embeddings.position_embeddings",
    norm: "layernorm",
    block: "encoder.layer",
    attention: &["attention.attention.query", "attention.attention.key", "attention.attention.value"],
    projection: "attention.output.dense",
    scale1: "layer_scale1.lambda1",
    scale2: "layer_scale2.lambda1",
};

impl Dinov2 {
    /// From a weight file in the layout of Facebook Research, timm or transformers; register tokens are found.
    ///
    /// # Errors
    /// An I/O error, or an input error that names the tensor that is missing or has another shape.
    pub fn open(file: &Path, device: &Device) -> Result<Self> {
        let layouts = [&TRANSFORMERS, &ORIGINAL];
        let weights = Named::open(&[file], &layouts.map(|names| names.class))?;
        let known = |names: &&&Names| weights.has(names.class);
        let names = layouts.iter().find(known).ok_or_else(|| Error::input("not a vision transformer"))?;
        Reader { weights: &weights, names, device }
            .network()
            .map_err(|error| Error::input(format!("{error}: {}", file.display())).with_source(error))
    }

    /// Width of the tokens.
    pub fn width(&self) -> usize {
        self.class.dims()[2]
    }

    /// The normalised patch tokens of pictures `[n, 3, h, w]` in `[-1, 1]` for a grid of `rows` x `columns` patches, to whose
    /// size they are resampled: `[n, width, rows, columns]`.
    pub fn forward(&self, picture: Tensor<4>, [rows, columns]: [usize; 2]) -> Tensor<4> {
        let device = picture.device();
        let row = |values: [f32; 3]| Tensor::<1>::from_floats(values, &device).reshape([1, 3, 1, 1]);
        let n = picture.dims()[0];
        let picture = resample(picture, [rows * self.patch, columns * self.patch]);
        let picture = (picture * 0.5 + 0.5 - row(MEAN)) / row(DEVIATION);
        let width = self.width();
        let patches = crate::tokens(ops::pixel_unshuffle(picture, self.patch));
        let positions = crate::tokens(resample(self.positions.clone(), [rows, columns]));
        let patches = self.patches.forward(patches) + positions;
        let each = |token: Tensor<3>| {
            let count = token.dims()[1];
            token.expand([n, count, width])
        };
        let mut tokens = vec![each(self.class.clone() + self.class_position.clone())];
        tokens.extend(self.registers.clone().map(each));
        let before = 1 + self.registers.as_ref().map_or(0, |registers| registers.dims()[1]);
        tokens.push(patches);
        let x = self.blocks.iter().fold(Tensor::cat(tokens, 1), |x, block| block.forward(x));
        let x = self.norm.forward(x).narrow(1, before, rows * columns);
        x.swap_dims(1, 2).reshape([n, width, rows, columns])
    }
}

impl Block {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let width = x.dims()[2];
        let scale = |scale: &Tensor<1>| scale.clone().reshape([1, 1, width]);
        let normed = self.norm1.forward(x.clone());
        let [query, key, value] = self.query_key_value.each_ref().map(|layer| layer.forward(normed.clone()));
        let attended = self.projection.forward(ops::attention(query, key, value, width / HEAD));
        let x = x + attended * scale(&self.scale1);
        let hidden = ops::gelu_erf(self.hidden.forward(self.norm2.forward(x.clone())));
        x + self.out.forward(hidden) * scale(&self.scale2)
    }
}

/// Makes the network out of a file's tensors.
struct Reader<'a> {
    weights: &'a Named,
    names: &'a Names,
    device: &'a Device,
}

impl Reader<'_> {
    fn network(&self) -> Result<Dinov2> {
        let Self { weights, names, device } = *self;
        let class: Tensor<3> = weights.tensor(names.class, [1, 1, -1], device)?;
        let width = class.dims()[2];
        if width == 0 || !width.is_multiple_of(HEAD) {
            return Err(Error::unsupported(format!("heads are {HEAD} wide, the network {width}")));
        }
        let kernel: Tensor<4> =
            weights.tensor(&format!("{}.weight", names.patches), [width as i64, 3, -1, -1], device)?;
        let [_, _, patch, patch_width] = kernel.dims();
        if patch != patch_width || !(1..=64).contains(&patch) {
            return Err(Error::unsupported(format!("patches of {patch}x{patch_width}")));
        }
        let patches = Affine {
            weight: kernel.reshape([width, 3 * patch * patch]),
            bias: weights.list(&format!("{}.bias", names.patches), width, device)?,
        };
        let positions: Tensor<3> = weights.tensor(names.positions, [1, -1, width as i64], device)?;
        let count = positions.dims()[1].saturating_sub(1);
        let side = count.isqrt();
        if side == 0 || side * side != count {
            return Err(Error::unsupported(format!("{count} positions are no square")));
        }
        let grid = positions.clone().narrow(1, 1, count).swap_dims(1, 2).reshape([1, width, side, side]);
        let depth = (0..).take_while(|block| weights.has(&self.block(*block, "norm1.weight"))).count();
        let registers = match weights.has(names.registers) {
            true => Some(weights.tensor(names.registers, [1, -1, width as i64], device)?),
            false => None,
        };
        Ok(Dinov2 {
            patch,
            patches,
            class,
            registers,
            positions: grid,
            class_position: positions.narrow(1, 0, 1),
            blocks: (0..depth).map(|block| self.read_block(block, width)).collect::<Result<_>>()?,
            norm: self.norm(names.norm, width)?,
        })
    }

    fn block(&self, block: usize, name: &str) -> String {
        format!("{}.{block}.{name}", self.names.block)
    }

    fn read_block(&self, block: usize, width: usize) -> Result<Block> {
        let name = |name: &str| self.block(block, name);
        let list = |part: &str| self.weights.list(&name(part), width, self.device);
        let hidden = self.weights.shape(&name("mlp.fc1.weight")).map_or(0, |shape| shape[0]);
        Ok(Block {
            norm1: self.norm(&name("norm1"), width)?,
            query_key_value: self.attention(block, width)?,
            projection: self.affine(&name(self.names.projection), [width, width])?,
            scale1: list(self.names.scale1)?,
            norm2: self.norm(&name("norm2"), width)?,
            hidden: self.affine(&name("mlp.fc1"), [hidden, width])?,
            out: self.affine(&name("mlp.fc2"), [width, hidden])?,
            scale2: list(self.names.scale2)?,
        })
    }

    fn attention(&self, block: usize, width: usize) -> Result<[Affine; 3]> {
        match self.names.attention {
            &[query, key, value] => {
                let [query, key, value] = [query, key, value].map(|name| self.block(block, name));
                let layer = |name: &str| self.affine(name, [width, width]);
                Ok([layer(&query)?, layer(&key)?, layer(&value)?])
            }
            joined => {
                let name = self.block(block, joined[0]);
                let Affine { weight, bias } = self.affine(&name, [3 * width, width])?;
                let part = |which: usize| Affine {
                    weight: weight.clone().narrow(0, which * width, width),
                    bias: bias.clone().narrow(0, which * width, width),
                };
                Ok([part(0), part(1), part(2)])
            }
        }
    }

    fn affine(&self, name: &str, [out, width]: [usize; 2]) -> Result<Affine> {
        let weight =
            self.weights.tensor(&format!("{name}.weight"), [out as i64, width as i64], self.device)?;
        Ok(Affine { weight, bias: self.weights.list(&format!("{name}.bias"), out, self.device)? })
    }

    fn norm(&self, name: &str, width: usize) -> Result<Norm> {
        let list = |what: &str| self.weights.list(&format!("{name}.{what}"), width, self.device);
        Ok(Norm { weight: list("weight")?, bias: list("bias")? })
    }
}
