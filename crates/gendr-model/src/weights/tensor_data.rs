//! Stored tensors as Burn takes them.

use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};
use gendr_weights::{ElementType, StoredTensor};

use crate::error::Result;

/// Tensors of fewer values in half precision are widened when they are loaded: that costs next to nothing.
const KEPT_HALF: usize = 1 << 18;

/// The values of a stored tensor for Burn.
pub trait ToTensorData {
    /// The values in f32, all of them finite. Values that are f32 in the file are not copied: the result shares the
    /// mapped memory. `name` is the tensor's name for the error.
    ///
    /// # Errors
    /// As [`StoredTensor::values`].
    fn to_f32(&self, name: &str) -> Result<TensorData>;

    /// The values as networks hold them, all of them finite: as they are stored where that is in half precision and they are
    /// many, else in f32. Neither is copied where the file's bytes can be used in place.
    ///
    /// # Errors
    /// As [`StoredTensor::values`].
    fn to_network(&self, name: &str) -> Result<TensorData>;
}

/// Hashes element type, shape and values.
pub(crate) fn hash_tensor(tensor: &StoredTensor, hasher: &mut blake3::Hasher) {
    hasher.update(format!("{} {:?}\n", tensor.element().name(), tensor.shape()).as_bytes());
    hasher.update_rayon(tensor.bytes());
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

    fn to_network(&self, name: &str) -> Result<TensorData> {
        let dtype = match self.element() {
            ElementType::F16 => DType::F16,
            ElementType::Bf16 => DType::BF16,
            _ => return self.to_f32(name),
        };
        if self.len() < KEPT_HALF || !self.holds_halves_in_place(name)? {
            return self.to_f32(name);
        }
        let shared = Bytes::from_shared(self.shared_bytes(), AllocationProperty::File);
        Ok(TensorData::from_bytes(shared, self.shape().to_vec(), dtype))
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
