//! The network that becomes the restorer, and how its output is read.

use super::{NetworkConfig, networks::Adapted, run::GENERATOR};
use crate::{Error, Result, latent_space::LatentSpace, prompts::Prompts, trainer::Part};
use burn::tensor::{Device, Tensor};
use gendr_model::{Family, OneStep, PixOutput, StoredModel, Unet, UnetConfig};

/// How the UNet's output becomes a clean latent.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// It is the noise of the one-step formula.
    Noise(OneStep),
    /// It is added to the input, both in units of `[-1, 1]` times this factor (a restorer of the family `pix`).
    Residual(f64),
}

/// The generator, but for its weights.
#[derive(Clone, Debug)]
pub(super) struct Generator {
    pub(super) adapted: Adapted,
    pub(super) config: UnetConfig,
    /// With the weights that low-rank matrices are added to; without any where it is trained whole.
    pub(super) template: Unet,
    pub(super) prompts: Option<Prompts>,
    /// What it starts from.
    pub(super) model: StoredModel,
    form: Form,
}

impl Generator {
    /// A generator that starts from `model`, whose latents are those of `space` and whose UNet is `loaded` if it has been, and
    /// its part of the run.
    pub(super) fn new(
        (model, loaded): (StoredModel, Option<Unet>),
        space: &LatentSpace,
        settings: &NetworkConfig,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, Part)> {
        let about = model.description();
        let residual = about.family == Family::Pix && about.pix.output == PixOutput::Residual;
        let form = match space {
            LatentSpace::Autoencoder(_) if about.family == Family::Latent => Form::Noise(about.one_step),
            LatentSpace::Patches(patches) if residual && about.pix.patch == patches.patch => {
                Form::Residual(patches.scaling_factor)
            }
            _ => {
                let hint = "a base model on patches needs `start`, a model of `gendr train regress` with the same patch";
                return Err(Error::argument("the generator cannot start from this model").with_hint(hint));
            }
        };
        let config = about.unet.clone().ok_or_else(|| Error::argument("a model without UNet"))?;
        let start = match loaded {
            Some(unet) => unet,
            None => model.weights().part("unet.").load(config.init(device)?)?,
        };
        let adapted = Adapted { name: GENERATOR, lora: settings.lora };
        let part = adapted.part(&start, settings.optimization, seed)?;
        let template = if settings.lora.is_some() { start } else { config.init(device)? };
        let prompts = Prompts::of_model(&model, device)?;
        Ok((Self { adapted, config, template, prompts, model, form }, part))
    }

    /// z_g of z_l.
    pub(super) fn generate(
        &self,
        unet: &Unet,
        prompts: Option<&Prompts>,
        low: &Tensor<4>,
    ) -> Result<Tensor<4>> {
        let told = prompts.map(|prompts| prompts.batch(0, 1));
        let conditioning = unet.condition(&[self.timestep()], told)?;
        Ok(self.completed(low, unet.forward(self.input(low), &conditioning)))
    }

    /// The timestep that the UNet is told.
    pub(super) fn timestep(&self) -> f32 {
        self.model.description().one_step.timestep
    }

    /// What the UNet is given for z_l.
    pub(super) fn input(&self, low: &Tensor<4>) -> Tensor<4> {
        match self.form {
            Form::Noise(_) => low.clone(),
            Form::Residual(factor) => low.clone() / factor,
        }
    }

    /// z_g out of z_l and the UNet's output.
    pub(super) fn completed(&self, low: &Tensor<4>, output: Tensor<4>) -> Tensor<4> {
        match self.form {
            Form::Noise(one_step) => one_step.clean(low.clone(), output),
            Form::Residual(factor) => low.clone() + output * factor,
        }
    }

    /// The network with averaged weights, not tracked.
    pub(super) fn averaged(&self, part: &Part, device: &Device) -> Result<Unet> {
        let mut template = self.config.init(device)?;
        if self.adapted.lora.is_some() {
            template = self.model.weights().part("unet.").load(template)?;
        }
        self.adapted.load_average(part, &template, device)
    }
}
