//! Attention.

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
use gendr_kernels::{AttentionShape, overwritten};

use super::{Dense, tensor};

/// Attention with gradients.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait AttentionKernels: Backend {
    /// Multi-head attention of `[n, queries, c]` to keys and values `[n, keys, c]`.
    fn kernel_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self>;
}

impl AttentionKernels for Flex {
    fn kernel_attention(query: FlexTensor, key: FlexTensor, value: FlexTensor, heads: usize) -> FlexTensor {
        let shape = attention_shape(&query, &key, heads);
        attend(&shape, query, key, value, None)
    }
}

fn attend(
    shape: &AttentionShape,
    query: FlexTensor,
    key: FlexTensor,
    value: FlexTensor,
    logarithms: Option<&mut [f32]>,
) -> FlexTensor {
    let size = query.shape();
    let [query, key, value] = [query, key, value].map(Dense::new);
    let y = overwritten(shape.query_len(), |y| {
        gendr_kernels::attention(shape, query.values(), key.values(), value.values(), y, logarithms);
    });
    tensor(y, size)
}

impl<C: CheckpointStrategy> AttentionKernels for Autodiff<Flex, C> {
    fn kernel_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        let nodes = [query.node(), key.node(), value.node()];
        let [query, key, value] = [query.into_primitive(), key.into_primitive(), value.into_primitive()];
        let shape = attention_shape(&query, &key, heads);
        match (AttentionBackward { shape }).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let mut logarithms = vec![0.0; shape.logarithm_len()];
                let y = attend(&shape, query.clone(), key.clone(), value.clone(), Some(&mut logarithms));
                prep.finish(Kept { inputs: [query, key, value], output: y.clone(), logarithms }, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(attend(&shape, query, key, value, None)),
        }
    }
}

#[derive(Debug)]
struct AttentionBackward {
    shape: AttentionShape,
}

/// What the gradients need.
#[derive(Clone, Debug)]
struct Kept {
    inputs: [FlexTensor; 3],
    output: FlexTensor,
    logarithms: Vec<f32>,
}

impl Backward<Flex, 3> for AttentionBackward {
    type State = Kept;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = Dense::new(grads.consume::<Flex>(&ops.node));
        let Kept { inputs, output, logarithms } = ops.state;
        let sizes = inputs.each_ref().map(TensorMetadata::shape);
        let [query, key, value] = inputs.map(Dense::new);
        let output = Dense::new(output);
        let (mut key_grad, mut value_grad) = (Vec::new(), Vec::new());
        let query_grad = overwritten(self.shape.query_len(), |query_grad| {
            key_grad = overwritten(self.shape.key_len(), |key_grad| {
                value_grad = overwritten(self.shape.key_len(), |value_grad| {
                    gendr_kernels::attention_backward(
                        &self.shape,
                        query.values(),
                        key.values(),
                        value.values(),
                        output.values(),
                        &logarithms,
                        grad.values(),
                        query_grad,
                        key_grad,
                        value_grad,
                    );
                });
            });
        });
        let out = [query_grad, key_grad, value_grad];
        for ((node, out), size) in ops.parents.into_iter().zip(out).zip(sizes) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(out, size));
            }
        }
    }
}

fn attention_shape(query: &FlexTensor, key: &FlexTensor, heads: usize) -> AttentionShape {
    let [query, key] = [query.shape(), key.shape()];
    AttentionShape { batch: query[0], heads, queries: query[1], keys: key[1], head_size: query[2] / heads }
}
