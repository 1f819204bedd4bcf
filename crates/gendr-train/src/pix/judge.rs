//! The discriminator of `pix`: a head on features of the UNet of the stage before.

use crate::{Result, distill::Head};
use burn::tensor::Tensor;
use gendr_model::{Pass, Unet, ops};

/// The layer whose output the head looks at.
const JUDGED: &str = "mid_block";

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
        let conditioning = self.unet.condition(&[self.timestep], self.prompt.clone())?;
        let mut feature = None;
        let mut observe = |name: &str, x: &Tensor<4>| {
            if name == JUDGED {
                feature = Some(x.clone());
            }
        };
        let output = self.unet.forward_pass(x, &conditioning, &mut Pass::whole().observed(&mut observe));
        Ok(head.forward(feature.unwrap_or(output)))
    }
}
