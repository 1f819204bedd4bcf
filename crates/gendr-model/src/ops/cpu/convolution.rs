//! Convolution.

use burn::backend::{
    Autodiff, Backend, Flex, TensorMetadata,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn_flex::FlexTensor;
use gendr_kernels::{Activation, ConvShape, Padding};

use super::{Dense, tensor};

/// Convolution with gradients.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait ConvKernels: Backend {
    /// Convolution of `[n, in, h, w]` with `[out, in, k, k]` plus `bias` `[out]`.
    fn kernel_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: Padding,
    ) -> FloatTensor<Self>;
}

/// Convolution and what follows it, for restoring.
#[backend_extension(Flex)]
pub(in crate::ops) trait FusedConvKernels: Backend {
    /// [`ConvKernels::kernel_conv2d`], then x for x > 0, else its channel's (or the only) slope times x.
    fn kernel_conv2d_rectified(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        slopes: FloatTensor<Self>,
        stride: usize,
        padding: Padding,
    ) -> FloatTensor<Self>;
}

impl ConvKernels for Flex {
    fn kernel_conv2d(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        stride: usize,
        padding: Padding,
    ) -> FlexTensor {
        convolve(x, weight, bias, stride, padding, Activation::None)
    }
}

impl FusedConvKernels for Flex {
    fn kernel_conv2d_rectified(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        slopes: FlexTensor,
        stride: usize,
        padding: Padding,
    ) -> FlexTensor {
        let slopes = Dense::new(slopes);
        let activation = match slopes.values() {
            [slope] => Activation::LeakyRelu(*slope),
            slopes => Activation::PRelu(slopes),
        };
        convolve(x, weight, bias, stride, padding, activation)
    }
}

fn convolve(
    x: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    stride: usize,
    padding: Padding,
    activation: Activation<'_>,
) -> FlexTensor {
    let shape = conv_shape(&x, &weight, stride, padding);
    let mut y = vec![0.0; shape.output_len()];
    let [x, weight, bias] = [x, weight, bias].map(Dense::new);
    gendr_kernels::conv2d(&shape, x.values(), weight.values(), Some(bias.values()), activation, &mut y);
    tensor(y, [shape.batch, shape.out_channels, shape.out_height(), shape.out_width()])
}

impl<C: CheckpointStrategy> ConvKernels for Autodiff<Flex, C> {
    fn kernel_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: Padding,
    ) -> FloatTensor<Self> {
        let backward = ConvBackward { stride, padding };
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
        match backward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = Flex::kernel_conv2d(x.clone(), weight.clone(), bias, stride, padding);
                prep.finish((x, weight), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::kernel_conv2d(x, weight, bias, stride, padding)),
        }
    }
}

#[derive(Debug)]
struct ConvBackward {
    stride: usize,
    padding: Padding,
}

impl Backward<Flex, 3> for ConvBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let grad = Dense::new(grads.consume::<Flex>(&ops.node));
        let (x, weight) = ops.state;
        let shape = conv_shape(&x, &weight, self.stride, self.padding);
        if let Some(node) = x_node {
            let mut out = vec![0.0; shape.input_len()];
            let weight = Dense::new(weight);
            gendr_kernels::conv2d_backward_input(&shape, grad.values(), weight.values(), &mut out);
            let size = [shape.batch, shape.in_channels, shape.height, shape.width];
            grads.register::<Flex>(node.id, tensor(out, size));
        }
        if let Some(node) = weight_node {
            let mut out = vec![0.0; shape.weight_len()];
            gendr_kernels::conv2d_backward_weight(&shape, Dense::new(x).values(), grad.values(), &mut out);
            let size = [shape.out_channels, shape.in_channels, shape.kernel, shape.kernel];
            grads.register::<Flex>(node.id, tensor(out, size));
        }
        if let Some(node) = bias_node {
            let mut out = vec![0.0; shape.out_channels];
            gendr_kernels::conv2d_backward_bias(&shape, grad.values(), &mut out);
            grads.register::<Flex>(node.id, tensor(out, [shape.out_channels]));
        }
    }
}

fn conv_shape(x: &FlexTensor, weight: &FlexTensor, stride: usize, padding: Padding) -> ConvShape {
    let [x, weight] = [x.shape(), weight.shape()];
    ConvShape {
        batch: x[0],
        in_channels: x[1],
        out_channels: weight[0],
        height: x[2],
        width: x[3],
        kernel: weight[2],
        stride,
        padding,
    }
}
