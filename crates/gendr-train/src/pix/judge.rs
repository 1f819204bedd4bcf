//! The discriminator of `pix`: a head on features of the UNet of the stage before.

use crate::{
    Result,
    distill::{Head, JUDGED},
    generator_loss,
    recompute::{self, Saving},
};
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
    /// Logits of latents or pictures that do not lead back to these.
    pub(super) fn logits(&self, head: &Head, x: Tensor<4>, saving: bool) -> Result<Tensor<4>> {
        let saving = Saving::parts_of_pictures(saving);
        head.judge(saving, &self.unet, &|| self.prompt.clone(), &[self.timestep], self.shuffled(x).detach())
    }

    /// What the student minimises; with `saving` its graph does not hold the UNet.
    pub(super) fn adversarial(&self, head: &Head, x: Tensor<4>, saving: bool) -> Result<Tensor<1>> {
        let (timesteps, told) = ([self.timestep], || self.prompt.clone());
        let parts = self.unet.parts(&timesteps, &told)?;
        let loss = |feature| generator_loss(head.forward(feature));
        recompute::loss_of_activation(saving, &parts, self.shuffled(x), JUDGED, loss)
    }

    fn shuffled(&self, x: Tensor<4>) -> Tensor<4> {
        match self.patch {
            Some(patch) => ops::pixel_unshuffle(x, patch),
            None => x,
        }
    }
}
