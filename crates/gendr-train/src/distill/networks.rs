//! UNets that are trained whole or by low-rank matrices on one base, and the discriminator's head.

use crate::{
    LoraConfig, PartConfig, Result,
    lora::Lora,
    recompute::{self, Saving},
    trainer::Part,
};
use burn::{
    module::Module,
    tensor::{Device, Gradients, Tensor},
};
use gendr_model::{Conv2d, GroupNorm, Unet};

/// The layer of a UNet whose output a [`Head`] looks at.
pub(crate) const JUDGED: &str = "mid_block";

/// How a UNet of the run is made from its part and the base model.
#[derive(Clone, Debug)]
pub(crate) struct Adapted {
    pub(crate) name: &'static str,
    pub(crate) lora: Option<LoraConfig>,
}

/// A UNet with the weights of a step.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Tracked.
    pub(crate) unet: Unet,
    /// The same, not tracked.
    pub(crate) fixed: Unet,
    lora: Option<Lora>,
}

impl Adapted {
    /// Its part, before the first step.
    pub(crate) fn part(&self, base: &Unet, config: PartConfig, seed: u64) -> Result<Part> {
        match &self.lora {
            None => Part::new(self.name, base, config),
            Some(lora) => Ok(Part::of(self.name, lora.start(base, seed), config).in_memory()),
        }
    }

    /// The network, tracked and not. `base` is on `device`, one with gradients.
    pub(crate) fn load(&self, part: &Part, base: &Unet, device: &Device) -> Result<Loaded> {
        let (unet, lora) = match &self.lora {
            None => (part.load(base.clone())?, None),
            Some(config) => {
                let lora = part.lora(config, device, false)?;
                (lora.adapt_tracked(base.clone()), Some(lora))
            }
        };
        Ok(Loaded { fixed: unet.clone().no_grad(), unet, lora })
    }

    /// The network with averaged weights, not tracked, on the device of `base`.
    pub(crate) fn load_average(&self, part: &Part, base: &Unet, device: &Device) -> Result<Unet> {
        match &self.lora {
            None => part.load_average(base.clone()),
            Some(config) => Ok(part.lora(config, device, true)?.adapt(base.clone())),
        }
    }
}

impl Loaded {
    /// Takes the gradients of the network's weights and adds `share` of them to the step under way.
    pub(crate) fn add_gradients(&self, part: &mut Part, gradients: &mut Gradients, share: f64) -> Result<()> {
        match &self.lora {
            None => part.add_gradients(&self.unet, gradients, share),
            Some(lora) => part.add_lora_gradients(lora, &self.unet, gradients, share),
        }
    }
}

/// The discriminator's own part: group norm, SiLU and a 1x1 convolution on features of the score network.
#[derive(Module, Debug)]
pub(crate) struct Head {
    norm: GroupNorm,
    conv: Conv2d,
}

impl Head {
    /// A head without weights yet, for features of `channels` in `groups`.
    pub(crate) fn new(channels: usize, groups: usize, device: &Device) -> Self {
        Self {
            norm: GroupNorm::new(groups, channels, 1e-5, device),
            conv: Conv2d::new(channels, 1, 1, device),
        }
    }

    /// Features `[n, channels, h, w]` to logits `[n, 1, h, w]`.
    pub(crate) fn forward(&self, feature: Tensor<4>) -> Tensor<4> {
        self.conv.forward(self.norm.forward_silu(feature))
    }

    /// Logits of `x` from what `unet`, `told` its prompt, makes of it; of its output where it has no middle block.
    pub(crate) fn judge(
        &self,
        saving: Saving,
        unet: &Unet,
        told: &dyn Fn() -> Option<Tensor<3>>,
        timesteps: &[f32],
        x: Tensor<4>,
    ) -> Result<Tensor<4>> {
        Ok(self.forward(recompute::activation(saving, &unet.parts(timesteps, told)?, x, JUDGED)))
    }
}
