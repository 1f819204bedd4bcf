//! A frozen autoencoder: pictures to the latents that diffusion works on, and to features to align with.

use crate::{Error, Result, files};
use burn::tensor::{Device, Tensor, module::avg_pool2d, ops::AvgPoolOptions};
use gendr_model::{AutoencoderKl, AutoencoderKlConfig, Pass, StoredModel, Weights};
use std::path::Path;

/// The layer of the encoder whose output other networks are aligned with.
const FEATURE: &str = "encoder.mid_block";

/// An autoencoder whose weights stay as they are; nothing it computes from pictures is tracked.
#[derive(Clone, Debug)]
pub(crate) struct FrozenAutoencoder {
    pub(crate) config: AutoencoderKlConfig,
    pub(crate) weights: Weights,
    network: AutoencoderKl,
}

impl FrozenAutoencoder {
    /// Opens a folder with `config.json` and weights, as diffusers and the stage `vae` write it, or the autoencoder of a model.
    pub(crate) fn open(path: &Path, device: &Device) -> Result<Self> {
        let config = path.join("config.json");
        if path.is_dir() && config.exists() {
            let text = String::from_utf8_lossy(&files::read(&config)?).into_owned();
            let weights = Weights::open(&path.join("diffusion_pytorch_model.safetensors"))?;
            return Self::new(AutoencoderKlConfig::from_json(&text)?, weights, device);
        }
        Self::of_model(&StoredModel::open(path)?, device)
            .map_err(|error| error.with_hint("an autoencoder's folder or a model file is needed"))
    }

    /// The autoencoder of a model.
    pub(crate) fn of_model(model: &StoredModel, device: &Device) -> Result<Self> {
        let config = model.description().vae.clone();
        let config = config.ok_or_else(|| Error::argument("a model without autoencoder"))?;
        let scaling_factor = model.description().scaling_factor.unwrap_or(config.scaling_factor);
        Self::new(AutoencoderKlConfig { scaling_factor, ..config }, model.weights().part("vae."), device)
    }

    fn new(config: AutoencoderKlConfig, weights: Weights, device: &Device) -> Result<Self> {
        let network = weights.load(config.init(device)?)?;
        Ok(Self { config, weights, network })
    }

    /// The scaled latent (its mean) of pictures `[n, 3, h, w]` in `[-1, 1]`, on a device with gradients.
    pub(crate) fn encode(&self, picture: Tensor<4>) -> Tensor<4> {
        let encode = |picture| self.network.encode(picture, &mut Pass::whole()).mean;
        self.network.scale(one_by_one(picture.inner(), encode)).autodiff()
    }

    /// The scaled latent, and features `[n, c, h, w]` at half the latent's resolution.
    pub(crate) fn encode_with_features(&self, picture: Tensor<4>) -> Result<(Tensor<4>, Tensor<4>)> {
        let mut features = Vec::new();
        let mut observe = |name: &str, x: &Tensor<4>| {
            if name == FEATURE {
                features.push(x.clone());
            }
        };
        let encode = |picture| self.network.encode(picture, &mut Pass::whole().observed(&mut observe)).mean;
        let mean = one_by_one(picture.inner(), encode);
        if features.is_empty() {
            return Err(Error::unsupported("an encoder without middle block"));
        }
        let halved = avg_pool2d(Tensor::cat(features, 0), AvgPoolOptions::new([2, 2]).with_stride([2, 2]));
        Ok((self.network.scale(mean).autodiff(), halved.autodiff()))
    }

    /// Width of the features.
    pub(crate) fn feature_channels(&self) -> usize {
        self.config.block_out_channels.last().copied().unwrap_or(0)
    }

    /// The picture of a scaled latent, about `[-1, 1]`; nothing is tracked.
    pub(crate) fn decode(&self, latent: Tensor<4>) -> Tensor<4> {
        let decode = |latent| self.network.decode(latent, &mut Pass::whole());
        one_by_one(self.network.unscale(latent.inner()), decode)
    }

    /// The network on a device with gradients, its weights fixed, for losses on pictures.
    pub(crate) fn differentiable(&self, device: &Device) -> Result<AutoencoderKl> {
        use burn::module::Module;
        Ok(self.weights.load(self.config.init(device)?)?.no_grad())
    }

    /// Pixels a side of one latent pixel.
    pub(crate) fn factor(&self) -> usize {
        self.network.factor()
    }
}

/// What a network makes of the pictures of a batch, one after the other: at their full resolution a batch would fill the memory that
/// the networks in training need.
fn one_by_one(batch: Tensor<4>, network: impl FnMut(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let pictures = batch.dims()[0];
    Tensor::cat(batch.chunk(pictures, 0).into_iter().map(network).collect(), 0)
}
