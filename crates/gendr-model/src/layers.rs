//! The layers all networks are made of.
//!
//! Fields are named after the keys of diffusers and torch, so that the path of a parameter is its key. A layer holds
//! shapes only until something loads its weights (or reads them: then matrices are zero, norm weights one).

use burn::{
    module::{Module, Param, ParamId},
    tensor::{Device, Tensor},
};

use crate::ops::{self, Activation, DenseFeatures, Moments, Padding};

/// Convolution with bias.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// A convolution that keeps the size: odd `kernel`, stride 1, padding `kernel / 2`.
    pub fn new(in_channels: usize, out_channels: usize, kernel: usize, device: &Device) -> Self {
        Self {
            weight: parameter([out_channels, in_channels, kernel, kernel], 0.0, device),
            bias: parameter([out_channels], 0.0, device),
            stride: 1,
            padding: kernel / 2,
        }
    }

    /// The same with stride 2.
    pub fn halving(in_channels: usize, out_channels: usize, kernel: usize, device: &Device) -> Self {
        Self { stride: 2, ..Self::new(in_channels, out_channels, kernel, device) }
    }

    /// `[n, in, h, w]` to `[n, out, h / stride, w / stride]`, rounded up.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_padded(x, Padding::all(self.padding))
    }

    /// The same with other zero padding than the layer's own.
    pub fn forward_padded(&self, x: Tensor<4>, padding: Padding) -> Tensor<4> {
        ops::conv2d(x, self.weight.val(), Some(self.bias.val()), self.stride, padding, None)
    }

    /// The convolution followed by an activation.
    pub fn forward_activated(&self, x: Tensor<4>, activation: Activation<'_>) -> Tensor<4> {
        let padding = Padding::all(self.padding);
        ops::conv2d(x, self.weight.val(), Some(self.bias.val()), self.stride, padding, Some(activation))
    }

    /// Nearest-neighbour enlargement to `size` (twice as large, or one less), then the convolution (3x3 only) and the activation.
    pub fn forward_upsampled(
        &self,
        x: Tensor<4>,
        size: [usize; 2],
        activation: Option<Activation<'_>>,
    ) -> Tensor<4> {
        ops::upsample_conv2d(x, size, self.weight.val(), Some(self.bias.val()), activation)
    }

    /// The convolution times `scale` plus `residual` (a layer of stride 1 that keeps the size).
    pub fn forward_added(&self, x: Tensor<4>, scale: f64, residual: Tensor<4>) -> Tensor<4> {
        ops::conv2d_added(x, self.weight.val(), Some(self.bias.val()), scale, residual)
    }

    /// Appends the convolution of all features so far, rectified with `slope` below zero.
    pub fn grow(&self, features: DenseFeatures, slope: f64) -> DenseFeatures {
        features.grow(self.weight.val(), self.bias.val(), slope)
    }

    /// The layer that adds `shift` `[1, out, 1, 1]` too; not for training, gradients of the bias end here.
    pub(crate) fn shifted(&self, shift: Tensor<4>) -> Self {
        let bias = ops::widen(self.bias.val(), &shift);
        let shift = shift.reshape([bias.dims()[0]]);
        Self { bias: Param::from_tensor(bias + shift), ..self.clone() }
    }

    /// Channels in.
    pub(crate) fn in_channels(&self) -> usize {
        self.weight.lazy_shape()[1]
    }

    /// Rows and columns of zeros on each side.
    pub fn padding(&self) -> usize {
        self.padding
    }

    /// Multiply-adds for an output of `positions` pixels.
    pub fn multiply_adds(&self, positions: usize) -> u64 {
        count(&self.weight, positions)
    }
}

/// x · weightᵀ + bias over the last axis.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A linear layer with bias.
    pub fn new(in_features: usize, out_features: usize, device: &Device) -> Self {
        let bias = Some(parameter([out_features], 0.0, device));
        Self { bias, ..Self::without_bias(in_features, out_features, device) }
    }

    /// A linear layer without bias.
    pub fn without_bias(in_features: usize, out_features: usize, device: &Device) -> Self {
        Self { weight: parameter([out_features, in_features], 0.0, device), bias: None }
    }

    /// `[..., in]` to `[..., out]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// The layer plus `residual`.
    pub fn forward_added<const D: usize>(&self, x: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        ops::linear_added(x, self.weight.val(), self.bias.as_ref().map(Param::val), residual)
    }

    /// The layer followed by the gating of GEGLU: `[n, tokens, in]` to `[n, tokens, out / 2]`.
    pub fn forward_geglu(&self, x: Tensor<3>) -> Tensor<3> {
        ops::geglu(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// Multiply-adds for `positions` tokens.
    pub fn multiply_adds(&self, positions: usize) -> u64 {
        count(&self.weight, positions)
    }
}

/// Group normalisation, each group a run of neighbouring channels.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// `[channels]`.
    pub bias: Param<Tensor<1>>,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// A norm of `channels` channels in `groups` groups (a divisor of `channels`).
    pub fn new(groups: usize, channels: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            weight: parameter([channels], 1.0, device),
            bias: parameter([channels], 0.0, device),
            groups,
            epsilon,
        }
    }

    /// Normalises `[n, c, h, w]` by its own moments.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.apply(x, None, false)
    }

    /// Normalises `[n, c, h, w]` by its own moments, then SiLU.
    pub fn forward_silu(&self, x: Tensor<4>) -> Tensor<4> {
        self.apply(x, None, true)
    }

    /// Mean and variance of each group of `[n, c, h, w]`.
    pub fn moments(&self, x: Tensor<4>) -> Moments {
        ops::group_moments(x, self.groups)
    }

    /// Normalises by the moments of `x` or by given ones, then SiLU if asked.
    pub fn apply(&self, x: Tensor<4>, moments: Option<&Moments>, with_silu: bool) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        ops::group_norm(x, weight, bias, self.groups, self.epsilon, moments, with_silu)
    }
}

/// Layer normalisation over the last axis, epsilon 1e-5.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// `[channels]`.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// A norm of `channels` channels.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self { weight: parameter([channels], 1.0, device), bias: parameter([channels], 0.0, device) }
    }

    /// Normalises each token of `[n, tokens, channels]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        ops::layer_norm(x, self.weight.val(), self.bias.val(), 1e-5)
    }
}

/// One slope a channel below zero.
#[derive(Module, Debug)]
pub struct PRelu {
    /// `[channels]`.
    pub weight: Param<Tensor<1>>,
}

impl PRelu {
    /// Slopes that start at 0.25.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self { weight: parameter([channels], 0.25, device) }
    }
}

/// A parameter that is created when first read, filled with `value`.
pub(crate) fn parameter<const D: usize>(shape: [usize; D], value: f32, device: &Device) -> Param<Tensor<D>> {
    let init = move |device: &Device, require_grad: bool| {
        Tensor::full(shape, value, device).set_require_grad(require_grad)
    };
    Param::uninitialized(ParamId::new(), init, device.clone(), true, shape.into())
}

fn count<const D: usize>(weight: &Param<Tensor<D>>, positions: usize) -> u64 {
    weight.lazy_shape().num_elements() as u64 * positions as u64
}
