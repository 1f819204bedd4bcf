//! The networks that a run starts with.

use super::{PixStageConfig, Target};
use crate::{Error, Result};
use burn::{module::Module, tensor::Device};
use gendr_model::{StoredModel, StoredTensor, Unet, UnetConfig, Weights, initialize};
use std::path::Path;

/// The UNet of a model, fixed.
pub(super) fn fixed_unet(model: &StoredModel, device: &Device) -> Result<(UnetConfig, Unet)> {
    let config = model.description().unet.clone().ok_or_else(|| Error::argument("a model without UNet"))?;
    let unet = model.weights().part("unet.").load(config.init(device)?)?.no_grad();
    Ok((config, unet))
}

/// The student's first weights: those of `source` wherever they fit. A new last layer for pictures is zero, so that the first
/// result is the enlarged picture.
pub(super) fn begin(
    config: &UnetConfig,
    source: &Weights,
    stage: &PixStageConfig,
    device: &Device,
) -> Result<Unet> {
    let network = initialize(config.init(device)?, stage.seed);
    let fresh = Weights::from_module(&network)?;
    let mut tensors = fresh.tensors().clone();
    for (name, tensor) in &mut tensors {
        match source.tensors().get(name) {
            Some(stored) if stored.shape() == tensor.shape() => *tensor = stored.clone(),
            _ if name.starts_with("conv_out.") && stage.target == Target::Picture => {
                let zeros = vec![0.0; tensor.len()];
                *tensor = StoredTensor::from_f32(zeros, tensor.shape().to_vec())?;
            }
            _ => (),
        }
    }
    Ok(Weights::new(tensors, Path::new("the student"))?.load(network)?)
}
