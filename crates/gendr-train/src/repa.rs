//! Alignment of a UNet's features with those of a picture encoder (REPA, Yu et al. 2024; arXiv 2503.06790 aligns the output of
//! the first down block).

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use gendr_model::{Linear, ops};

/// Least length that a feature is divided by.
const LEAST_LENGTH: f64 = 1e-12;

/// Three linear layers with SiLU between them, from the UNet's features to the encoder's.
#[derive(Module, Debug)]
pub struct Projector {
    /// From the UNet's channels to the inner width.
    pub linear_1: Linear,
    /// From the inner width to itself.
    pub linear_2: Linear,
    /// From the inner width to the encoder's.
    pub linear_3: Linear,
}

/// Widths of a [`Projector`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectorConfig {
    /// Channels of the UNet's feature.
    pub channels: usize,
    /// Inner width; 2048 in REPA.
    pub hidden: usize,
    /// Width of the encoder's tokens.
    pub features: usize,
}

impl ProjectorConfig {
    /// The projector, without weights yet.
    pub fn init(&self, device: &Device) -> Projector {
        Projector {
            linear_1: Linear::new(self.channels, self.hidden, device),
            linear_2: Linear::new(self.hidden, self.hidden, device),
            linear_3: Linear::new(self.hidden, self.features, device),
        }
    }
}

impl Projector {
    /// The pixels of `[n, channels, h, w]` in the order of rows, as tokens `[n, h w, features]`.
    pub fn forward(&self, feature: Tensor<4>) -> Tensor<3> {
        let x = self.linear_1.forward(tokens(feature));
        let x = self.linear_2.forward(ops::silu(x));
        self.linear_3.forward(ops::silu(x))
    }
}

/// The pixels of `[n, c, h, w]` in the order of rows: `[n, h w, c]`.
pub fn tokens(feature: Tensor<4>) -> Tensor<3> {
    let [n, c, h, w] = feature.dims();
    feature.reshape([n, c, h * w]).swap_dims(1, 2)
}

/// Minus the cosine similarity, mean over the tokens `[n, tokens, features]` of both.
pub fn alignment_loss(projected: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    -(unit(projected) * unit(target)).sum_dim(2).mean()
}

fn unit(tokens: Tensor<3>) -> Tensor<3> {
    let length = tokens.clone().powi_scalar(2).sum_dim(2).sqrt().clamp_min(LEAST_LENGTH);
    tokens / length
}
