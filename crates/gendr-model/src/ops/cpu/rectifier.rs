//! SiLU and GELU.

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
use gendr_kernels::{Rectifier, overwritten};

use super::{Dense, tensor};

/// Smooth rectifiers with gradients.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait RectifierKernels: Backend {
    /// The rectifier of each value.
    fn kernel_rectify(x: FloatTensor<Self>, rectifier: Rectifier) -> FloatTensor<Self>;
}

impl RectifierKernels for Flex {
    fn kernel_rectify(x: FlexTensor, rectifier: Rectifier) -> FlexTensor {
        let size = x.shape();
        let y = overwritten(size.num_elements(), |y| rectifier.forward(Dense::new(x).values(), y));
        tensor(y, size)
    }
}

impl<C: CheckpointStrategy> RectifierKernels for Autodiff<Flex, C> {
    fn kernel_rectify(x: FloatTensor<Self>, rectifier: Rectifier) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        match (RectifierBackward { rectifier }).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = Flex::kernel_rectify(x.clone(), rectifier);
                prep.finish(x, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::kernel_rectify(x, rectifier)),
        }
    }
}

#[derive(Debug)]
struct RectifierBackward {
    rectifier: Rectifier,
}

impl Backward<Flex, 1> for RectifierBackward {
    type State = FlexTensor;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = Dense::new(grads.consume::<Flex>(&ops.node));
        let size = ops.state.shape();
        if let [Some(node)] = ops.parents {
            let out = overwritten(size.num_elements(), |out| {
                self.rectifier.backward(Dense::new(ops.state).values(), grad.values(), out);
            });
            grads.register::<Flex>(node.id, tensor(out, size));
        }
    }
}
