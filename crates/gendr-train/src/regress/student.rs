//! The network in training: a restorer of any family, trained as a whole on pictures.

use super::ModelConfig;
use crate::{Error, Result, parameters::Parameters, prompts::Prompts, vae::AutoencoderConfig};
use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use gendr_model::{
    AdcModel, AutoencoderKl, AutoencoderKlConfig, Description, Family, LatentModel, OneStep, PixConfig,
    PixModel, PixOutput, PromptedUnet, RestorationModel, Unet, UnetConfig, initialize,
};

/// The parts of a model under the names that they have in its file.
#[derive(Module, Debug)]
pub(crate) struct Student {
    unet: Unet,
    vae: Option<AutoencoderKl>,
    prompt: Option<Prompts>,
}

impl ModelConfig {
    /// Pixels a side of one position of the UNet.
    pub(crate) fn factor(&self) -> usize {
        self.vae().map_or(self.patch, |vae| vae.factor())
    }

    /// The autoencoder's own configuration, for the families that have one.
    pub(crate) fn vae(&self) -> Option<AutoencoderKlConfig> {
        self.autoencoder.as_ref().filter(|_| self.family.has_vae()).map(AutoencoderConfig::network)
    }

    /// The UNet's own configuration.
    pub(crate) fn unet(&self) -> UnetConfig {
        let pixels = 3 * self.factor().pow(2);
        let latent = self.vae().map_or(pixels, |vae| vae.latent_channels);
        let in_channels = if self.family == Family::Latent { latent } else { pixels };
        UnetConfig { in_channels, out_channels: latent, ..self.shape().network(latent) }
    }

    /// How pixels become positions of the UNet and back.
    fn pix(&self) -> PixConfig {
        PixConfig { patch: self.factor(), output: PixOutput::Residual }
    }

    /// What a model of this shape says of itself.
    pub(crate) fn description(&self) -> Description {
        Description {
            pix: self.pix(),
            color_fix: "none".to_owned(),
            unet: Some(self.unet()),
            vae: self.vae(),
            ..Description::new(self.family)
        }
    }

    /// The network, without weights yet.
    pub(crate) fn init(&self, seed: u64, device: &Device) -> Result<Student> {
        let unet = self.unet();
        let vae = match self.vae() {
            Some(vae) => Some(vae.init(device)?),
            None => None,
        };
        let prompt = Prompts::start(&unet, seed, device);
        Ok(Student { unet: unet.init(device)?, vae, prompt })
    }

    /// The network's first parameters: random, but without autoencoder the output is zero, so that the first result is the
    /// enlarged input.
    pub(crate) fn start(&self, seed: u64, device: &Device) -> Result<Parameters> {
        let student = self.init(seed, device)?;
        let Student { unet, vae, prompt } = student;
        let (unet, vae) = (initialize(unet, seed), vae.map(|vae| initialize(vae, seed)));
        let student = Student { unet, vae, prompt };
        let mut parameters = Parameters::of(&student)?;
        if student.vae.is_none() {
            let last = parameters.names.iter().position(|name| name == "unet.conv_out.weight");
            let last = last.ok_or_else(|| Error::argument("a UNet without conv_out"))?;
            parameters.values[last].fill(0.0);
        }
        Ok(parameters)
    }
}

impl Student {
    /// Enlarged pictures `[n, 3, h, w]` in `[-1, 1]` to restored ones, with the configuration's factor dividing `h` and `w`.
    pub(crate) fn restore(&self, config: &ModelConfig, enlarged: Tensor<4>) -> Result<Tensor<4>> {
        let (one_step, pix) = (OneStep::default(), config.pix());
        let prompt = self.prompt.as_ref().map(|prompts| prompts.batch(0, 1));
        let unet = PromptedUnet::new(self.unet.clone(), one_step.timestep, prompt, None)?;
        let model = match (&self.vae, config.family) {
            (Some(vae), Family::Adc) => {
                RestorationModel::Adc(Box::new(AdcModel { autoencoder: vae.clone(), unet, pix }))
            }
            (Some(vae), _) => {
                RestorationModel::Latent(Box::new(LatentModel { autoencoder: vae.clone(), unet, one_step }))
            }
            (None, _) => RestorationModel::Pix(Box::new(PixModel { unet, pix })),
        };
        Ok(model.restore(enlarged, 1.0)?)
    }
}
