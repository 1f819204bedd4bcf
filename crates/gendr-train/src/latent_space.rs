//! What diffusion works on: the latents of an autoencoder, or pictures in patches (as GenDR-Pix, arXiv 2602.10630).

use crate::{Error, Result, latents::FrozenAutoencoder};
use burn::tensor::{Device, Tensor};
use gendr_model::{
    AutoencoderKl, Description, Family, Pass, PixConfig, PixOutput, StoredModel, Weights, ops,
};
use serde::{Deserialize, Serialize};

/// Pictures as `3 patch^2` channels of a `patch`-th of their size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patches {
    /// Pixels a side of one position.
    pub patch: usize,
    /// What values in `[-1, 1]` are multiplied by, so that their variance is about 1.
    pub scaling_factor: f64,
}

/// The space that a base model's score is learned in.
#[derive(Clone, Debug)]
pub(crate) enum LatentSpace {
    Autoencoder(Box<FrozenAutoencoder>),
    Patches(Patches),
}

/// The way from latents to pictures with gradients.
#[derive(Clone, Debug)]
pub(crate) enum Decoder {
    Autoencoder(Box<AutoencoderKl>),
    Patches(Patches),
}

impl Patches {
    /// `[n, 3, h, w]` in `[-1, 1]` to `[n, 3 patch^2, h / patch, w / patch]`.
    pub(crate) fn encode(self, picture: Tensor<4>) -> Tensor<4> {
        ops::pixel_unshuffle(picture, self.patch) * self.scaling_factor
    }

    /// The way back.
    pub(crate) fn decode(self, latent: Tensor<4>) -> Tensor<4> {
        ops::pixel_shuffle(latent, self.patch) / self.scaling_factor
    }

    /// Whether the numbers make sense.
    pub(crate) fn is_sound(self) -> bool {
        (2..=64).contains(&self.patch) && self.scaling_factor.is_finite() && self.scaling_factor > 0.0
    }
}

impl Decoder {
    /// The autoencoder, where there is one.
    pub(crate) fn autoencoder(&self) -> Option<&AutoencoderKl> {
        match self {
            Self::Autoencoder(network) => Some(network),
            Self::Patches(_) => None,
        }
    }

    /// The picture of a scaled latent, about `[-1, 1]`.
    pub(crate) fn decode(&self, latent: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Autoencoder(network) => network.decode(network.unscale(latent), &mut Pass::whole()),
            Self::Patches(patches) => patches.decode(latent),
        }
    }
}

impl LatentSpace {
    /// The space of a base model.
    pub(crate) fn of_model(model: &StoredModel, device: &Device) -> Result<Self> {
        let about = model.description();
        match about.family {
            Family::Latent => Ok(Self::Autoencoder(Box::new(FrozenAutoencoder::of_model(model, device)?))),
            Family::Pix => Ok(Self::Patches(Patches {
                patch: about.pix.patch,
                scaling_factor: about.scaling_factor.unwrap_or(1.0),
            })),
            _ => Err(Error::argument("only a model on latents or on patches can be distilled")
                .with_hint("`gendr train base` makes one")),
        }
    }

    /// The scaled latent (its mean) of pictures `[n, 3, h, w]` in `[-1, 1]`, on a device with gradients; nothing is tracked.
    pub(crate) fn encode(&self, picture: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Autoencoder(autoencoder) => autoencoder.encode(picture),
            Self::Patches(patches) => patches.encode(picture.detach()),
        }
    }

    /// The same, and features `[n, c, h, w]` at half the latent's resolution where the space has an encoder.
    pub(crate) fn encode_with_features(&self, picture: Tensor<4>) -> Result<(Tensor<4>, Option<Tensor<4>>)> {
        match self {
            Self::Autoencoder(autoencoder) => {
                let (latent, features) = autoencoder.encode_with_features(picture)?;
                Ok((latent, Some(features)))
            }
            Self::Patches(patches) => Ok((patches.encode(picture.detach()), None)),
        }
    }

    /// Width of those features.
    pub(crate) fn feature_channels(&self) -> Option<usize> {
        match self {
            Self::Autoencoder(autoencoder) => Some(autoencoder.feature_channels()),
            Self::Patches(_) => None,
        }
    }

    /// The picture of a scaled latent, about `[-1, 1]`; nothing is tracked.
    pub(crate) fn decode(&self, latent: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Autoencoder(autoencoder) => autoencoder.decode(latent),
            Self::Patches(patches) => patches.decode(latent.inner()),
        }
    }

    /// The way to pictures on a device with gradients, its weights fixed.
    pub(crate) fn decoder(&self, device: &Device) -> Result<Decoder> {
        match self {
            Self::Autoencoder(autoencoder) => {
                Ok(Decoder::Autoencoder(Box::new(autoencoder.differentiable(device)?)))
            }
            Self::Patches(patches) => Ok(Decoder::Patches(*patches)),
        }
    }

    /// Channels of a latent.
    pub(crate) fn channels(&self) -> usize {
        match self {
            Self::Autoencoder(autoencoder) => autoencoder.config.latent_channels,
            Self::Patches(patches) => 3 * patches.patch.pow(2),
        }
    }

    /// Pixels a side of one latent pixel.
    pub(crate) fn factor(&self) -> usize {
        match self {
            Self::Autoencoder(autoencoder) => autoencoder.factor(),
            Self::Patches(patches) => patches.patch,
        }
    }

    /// What a model in this space says of itself, and the weights that belong to the space.
    pub(crate) fn describe(&self) -> (Description, Weights) {
        match self {
            Self::Autoencoder(autoencoder) => (
                Description { vae: Some(autoencoder.config.clone()), ..Description::new(Family::Latent) },
                autoencoder.weights.clone(),
            ),
            Self::Patches(patches) => (
                Description {
                    pix: PixConfig { patch: patches.patch, output: PixOutput::Direct },
                    scaling_factor: Some(patches.scaling_factor),
                    ..Description::new(Family::Pix)
                },
                Weights::default(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    #[test]
    fn patches_come_back_as_the_picture() {
        let patches = Patches { patch: 4, scaling_factor: 2.0 };
        let device = Device::flex().autodiff();
        let picture = Tensor::<4>::random([2, 3, 8, 12], Distribution::Uniform(-1.0, 1.0), &device);
        let space = LatentSpace::Patches(patches);
        let latent = space.encode(picture.clone());
        assert_eq!(latent.dims(), [2, space.channels(), 2, 3]);
        let back = space.decode(latent).into_data();
        back.assert_approx_eq::<f32>(&picture.into_data(), Tolerance::default());
    }
}
