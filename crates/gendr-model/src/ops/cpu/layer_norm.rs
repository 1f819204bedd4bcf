//! Layer normalisation.

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
use gendr_kernels::{LayerNormShape, overwritten};

use super::{Dense, tensor};

/// Layer normalisation with gradients.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait LayerNormKernels: Backend {
    /// Layer normalisation over the last axis.
    fn kernel_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;
}

impl LayerNormKernels for Flex {
    fn kernel_layer_norm(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, epsilon: f64) -> FlexTensor {
        let shape = norm_shape(&x, epsilon);
        let size = x.shape();
        let [x, weight, bias] = [x, weight, bias].map(Dense::new);
        let y = overwritten(shape.rows * shape.features, |y| {
            gendr_kernels::layer_norm(&shape, x.values(), weight.values(), bias.values(), y);
        });
        tensor(y, size)
    }
}

impl<C: CheckpointStrategy> LayerNormKernels for Autodiff<Flex, C> {
    fn kernel_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
        match (LayerNormBackward { epsilon }).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = Flex::kernel_layer_norm(x.clone(), weight.clone(), bias, epsilon);
                prep.finish((x, weight), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::kernel_layer_norm(x, weight, bias, epsilon)),
        }
    }
}

#[derive(Debug)]
struct LayerNormBackward {
    epsilon: f64,
}

impl Backward<Flex, 3> for LayerNormBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = Dense::new(grads.consume::<Flex>(&ops.node));
        let (x, weight) = ops.state;
        let (shape, size) = (norm_shape(&x, self.epsilon), x.shape());
        let [mut weight_grad, mut bias_grad] = [vec![0.0; shape.features], vec![0.0; shape.features]];
        let x_grad = overwritten(shape.rows * shape.features, |x_grad| {
            gendr_kernels::layer_norm_backward(
                &shape,
                Dense::new(x).values(),
                Dense::new(weight).values(),
                grad.values(),
                x_grad,
                &mut weight_grad,
                &mut bias_grad,
            );
        });
        let [x_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, tensor(x_grad, size));
        }
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, tensor(weight_grad, [shape.features]));
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, tensor(bias_grad, [shape.features]));
        }
    }
}

fn norm_shape(x: &FlexTensor, epsilon: f64) -> LayerNormShape {
    let x = x.shape();
    let features = x[x.num_dims() - 1];
    LayerNormShape { rows: x.num_elements() / features.max(1), features, epsilon: epsilon as f32 }
}
