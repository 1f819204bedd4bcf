//! Convolution.

use burn::backend::{
    Autodiff, Backend, Flex, TensorMetadata,
    autodiff::{
        NodeId,
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn_flex::FlexTensor;
use gendr_kernels::{Activation, ConvShape, Finish, Padding, overwritten};

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

/// How a convolution for restoring reads and scales.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct ConvSettings {
    pub(in crate::ops) stride: usize,
    pub(in crate::ops) padding: Padding,
    /// Height and width to which the input is enlarged by nearest neighbour as it is read: twice its own, or one less.
    pub(in crate::ops) enlarged: Option<[usize; 2]>,
}

/// Convolution plus a residual with gradients.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait AddedConvKernels: Backend {
    /// [`ConvKernels::kernel_conv2d`] times `scale` plus `residual`, a tensor like the result; gradients are for
    /// a scale of 1 and an input that is not enlarged.
    fn kernel_conv2d_added(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        scale: f32,
        settings: ConvSettings,
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
        settings: ConvSettings,
    ) -> FloatTensor<Self>;

    /// `[1, c, h, w]` to `[1, channels, h, w]` with room for more channels; what they hold does not matter yet.
    fn kernel_widen(x: FloatTensor<Self>, channels: usize) -> FloatTensor<Self>;

    /// Convolves the first channels of `x` `[1, c, h, w]`, as many as `weight` takes, rectifies as
    /// [`FusedConvKernels::kernel_conv2d_rectified`], and puts the result into the channels after them.
    fn kernel_conv2d_grown(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        slopes: FloatTensor<Self>,
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
        let settings = ConvSettings { stride, padding, enlarged: None };
        let bias = Dense::new(bias);
        convolve(x, weight, &Finish::bias(bias.values()), settings)
    }
}

impl AddedConvKernels for Flex {
    fn kernel_conv2d_added(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
        scale: f32,
        settings: ConvSettings,
    ) -> FlexTensor {
        let [bias, residual] = [bias, residual].map(Dense::new);
        let finish = Finish { scale, residual: Some(residual.values()), ..Finish::bias(bias.values()) };
        convolve(x, weight, &finish, settings)
    }
}

impl FusedConvKernels for Flex {
    fn kernel_conv2d_rectified(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        slopes: FlexTensor,
        settings: ConvSettings,
    ) -> FlexTensor {
        let [bias, slopes] = [bias, slopes].map(Dense::new);
        convolve(x, weight, &rectified(&bias, &slopes), settings)
    }

    fn kernel_widen(x: FlexTensor, channels: usize) -> FlexTensor {
        let (size, x) = (x.shape(), Dense::new(x));
        let len = channels * size[2] * size[3];
        let y = overwritten(len, |y| {
            let (first, rest) = y.split_at_mut(x.values().len());
            gendr_kernels::copy(x.values(), first);
            // Only read once something was written there.
            if cfg!(debug_assertions) {
                rest.fill(f32::NAN);
            }
        });
        tensor(y, [1, channels, size[2], size[3]])
    }

    fn kernel_conv2d_grown(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        slopes: FlexTensor,
    ) -> FlexTensor {
        let [bias, slopes, weight] = [bias, slopes, weight].map(Dense::new);
        let (size, filters) = (x.shape(), weight.0.shape());
        let shape = ConvShape::same(1, filters[1], filters[0], size[2], size[3], filters[2]);
        let mut x = Dense::new(x).0;
        let channels = x.storage_mut::<f32>();
        let (input, rest) = channels.split_at_mut(shape.input_len());
        let output = &mut rest[..shape.output_len()];
        gendr_kernels::conv2d(&shape, input, weight.values(), &rectified(&bias, &slopes), output);
        x
    }
}

fn rectified<'a>(bias: &'a Dense, slopes: &'a Dense) -> Finish<'a> {
    let activation = match slopes.values() {
        [slope] => Activation::LeakyRelu(*slope),
        slopes => Activation::PRelu(slopes),
    };
    Finish { activation, ..Finish::bias(bias.values()) }
}

fn convolve(x: FlexTensor, weight: FlexTensor, finish: &Finish<'_>, settings: ConvSettings) -> FlexTensor {
    let mut shape = conv_shape(&x, &weight, settings.stride, settings.padding);
    if let Some([height, width]) = settings.enlarged {
        shape = ConvShape { height, width, enlarged: true, ..shape };
    }
    let [x, weight] = [x, weight].map(Dense::new);
    let y = overwritten(shape.output_len(), |y| {
        gendr_kernels::conv2d(&shape, x.values(), weight.values(), finish, y);
    });
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

impl<C: CheckpointStrategy> AddedConvKernels for Autodiff<Flex, C> {
    fn kernel_conv2d_added(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        scale: f32,
        settings: ConvSettings,
    ) -> FloatTensor<Self> {
        assert!(scale == 1.0 && settings.enlarged.is_none(), "gradients of a plain sum only");
        let backward = AddedConvBackward(ConvBackward { stride: settings.stride, padding: settings.padding });
        let nodes = [x.node(), weight.node(), bias.node(), residual.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let (bias, residual) = (bias.into_primitive(), residual.into_primitive());
        let forward = |x, weight| Flex::kernel_conv2d_added(x, weight, bias, residual, scale, settings);
        match backward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = forward(x.clone(), weight.clone());
                prep.finish((x, weight), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(x, weight)),
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
        let grad = grads.consume::<Flex>(&ops.node);
        self.register(ops.parents.map(|node| Some(node?.id)), ops.state, grad, grads);
    }
}

#[derive(Debug)]
struct AddedConvBackward(ConvBackward);

impl Backward<Flex, 4> for AddedConvBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x, weight, bias, residual] = ops.parents.map(|node| Some(node?.id));
        let grad = grads.consume::<Flex>(&ops.node);
        if let Some(id) = residual {
            grads.register::<Flex>(id, grad.clone());
        }
        self.0.register([x, weight, bias], ops.state, grad, grads);
    }
}

impl ConvBackward {
    /// Registers the gradients of input, weight and bias.
    fn register(
        &self,
        [x_node, weight_node, bias_node]: [Option<NodeId>; 3],
        (x, weight): (FlexTensor, FlexTensor),
        grad: FlexTensor,
        grads: &mut Gradients,
    ) {
        let grad = Dense::new(grad);
        let shape = conv_shape(&x, &weight, self.stride, self.padding);
        if let Some(id) = x_node {
            let weight = Dense::new(weight);
            let out = overwritten(shape.input_len(), |out| {
                gendr_kernels::conv2d_backward_input(&shape, grad.values(), weight.values(), out);
            });
            let size = [shape.batch, shape.in_channels, shape.height, shape.width];
            grads.register::<Flex>(id, tensor(out, size));
        }
        if let Some(id) = weight_node {
            let out = overwritten(shape.weight_len(), |out| {
                gendr_kernels::conv2d_backward_weight(&shape, Dense::new(x).values(), grad.values(), out);
            });
            let size = [shape.out_channels, shape.in_channels, shape.kernel, shape.kernel];
            grads.register::<Flex>(id, tensor(out, size));
        }
        if let Some(id) = bias_node {
            let mut out = vec![0.0; shape.out_channels];
            gendr_kernels::conv2d_backward_bias(&shape, grad.values(), &mut out);
            grads.register::<Flex>(id, tensor(out, [shape.out_channels]));
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
        enlarged: false,
    }
}
