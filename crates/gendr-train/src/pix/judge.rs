//! The discriminator of `pix`: a head on features of the UNet of the stage before.

use crate::{Result, distill::Head};
use burn::tensor::Tensor;
use gendr_model::{Unet, ops};

/// A fixed UNet and what it is told.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    pub(super) unet: Unet,
    pub(super) timestep: f32,
    pub(super) prompt: Option<Tensor<3>>,
    /// The shuffle before the UNet, where it looks at pictures.
    pub(super) patch: Option<usize>,
}

impl Judge {
    /// Logits of latents or pictures.
    pub(super) fn logits(&self, head: &Head, x: Tensor<4>) -> Result<Tensor<4>> {
        let x = match self.patch {
            Some(patch) => ops::pixel_unshuffle(x, patch),
            None => x,
        };
        head.judge(&self.unet, self.prompt.clone(), &[self.timestep], x)
    }
}
