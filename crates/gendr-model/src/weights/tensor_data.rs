//! Stored tensors as Burn takes them.

use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};
use gendr_weights::StoredTensor;

use crate::error::Result;

/// The values of a stored tensor for Burn.
pub trait ToTensorData {
    /// The values in f32, all of them finite. Values that are f32 in the file are not copied: the result shares the
    /// mapped memory. `name` is the tensor's name for the error.
    ///
    /// # Errors
    /// As [`StoredTensor::values`].
    fn to_f32(&self, name: &str) -> Result<TensorData>;
}

impl ToTensorData for StoredTensor {
    fn to_f32(&self, name: &str) -> Result<TensorData> {
        let shape = self.shape().to_vec();
        Ok(match self.values(name)?.into_shared() {
            Ok(bytes) => {
                TensorData::from_bytes(Bytes::from_shared(bytes, AllocationProperty::File), shape, DType::F32)
            }
            Err(values) => TensorData::new(values, shape),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_f32_is_not_copied() {
        let tensor = StoredTensor::from_f32(vec![1.0, 2.0], vec![2]).unwrap();
        let data = tensor.to_f32("t").unwrap();
        assert_eq!(data.as_bytes().as_ptr(), tensor.bytes().as_ptr());
    }
}
