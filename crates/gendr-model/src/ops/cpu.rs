//! The CPU's own kernels behind the tensors: gendr-kernels as back-end extensions of Burn, forward and backward.
//!
//! Operations with gradients are extensions of both [`Flex`](burn::backend::Flex) and its `Autodiff`; those that only restoring
//! needs extend `Flex` alone and must not be given tensors of an autodiff device.

mod attention;
mod convolution;
mod group_norm;
mod layer_norm;
mod linear;
mod rearrangement;
mod rectifier;
mod widening;

pub(super) use attention::AttentionKernels;
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};
use burn_flex::FlexTensor;
pub(super) use convolution::{AddedConvKernels, ConvKernels, ConvSettings, FusedConvKernels};
pub(super) use group_norm::{GroupNormKernels, MomentKernels};
pub(super) use layer_norm::LayerNormKernels;
pub(super) use linear::{AddedLinearKernels, FusedLinearKernels, LinearKernels};
pub(super) use rearrangement::{Rearrangement, RearrangementKernels};
pub(super) use rectifier::RectifierKernels;
pub(super) use widening::WideningKernels;

/// Whether the kernels take this tensor, with gradients or without.
pub(super) fn takes<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device().without_autodiff() == Device::flex()
}

/// Whether the kernels without gradients take this tensor.
pub(super) fn takes_fused<const D: usize>(x: &Tensor<D>) -> bool {
    takes(x) && !x.device().is_autodiff()
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

fn tensor(values: Vec<f32>, size: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, size.into()))
}
