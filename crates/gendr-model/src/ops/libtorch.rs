//! LibTorch's own convolution, normalisation and rectifier behind the tensors. Burn would put gradients and normalisation together
//! from small operations; what a GPU loses by that is most of its time.
//!
//! Forward, LibTorch records what it does; backward, its own record is walked.

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, DispatchDevice, LibTorch,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        libtorch::TchTensor,
        tensor::FloatTensor,
    },
    tensor::{DType, Tensor},
};
use gendr_kernels::Padding;
use tch::Tensor as Torch;

/// Whether LibTorch holds this tensor.
pub(super) fn takes<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device().without_autodiff();
    x.dtype() == DType::F32 && matches!(device.as_dispatch(), DispatchDevice::LibTorch(_))
}

/// Convolution of `[n, in, h, w]` with `[out, in, k, k]` plus `bias` `[out]`.
pub(super) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: Padding,
) -> Tensor<4> {
    let [x, weight, bias] = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
    Tensor::from_dispatch(Dispatch::torch_conv2d(x, weight, bias, stride, padding))
}

/// Group normalisation of `[n, c, h, w]`, then SiLU if asked.
pub(super) fn group_norm(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    groups: usize,
    epsilon: f64,
    silu: bool,
) -> Tensor<4> {
    let [weight, bias] = [weight, bias].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::torch_group_norm(x.into_dispatch(), weight, bias, groups, epsilon, silu))
}

/// x · sigmoid(x).
pub(super) fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::torch_silu(x.into_dispatch()))
}

/// Operations on pictures `[n, c, h, w]` with gradients.
#[backend_extension(LibTorch, Autodiff)]
pub(in crate::ops) trait TorchKernels: Backend {
    /// Convolution with `[out, in, k, k]` plus `bias` `[out]`.
    fn torch_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: Padding,
    ) -> FloatTensor<Self>;

    /// Group normalisation, then SiLU if asked.
    fn torch_group_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> FloatTensor<Self>;

    /// x times its sigmoid.
    fn torch_silu(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn convolved([x, weight, bias]: [&Torch; 3], stride: usize, padding: Padding) -> Torch {
    let Padding { top, bottom, left, right } = padding;
    let side = |pad: usize| pad as i64;
    let stride = [stride as i64; 2];
    if top == bottom && left == right {
        return x.conv2d(weight, Some(bias), stride, [side(top), side(left)], [1, 1], 1);
    }
    let padded = x.constant_pad_nd([side(left), side(right), side(top), side(bottom)]);
    padded.conv2d(weight, Some(bias), stride, [0, 0], [1, 1], 1)
}

fn normalized([x, weight, bias]: [&Torch; 3], groups: usize, epsilon: f64, silu: bool) -> Torch {
    let y = x.group_norm(groups as i64, Some(weight), Some(bias), epsilon, true);
    if silu { y.silu() } else { y }
}

impl TorchKernels for LibTorch {
    fn torch_conv2d(
        x: TchTensor,
        weight: TchTensor,
        bias: TchTensor,
        stride: usize,
        padding: Padding,
    ) -> TchTensor {
        TchTensor::new(convolved([&x.tensor, &weight.tensor, &bias.tensor], stride, padding))
    }

    fn torch_group_norm(
        x: TchTensor,
        weight: TchTensor,
        bias: TchTensor,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> TchTensor {
        TchTensor::new(normalized([&x.tensor, &weight.tensor, &bias.tensor], groups, epsilon, silu))
    }

    fn torch_silu(x: TchTensor) -> TchTensor {
        TchTensor::new(x.tensor.silu())
    }
}

impl<C: CheckpointStrategy> TorchKernels for Autodiff<LibTorch, C> {
    fn torch_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: Padding,
    ) -> FloatTensor<Self> {
        recorded::<C, 3>([x, weight, bias], |inputs| convolved(inputs, stride, padding))
    }

    fn torch_group_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> FloatTensor<Self> {
        recorded::<C, 3>([x, weight, bias], |inputs| normalized(inputs, groups, epsilon, silu))
    }

    fn torch_silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        recorded::<C, 1>([x], |[x]| x.silu())
    }
}

/// The result of `work`, which LibTorch records where a gradient is wanted.
// The type whose methods are called has no public name.
#[allow(clippy::redundant_closure_for_method_calls)]
fn recorded<C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<LibTorch, C>>; N],
    work: impl Fn([&Torch; N]) -> Torch,
) -> FloatTensor<Autodiff<LibTorch, C>> {
    let nodes = inputs.each_ref().map(|input| input.node());
    let inputs = inputs.map(|input| input.into_primitive());
    match Walk.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let leaves = inputs.each_ref().map(|input| input.tensor.detach().set_requires_grad(true));
            let result = work(leaves.each_ref());
            let y = TchTensor::new(result.detach());
            let leaves = leaves.into_iter().map(TchTensor::new).collect();
            prep.finish(Record { leaves, result: TchTensor::new(result), _inputs: inputs.to_vec() }, y)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(TchTensor::new(work(inputs.each_ref().map(|input| &input.tensor))))
        }
    }
}

/// What LibTorch recorded.
#[derive(Clone, Debug)]
struct Record {
    leaves: Vec<TchTensor>,
    result: TchTensor,
    /// As long as these are held, nobody changes the values in place.
    _inputs: Vec<TchTensor>,
}

/// Walks a record back.
#[derive(Debug)]
struct Walk;

impl<const N: usize> Backward<LibTorch, N> for Walk {
    type State = Record;

    fn backward(self, ops: Ops<Record, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<LibTorch>(&ops.node);
        let wanted = ops.parents.iter().zip(&ops.state.leaves);
        let wanted: Vec<_> =
            wanted.filter_map(|(node, leaf)| Some((node.as_ref()?.id, &leaf.tensor))).collect();
        if wanted.is_empty() {
            return;
        }
        let leaves: Vec<&Torch> = wanted.iter().map(|(_, leaf)| *leaf).collect();
        let product = (&ops.state.result.tensor * &grad.tensor).sum(None::<tch::Kind>);
        let found = Torch::run_backward(&[product], &leaves, false, false);
        for ((id, _), found) in wanted.into_iter().zip(found) {
            grads.register::<LibTorch>(id, TchTensor::new(found));
        }
    }
}
