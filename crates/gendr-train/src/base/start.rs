//! The UNet that training starts from.

use super::UnetSource;
use crate::{Error, Result};
use burn::tensor::Device;
use gendr_model::{StoredModel, StoredTensor, Unet, UnetConfig, Weights, initialize};
use std::path::Path;

/// The configuration and the network with its first weights, for latents of `channels`.
pub(super) fn start(
    source: &UnetSource,
    data: &Path,
    channels: usize,
    seed: u64,
    device: &Device,
) -> Result<(UnetConfig, Unet)> {
    match source {
        UnetSource::Shape(shape) => {
            let config = shape.network(channels);
            let unet = initialize(config.init(device)?, seed);
            Ok((config, unet))
        }
        UnetSource::From(path) => {
            let model = StoredModel::open(&data.join(path))?;
            let config = model.description().unet.clone();
            let config = config.ok_or_else(|| Error::argument("a model without UNet to start from"))?;
            let config = UnetConfig { in_channels: channels, out_channels: channels, ..config };
            let weights = rebuilt(&model.weights().part("unet."), channels)?;
            let unet = weights.load(config.init(device)?)?;
            Ok((config, unet))
        }
    }
}

/// The same weights with a first and a last convolution for `channels`: kernels of the old channels are repeated, those of the
/// input made smaller by as much, so that activations keep their size.
fn rebuilt(weights: &Weights, channels: usize) -> Result<Weights> {
    let mut tensors = weights.tensors().clone();
    for (name, axis) in [("conv_in.weight", 1), ("conv_out.weight", 0), ("conv_out.bias", 0)] {
        let stored = tensors.get(name).ok_or_else(|| Error::input(format!("a UNet without {name}")))?;
        let shape = stored.shape().to_vec();
        let old = *shape.get(axis).ok_or_else(|| Error::input(format!("{name} of shape {shape:?}")))?;
        if old == channels || old == 0 {
            continue;
        }
        let factor = if axis == 1 { old as f32 / channels as f32 } else { 1.0 };
        let values = stored.values(name)?;
        let outer: usize = shape[..axis].iter().product();
        let inner: usize = shape[axis + 1..].iter().product();
        let mut repeated = Vec::with_capacity(outer * channels * inner);
        for row in 0..outer {
            for channel in 0..channels {
                let from = (row * old + channel % old) * inner;
                repeated.extend(values[from..from + inner].iter().map(|value| value * factor));
            }
        }
        let mut shape = shape;
        shape[axis] = channels;
        tensors.insert(name.to_owned(), StoredTensor::from_f32(repeated, shape)?);
    }
    Ok(Weights::new(tensors, Path::new("the UNet to start from"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UnetShape;

    #[test]
    fn convolutions_are_rebuilt_for_other_latents() {
        let shape = UnetShape {
            block_out_channels: vec![8, 8],
            attention: vec![false, false],
            layers_per_block: 1,
            heads: 1,
            prompt_width: 4,
            norm_num_groups: 4,
        };
        let device = Device::flex();
        let four = initialize(shape.network(4).init(&device).expect("a UNet"), 1);
        let weights = Weights::from_module(&four).expect("weights");
        let sixteen = rebuilt(&weights, 16).expect("weights");
        sixteen.load(shape.network(16).init(&device).expect("a UNet")).expect("fitting weights");
        let values =
            |weights: &Weights, name: &str| weights.tensors()[name].values(name).expect("floats").to_vec();
        let (old, new) = (values(&weights, "conv_in.weight"), values(&sixteen, "conv_in.weight"));
        assert_eq!(new.len(), 4 * old.len());
        assert_eq!(new[5 * 9], old[9] / 4.0, "channel 5 is the old channel 1");
        let same = rebuilt(&weights, 4).expect("weights");
        assert_eq!(values(&same, "conv_out.weight"), values(&weights, "conv_out.weight"));
    }
}
