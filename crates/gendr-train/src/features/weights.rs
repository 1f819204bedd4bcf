//! Tensors of a weight file, whatever a package has put before their names.

use crate::{Error, Result};
use burn::tensor::{Device, Tensor, TensorData};
use gendr_model::Weights;
use std::path::Path;

/// The tensors of one network.
pub(super) struct Named {
    weights: Weights,
}

impl Named {
    /// Opens files one after the other, of any kind that [`Weights::open`] reads; the names of the later ones count. What stands
    /// before `known`, the name of a tensor that must be there, is cut off all names.
    pub(super) fn open(files: &[impl AsRef<Path>], known: &[&str]) -> Result<Self> {
        let mut weights = Weights::default();
        for file in files {
            weights.insert_part("", Weights::open(file.as_ref())?);
        }
        let prefix = weights.tensors().keys().find_map(|name| {
            let prefix = known.iter().find_map(|known| name.strip_suffix(known))?;
            (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
        });
        match prefix {
            Some(prefix) => Ok(Self { weights: weights.part(&prefix) }),
            None => {
                let names: Vec<_> = files.iter().map(|file| file.as_ref().display().to_string()).collect();
                let message = format!("no tensor {}: {}", known.join(" or "), names.join(", "));
                Err(Error::input(message))
            }
        }
    }

    /// Whether there is a tensor of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.weights.tensors().contains_key(name)
    }

    /// The shape of a tensor.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.tensors().get(name).map(gendr_model::StoredTensor::shape)
    }

    /// A tensor whose values are in the given order of axes; -1 stands for any size.
    pub(super) fn tensor<const D: usize>(
        &self,
        name: &str,
        wanted: [i64; D],
        device: &Device,
    ) -> Result<Tensor<D>> {
        let data = self.weights.values(name)?.convert::<f32>();
        let found = data.shape().as_slice().to_vec();
        let fits = found.len() == D
            && found.iter().zip(wanted).all(|(&size, wanted)| wanted < 0 || size as i64 == wanted);
        if !fits {
            return Err(Error::input(format!("tensor {name} has shape {found:?}, not {wanted:?}")));
        }
        Ok(Tensor::from_data(data, device))
    }

    /// The values of a tensor as a list, whatever its shape.
    pub(super) fn list(&self, name: &str, length: usize, device: &Device) -> Result<Tensor<1>> {
        let values = self.weights.values(name)?.convert::<f32>();
        let values: Vec<f32> = values
            .try_to_vec()
            .map_err(|error| Error::input(format!("tensor {name} cannot be read: {error:?}")))?;
        if values.len() != length {
            return Err(Error::input(format!("tensor {name} has {} values, not {length}", values.len())));
        }
        Ok(Tensor::from_data(TensorData::new(values, [length]), device))
    }
}
