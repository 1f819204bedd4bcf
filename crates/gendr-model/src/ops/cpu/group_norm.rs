//! Group normalisation.

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
use gendr_kernels::{GroupNormShape, overwritten};

use super::{Dense, tensor};

/// Group normalisation with gradients.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait GroupNormKernels: Backend {
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

/// Moments apart from normalisation, for restoring.
#[backend_extension(Flex)]
pub(in crate::ops) trait MomentKernels: Backend {
    /// Mean and variance of each group of `[n, c, h, w]`: `[2, n, groups]`.
    fn kernel_group_moments(x: FloatTensor<Self>, groups: usize) -> FloatTensor<Self>;

    /// [`GroupNormKernels::kernel_group_norm`] by the given `mean` and `variance`, `[n, groups]` each.
    #[allow(clippy::too_many_arguments)]
    fn kernel_group_norm_by(
        x: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> FloatTensor<Self>;
}

impl GroupNormKernels for Flex {
    fn kernel_group_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> FlexTensor {
        let (size, shape) = norm_shape(&x, groups, epsilon, silu);
        let [x, weight, bias] = [x, weight, bias].map(Dense::new);
        let y = overwritten(shape.len(), |y| {
            gendr_kernels::group_norm(&shape, x.values(), weight.values(), bias.values(), y);
        });
        tensor(y, size)
    }
}

impl MomentKernels for Flex {
    fn kernel_group_moments(x: FlexTensor, groups: usize) -> FlexTensor {
        let (size, shape) = norm_shape(&x, groups, 0.0, false);
        let mut moments = vec![0.0; 2 * size[0] * groups];
        let (mean, variance) = moments.split_at_mut(size[0] * groups);
        gendr_kernels::group_moments(&shape, Dense::new(x).values(), mean, variance);
        tensor(moments, [2, size[0], groups])
    }

    fn kernel_group_norm_by(
        x: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> FlexTensor {
        let (size, shape) = norm_shape(&x, groups, epsilon, silu);
        let [x, mean, variance, weight, bias] = [x, mean, variance, weight, bias].map(Dense::new);
        let (mean, variance) = (mean.values(), variance.values());
        let (weight, bias) = (weight.values(), bias.values());
        let y = overwritten(shape.len(), |y| {
            gendr_kernels::group_norm_by(&shape, x.values(), mean, variance, weight, bias, y);
        });
        tensor(y, size)
    }
}

impl<C: CheckpointStrategy> GroupNormKernels for Autodiff<Flex, C> {
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
        let [mut weight_grad, mut bias_grad] = [vec![0.0; shape.channels], vec![0.0; shape.channels]];
        let [x, weight, bias] = [x, weight, bias].map(Dense::new);
        let x_grad = overwritten(shape.len(), |x_grad| {
            gendr_kernels::group_norm_backward(
                &shape,
                x.values(),
                weight.values(),
                bias.values(),
                grad.values(),
                x_grad,
                &mut weight_grad,
                &mut bias_grad,
            );
        });
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
