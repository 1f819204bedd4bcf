//! One pass of a network's spatial layers over a picture.

use burn::tensor::Tensor;

use crate::layers::{Conv2d, GroupNorm};

/// How spatial layers go over their input.
#[derive(Debug, Default)]
pub(crate) struct Pass {}

impl Pass {
    /// Norm, SiLU, convolution.
    pub(crate) fn norm_silu_conv(&mut self, x: Tensor<4>, norm: &GroupNorm, conv: &Conv2d) -> Tensor<4> {
        conv.forward(norm.forward_silu(x))
    }

    /// A convolution.
    pub(crate) fn conv(&mut self, x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
        conv.forward(x)
    }
}
