//! The CPU's own kernels behind the tensors: gendr-kernels as a back-end extension of Burn, forward and backward.

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
use burn::tensor::{Shape, TensorData};
use burn_flex::FlexTensor;
use gendr_kernels::{Activation, ConvShape, GroupNormShape, Padding};

/// Operations that the CPU computes with kernels of its own.
#[backend_extension(Flex, Autodiff)]
pub(super) trait Kernels: Backend {
    /// Convolution of `[n, in, h, w]` with `[out, in, k, k]` plus `bias` `[out]`.
    fn kernel_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: Padding,
    ) -> FloatTensor<Self>;

    /// Group normalisation of `[n, c, h, w]` by its own moments, then SiLU if asked.
    fn kernel_group_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> FloatTensor<Self>;
}

/// Whether [`Kernels::kernel_conv2d`] takes a convolution of `[n, in, h, w]` with `[out, in, kh, kw]`.
pub(super) fn has_conv2d(x: [usize; 4], weight: [usize; 4], stride: usize, padding: Padding) -> bool {
    weight[2] == weight[3] && gendr_kernels::has_conv2d(&shape_of(&x, &weight, stride, padding))
}

impl Kernels for Flex {
    fn kernel_conv2d(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        stride: usize,
        padding: Padding,
    ) -> FlexTensor {
        let shape = conv_shape(&x, &weight, stride, padding);
        let mut y = vec![0.0; shape.output_len()];
        let (x, weight, bias) = (Dense::new(x), Dense::new(weight), Dense::new(bias));
        let bias = Some(bias.values());
        gendr_kernels::conv2d(&shape, x.values(), weight.values(), bias, Activation::None, &mut y);
        tensor(y, [shape.batch, shape.out_channels, shape.out_height(), shape.out_width()])
    }

    fn kernel_group_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> FlexTensor {
        let (size, shape) = norm_shape(&x, groups, epsilon, silu);
        let mut y = vec![0.0; shape.len()];
        let [x, weight, bias] = [x, weight, bias].map(Dense::new);
        gendr_kernels::group_norm(&shape, x.values(), weight.values(), bias.values(), &mut y);
        tensor(y, size)
    }
}

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
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

    fn kernel_group_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> FloatTensor<Self> {
        let backward = GroupNormBackward { groups, epsilon, silu };
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
        let forward = |x, weight, bias| Flex::kernel_group_norm(x, weight, bias, groups, epsilon, silu);
        match backward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = forward(x.clone(), weight.clone(), bias.clone());
                prep.finish((x, weight, bias), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(x, weight, bias)),
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
            gendr_kernels::conv2d_backward_input(
                &shape,
                grad.values(),
                Dense::new(weight).values(),
                &mut out,
            );
            let size = [shape.batch, shape.in_channels, shape.height, shape.width];
            grads.register::<Flex>(node.id, tensor(out, size));
        }
        if weight_node.is_some() || bias_node.is_some() {
            let mut weights = vec![0.0; shape.weight_len()];
            let mut biases = vec![0.0; shape.out_channels];
            gendr_kernels::conv2d_backward_weight(
                &shape,
                Dense::new(x).values(),
                grad.values(),
                &mut weights,
                Some(&mut biases),
            );
            if let Some(node) = weight_node {
                let size = [shape.out_channels, shape.in_channels, shape.kernel, shape.kernel];
                grads.register::<Flex>(node.id, tensor(weights, size));
            }
            if let Some(node) = bias_node {
                grads.register::<Flex>(node.id, tensor(biases, [shape.out_channels]));
            }
        }
    }
}

#[derive(Debug)]
struct GroupNormBackward {
    groups: usize,
    epsilon: f64,
    silu: bool,
}

impl Backward<Flex, 3> for GroupNormBackward {
    type State = (FlexTensor, FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = Dense::new(grads.consume::<Flex>(&ops.node));
        let (x, weight, bias) = ops.state;
        let (size, shape) = norm_shape(&x, self.groups, self.epsilon, self.silu);
        let mut x_grad = vec![0.0; shape.len()];
        let [mut weight_grad, mut bias_grad] = [vec![0.0; shape.channels], vec![0.0; shape.channels]];
        let [x, weight, bias] = [x, weight, bias].map(Dense::new);
        gendr_kernels::group_norm_backward(
            &shape,
            x.values(),
            weight.values(),
            bias.values(),
            grad.values(),
            &mut x_grad,
            &mut weight_grad,
            &mut bias_grad,
        );
        let channels = shape.channels;
        let [x_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, tensor(x_grad, size));
        }
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, tensor(weight_grad, [channels]));
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, tensor(bias_grad, [channels]));
        }
    }
}

fn norm_shape(x: &FlexTensor, groups: usize, epsilon: f64, silu: bool) -> ([usize; 4], GroupNormShape) {
    let x = x.shape();
    let (batch, channels, pixels) = (x[0], x[1], x[2] * x[3]);
    let shape = GroupNormShape { batch, channels, pixels, groups, epsilon: epsilon as f32, silu };
    ([x[0], x[1], x[2], x[3]], shape)
}

fn conv_shape(x: &FlexTensor, weight: &FlexTensor, stride: usize, padding: Padding) -> ConvShape {
    shape_of(&x.shape(), &weight.shape(), stride, padding)
}

fn shape_of(x: &[usize], weight: &[usize], stride: usize, padding: Padding) -> ConvShape {
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

/// A tensor whose f32 values lie one after another.
struct Dense(FlexTensor);

impl Dense {
    fn new(x: FlexTensor) -> Self {
        Self(if x.is_contiguous() { x } else { x.to_contiguous() })
    }

    fn values(&self) -> &[f32] {
        let layout = self.0.layout();
        let start = layout.start_offset();
        &self.0.storage()[start..start + layout.num_elements()]
    }
}

fn tensor<const D: usize>(values: Vec<f32>, size: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, Shape::from(size)))
}
