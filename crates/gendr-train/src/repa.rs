//! Alignment of a UNet's features with those of a picture encoder (REPA, Yu et al. 2024; arXiv 2503.06790 aligns the output of
//! the first down block).

use crate::{
    Result,
    features::Dinov2,
    latent_space::LatentSpace,
    progress::{Event, Progress},
};
use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use gendr_model::{Linear, ops};
use std::path::{Path, PathBuf};

/// Least length that a feature is divided by.
const LEAST_LENGTH: f64 = 1e-12;

/// Three linear layers with SiLU between them, from the UNet's features to the encoder's.
#[derive(Module, Debug)]
pub struct Projector {
    /// From the UNet's channels to the inner width.
    pub linear_1: Linear,
    /// From the inner width to itself.
    pub linear_2: Linear,
    /// From the inner width to the encoder's.
    pub linear_3: Linear,
}

/// Widths of a [`Projector`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectorConfig {
    /// Channels of the UNet's feature.
    pub channels: usize,
    /// Inner width; 2048 in REPA.
    pub hidden: usize,
    /// Width of the encoder's tokens.
    pub features: usize,
}

impl ProjectorConfig {
    /// The projector, without weights yet.
    pub fn init(&self, device: &Device) -> Projector {
        Projector {
            linear_1: Linear::new(self.channels, self.hidden, device),
            linear_2: Linear::new(self.hidden, self.hidden, device),
            linear_3: Linear::new(self.hidden, self.features, device),
        }
    }
}

impl Projector {
    /// The pixels of `[n, channels, h, w]` in the order of rows, as tokens `[n, h w, features]`.
    pub fn forward(&self, feature: Tensor<4>) -> Tensor<3> {
        let x = self.linear_1.forward(tokens(feature));
        let x = self.linear_2.forward(ops::silu(x));
        self.linear_3.forward(ops::silu(x))
    }
}

/// The pixels of `[n, c, h, w]` in the order of rows: `[n, h w, c]`.
pub fn tokens(feature: Tensor<4>) -> Tensor<3> {
    let [n, c, h, w] = feature.dims();
    feature.reshape([n, c, h * w]).swap_dims(1, 2)
}

/// Minus the cosine similarity, mean over the tokens `[n, tokens, features]` of both.
pub fn alignment_loss(projected: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    -(unit(projected) * unit(target)).sum_dim(2).mean()
}

fn unit(tokens: Tensor<3>) -> Tensor<3> {
    let length = tokens.clone().powi_scalar(2).sum_dim(2).sqrt().clamp_min(LEAST_LENGTH);
    tokens / length
}

/// What the features of UNets are aligned with: DINOv2's of the clean picture, or those of the autoencoder's own encoder.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlignmentTarget {
    dinov2: Option<Dinov2>,
    /// Where it comes from.
    pub(crate) file: Option<PathBuf>,
}

impl AlignmentTarget {
    /// DINOv2 from a weight file, if there is one; says which features serve.
    pub(crate) fn open(
        file: Option<&Path>,
        data: &Path,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let file = file.map(|file| data.join(file));
        let dinov2 = match &file {
            Some(file) => Some(Dinov2::open(file, device)?),
            None => None,
        };
        progress.report(Event::Note(match dinov2 {
            Some(_) => "alignment with DINOv2",
            None => "alignment with the project's own features, for want of DINOv2's weights",
        }));
        Ok(Self { dinov2, file })
    }

    /// Width of the features; none where nothing makes any.
    pub(crate) fn channels(&self, space: &LatentSpace) -> Option<usize> {
        self.dinov2.as_ref().map(Dinov2::width).or_else(|| space.feature_channels())
    }

    /// The scaled latent of pictures `[n, 3, h, w]` in `[-1, 1]`, and their features at half its resolution, if anything makes
    /// them.
    pub(crate) fn encode(
        &self,
        space: &LatentSpace,
        picture: Tensor<4>,
    ) -> Result<(Tensor<4>, Option<Tensor<4>>)> {
        let Some(dinov2) = &self.dinov2 else { return space.encode_with_features(picture) };
        let latent = space.encode(picture.clone());
        let [_, _, h, w] = latent.dims();
        let feature = dinov2.forward(picture.inner(), [h.div_ceil(2), w.div_ceil(2)]);
        Ok((latent, Some(feature.autodiff())))
    }
}
