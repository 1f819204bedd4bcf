//! Half precision to f32.

use burn::{
    backend::{Backend, Flex, TensorMetadata},
    backend::{backend_extension, tensor::FloatTensor},
    tensor::DType,
};
use burn_flex::FlexTensor;
use gendr_kernels::overwritten;
use half::{bf16, f16};
use rayon::prelude::*;

use super::tensor;

/// Values that one task widens.
const CHUNK: usize = 1 << 16;

/// Widening of stored weights, for restoring.
#[backend_extension(Flex)]
pub(in crate::ops) trait WideningKernels: Backend {
    /// The values of an f16, bf16 or f32 tensor in f32.
    fn kernel_widen_values(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl WideningKernels for Flex {
    fn kernel_widen_values(x: FlexTensor) -> FlexTensor {
        let x = if x.is_contiguous() { x } else { x.to_contiguous() };
        let (size, from) = (x.shape(), x.layout().start_offset());
        let range = from..from + size.num_elements();
        let values = match TensorMetadata::dtype(&x) {
            DType::F16 => {
                widened(&x.storage::<f16>()[range], half::slice::HalfFloatSliceExt::convert_to_f32_slice)
            }
            DType::BF16 => {
                widened(&x.storage::<bf16>()[range], half::slice::HalfFloatSliceExt::convert_to_f32_slice)
            }
            _ => return x,
        };
        tensor(values, size)
    }
}

fn widened<H: Sync>(halves: &[H], widen: impl Fn(&[H], &mut [f32]) + Sync) -> Vec<f32> {
    overwritten(halves.len(), |values| {
        halves
            .par_chunks(CHUNK)
            .zip(values.par_chunks_mut(CHUNK))
            .for_each(|(halves, values)| widen(halves, values));
    })
}
