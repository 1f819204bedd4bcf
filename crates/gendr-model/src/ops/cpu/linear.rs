//! Linear layers and their gate.

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
use burn::tensor::Shape;
use burn_flex::FlexTensor;
use gendr_kernels::{LinearShape, overwritten};

use super::{Dense, tensor};

/// Linear layers with gradients.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait LinearKernels: Backend {
    /// x · `weight`ᵀ + `bias` over the last axis; `weight` is `[out, in]`.
    fn kernel_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Value · gelu(gate) of the two halves of the last axis.
    fn kernel_geglu(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// A linear layer and what is added to it, with gradients.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait AddedLinearKernels: Backend {
    /// [`LinearKernels::kernel_linear`] plus `residual`, a tensor like the result.
    fn kernel_linear_added(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// A linear layer with its gate, for restoring.
#[backend_extension(Flex)]
pub(in crate::ops) trait FusedLinearKernels: Backend {
    /// [`LinearKernels::kernel_geglu`] of [`LinearKernels::kernel_linear`].
    fn kernel_linear_geglu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl LinearKernels for Flex {
    fn kernel_linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let shape = linear_shape(&x, weight.shape()[0]);
        let size = with_last(x.shape(), shape.out_features);
        let [x, weight, bias] = [x, weight, bias].map(Dense::new);
        let y = overwritten(shape.rows * shape.out_features, |y| {
            gendr_kernels::linear(&shape, x.values(), weight.values(), Some(bias.values()), y);
        });
        tensor(y, size)
    }

    fn kernel_geglu(x: FlexTensor) -> FlexTensor {
        let size = x.shape();
        let features = size[size.num_dims() - 1] / 2;
        let y = overwritten(size.num_elements() / 2, |y| {
            gendr_kernels::geglu(features, Dense::new(x).values(), y);
        });
        tensor(y, with_last(size, features))
    }
}

impl AddedLinearKernels for Flex {
    fn kernel_linear_added(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
    ) -> FlexTensor {
        let shape = linear_shape(&x, weight.shape()[0]);
        let size = with_last(x.shape(), shape.out_features);
        let [x, weight, bias, residual] = [x, weight, bias, residual].map(Dense::new);
        let (bias, residual) = (Some(bias.values()), Some(residual.values()));
        let y = overwritten(shape.rows * shape.out_features, |y| {
            gendr_kernels::linear_added(&shape, x.values(), weight.values(), bias, residual, y);
        });
        tensor(y, size)
    }
}

impl FusedLinearKernels for Flex {
    fn kernel_linear_geglu(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let shape = linear_shape(&x, weight.shape()[0] / 2);
        let size = with_last(x.shape(), shape.out_features);
        let [x, weight, bias] = [x, weight, bias].map(Dense::new);
        let y = overwritten(shape.rows * shape.out_features, |y| {
            gendr_kernels::linear_geglu(&shape, x.values(), weight.values(), Some(bias.values()), y);
        });
        tensor(y, size)
    }
}

impl<C: CheckpointStrategy> LinearKernels for Autodiff<Flex, C> {
    fn kernel_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
        match LinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = Flex::kernel_linear(x.clone(), weight.clone(), bias);
                prep.finish((x, weight), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::kernel_linear(x, weight, bias)),
        }
    }

    fn kernel_geglu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        match GegluBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = Flex::kernel_geglu(x.clone());
                prep.finish(x, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::kernel_geglu(x)),
        }
    }
}

impl<C: CheckpointStrategy> AddedLinearKernels for Autodiff<Flex, C> {
    fn kernel_linear_added(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node(), residual.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let (bias, residual) = (bias.into_primitive(), residual.into_primitive());
        match AddedLinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = Flex::kernel_linear_added(x.clone(), weight.clone(), bias, residual);
                prep.finish((x, weight), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::kernel_linear_added(x, weight, bias, residual)),
        }
    }
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        self.register(ops.parents.map(|node| Some(node?.id)), ops.state, grad, grads);
    }
}

#[derive(Debug)]
struct AddedLinearBackward;

impl Backward<Flex, 4> for AddedLinearBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x, weight, bias, residual] = ops.parents.map(|node| Some(node?.id));
        let grad = grads.consume::<Flex>(&ops.node);
        if let Some(id) = residual {
            grads.register::<Flex>(id, grad.clone());
        }
        LinearBackward.register([x, weight, bias], ops.state, grad, grads);
    }
}

impl LinearBackward {
    /// Registers the gradients of input, weight and bias.
    fn register(
        &self,
        [x_node, weight_node, bias_node]: [Option<NodeId>; 3],
        (x, weight): (FlexTensor, FlexTensor),
        grad: FlexTensor,
        grads: &mut Gradients,
    ) {
        let grad = Dense::new(grad);
        let (shape, size) = (linear_shape(&x, weight.shape()[0]), x.shape());
        if let Some(id) = x_node {
            let weight = Dense::new(weight);
            let out = overwritten(shape.rows * shape.in_features, |out| {
                gendr_kernels::linear_backward_input(&shape, grad.values(), weight.values(), out);
            });
            grads.register::<Flex>(id, tensor(out, size));
        }
        if let Some(id) = weight_node {
            let out = overwritten(shape.in_features * shape.out_features, |out| {
                gendr_kernels::linear_backward_weight(&shape, Dense::new(x).values(), grad.values(), out);
            });
            grads.register::<Flex>(id, tensor(out, [shape.out_features, shape.in_features]));
        }
        if let Some(id) = bias_node {
            let mut out = vec![0.0; shape.out_features];
            gendr_kernels::linear_backward_bias(&shape, grad.values(), &mut out);
            grads.register::<Flex>(id, tensor(out, [shape.out_features]));
        }
    }
}

#[derive(Debug)]
struct GegluBackward;

impl Backward<Flex, 1> for GegluBackward {
    type State = FlexTensor;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = Dense::new(grads.consume::<Flex>(&ops.node));
        let size = ops.state.shape();
        if let [Some(node)] = ops.parents {
            let features = size[size.num_dims() - 1] / 2;
            let out = overwritten(size.num_elements(), |out| {
                gendr_kernels::geglu_backward(features, Dense::new(ops.state).values(), grad.values(), out);
            });
            grads.register::<Flex>(node.id, tensor(out, size));
        }
    }
}

fn linear_shape(x: &FlexTensor, out_features: usize) -> LinearShape {
    let x = x.shape();
    let in_features = x[x.num_dims() - 1];
    LinearShape { rows: x.num_elements() / in_features.max(1), in_features, out_features }
}

/// A shape with another last axis.
fn with_last(mut shape: Shape, last: usize) -> Shape {
    let axis = shape.num_dims() - 1;
    shape[axis] = last;
    shape
}
