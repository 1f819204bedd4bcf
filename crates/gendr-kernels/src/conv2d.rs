//! Convolution, forward and backward.

use crate::{
    activation::Activation,
    conv_shape::ConvShape,
    conv2d_weight::weight_gradient,
    filters::Filters,
    simd::Level,
    winograd::{Method, Winograd},
};
use rayon::prelude::*;

/// Whether this crate computes convolutions of this kind.
pub fn has_conv2d(shape: &ConvShape) -> bool {
    shape.kernel == 3 && shape.stride == 1 && shape.gradient_shape().is_some()
}

/// Convolution of `input` `[batch, in, height, width]` with `weight` `[out, in, k, k]`, then bias and activation.
///
/// # Panics
/// The shape is impossible or not one [`has_conv2d`] knows, or a slice has another length than it says.
pub fn conv2d(
    shape: &ConvShape,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation<'_>,
    output: &mut [f32],
) {
    shape.check(input.len(), weight.len(), output.len());
    activation.check(shape.out_channels);
    let filters = Filters::stored(weight, shape.out_channels, shape.in_channels, shape.kernel);
    Winograd { level: Level::current(), shape: *shape, input, filters, bias, activation }
        .run(Method::F4, output);
}

/// The gradient of the input, `[batch, in, height, width]`, from that of the output.
///
/// # Panics
/// As [`conv2d`].
pub fn conv2d_backward_input(shape: &ConvShape, grad: &[f32], weight: &[f32], input_grad: &mut [f32]) {
    shape.check(input_grad.len(), weight.len(), grad.len());
    let filters = Filters::stored(weight, shape.out_channels, shape.in_channels, shape.kernel).turned();
    let Some(shape) = shape.gradient_shape() else { panic!("no gradient of {shape:?}") };
    let (level, activation) = (Level::current(), Activation::None);
    Winograd { level, shape, input: grad, filters, bias: None, activation }.run(Method::F4, input_grad);
}

/// The gradients of the kernels, `[out, in, k, k]`, and of the bias, `[out]`, from that of the output.
///
/// # Panics
/// As [`conv2d`], or `bias_grad` does not hold one float an output channel.
pub fn conv2d_backward_weight(
    shape: &ConvShape,
    input: &[f32],
    grad: &[f32],
    weight_grad: &mut [f32],
    bias_grad: Option<&mut [f32]>,
) {
    shape.check(input.len(), weight_grad.len(), grad.len());
    weight_gradient(Level::current(), shape, input, grad, weight_grad);
    if let Some(bias_grad) = bias_grad {
        assert_eq!(bias_grad.len(), shape.out_channels, "floats in the gradient of the bias of {shape:?}");
        let plane = shape.out_height() * shape.out_width();
        bias_grad.par_iter_mut().enumerate().for_each(|(channel, sum)| {
            let planes = grad.chunks_exact(plane).skip(channel).step_by(shape.out_channels);
            *sum =
                planes.map(|plane| plane.chunks(256).map(|part| part.iter().sum::<f32>()).sum::<f32>()).sum();
        });
    }
}
