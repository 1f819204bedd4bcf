//! One-step restoration: a single UNet call at a fixed timestep and prompt, with the formula of the clean latent.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    autoencoder_kl::AutoencoderKl,
    compact::SrvggNetCompact,
    error::{Error, Result},
    guided_pass::GuidedPass,
    ops,
    pass::Pass,
    pix::{PadGuidance, PixConfig},
    rrdb::RrdbNet,
    unet::{Conditioning, Unet},
};

/// Where on the diffusion path the low-quality latent is taken to lie (arXiv 2503.06790, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneStep {
    /// The timestep the UNet is told.
    pub timestep: f32,
    /// Share of the clean latent's power in its input.
    pub alpha_bar: f64,
    /// Share of the noise's power in its input.
    pub beta_bar: f64,
}

impl Default for OneStep {
    fn default() -> Self {
        Self { timestep: 354.0, alpha_bar: 0.5, beta_bar: 0.5 }
    }
}

impl OneStep {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) unless 0 < alpha_bar ≤ 1, 0 ≤ beta_bar ≤ 1 and the timestep lies in
    /// 0 to 1000.
    pub fn validate(&self) -> Result<()> {
        let Self { timestep, alpha_bar, beta_bar } = *self;
        if alpha_bar > 0.0
            && alpha_bar <= 1.0
            && (0.0..=1.0).contains(&beta_bar)
            && (0.0..=1000.0).contains(&timestep)
        {
            return Ok(());
        }
        Err(Error::input(format!("timestep {timestep}, alpha_bar {alpha_bar}, beta_bar {beta_bar}"))
            .with_hint("0 < alpha_bar ≤ 1, 0 ≤ beta_bar ≤ 1 and a timestep of 0 to 1000 are possible"))
    }

    /// The clean latent (z - √beta_bar · noise) / √alpha_bar.
    pub fn clean(&self, latent: Tensor<4>, noise: Tensor<4>) -> Tensor<4> {
        (latent - noise * self.beta_bar.sqrt()) / self.alpha_bar.sqrt()
    }
}

/// A UNet with what it is always told: its timestep and prompts.
#[derive(Clone, Debug)]
pub struct PromptedUnet {
    unet: Unet,
    positive: Conditioning,
    negative: Option<Conditioning>,
}

impl PromptedUnet {
    /// Computes what timestep and prompts `[1, tokens, cross_attention_dim]` mean to `unet`. The negative prompt is
    /// needed for guidance alone; a network without attention needs no prompt.
    ///
    /// # Errors
    /// `Argument` for a missing prompt or one of another width.
    pub fn new(
        unet: Unet,
        timestep: f32,
        positive: Option<Tensor<3>>,
        negative: Option<Tensor<3>>,
    ) -> Result<Self> {
        let conditioned = unet.condition(&[timestep], positive)?;
        let negative = negative.map(|prompt| unet.condition(&[timestep], Some(prompt))).transpose()?;
        Ok(Self { unet, positive: conditioned, negative })
    }

    /// negative + `guidance` · (positive - negative): `[n, in, h, w]` to `[n, out, h, w]`. At 1 only the positive
    /// branch is computed.
    ///
    /// # Errors
    /// `Argument` for guidance other than 1 without a negative prompt.
    pub fn forward(&self, x: Tensor<4>, guidance: f64, pass: &mut GuidedPass) -> Result<Tensor<4>> {
        if guidance == 1.0 {
            return Ok(self.unet.forward_pass(x, &self.positive, &mut pass.positive));
        }
        let negative = self.unet.forward_pass(x.clone(), self.negative()?, &mut pass.negative);
        let positive = self.unet.forward_pass(x, &self.positive, &mut pass.positive);
        Ok(negative.clone() + (positive - negative) * guidance)
    }

    /// The network.
    pub fn unet(&self) -> &Unet {
        &self.unet
    }

    /// What it is told by the positive prompt.
    pub fn positive(&self) -> &Conditioning {
        &self.positive
    }

    /// Whether there is a negative prompt, so that guidance other than 1 is possible.
    pub fn has_negative(&self) -> bool {
        self.negative.is_some()
    }

    fn negative(&self) -> Result<&Conditioning> {
        self.negative.as_ref().ok_or_else(|| {
            Error::argument("guidance needs a negative prompt, and the model has none")
                .with_hint("leave the guidance at 1, or add a tensor `negative` to the model's prompt")
        })
    }
}

/// The family `latent` (GenDR): encode, one UNet call, decode.
#[derive(Clone, Debug)]
pub struct LatentModel {
    /// Pictures to latents and back.
    pub autoencoder: AutoencoderKl,
    /// Predicts the noise.
    pub unet: PromptedUnet,
    /// From noise to the clean latent.
    pub one_step: OneStep,
}

impl LatentModel {
    /// The scaled latent (its mean) of upscaled pictures `[n, 3, h, w]` in [-1, 1].
    pub fn encode(&self, picture: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        self.autoencoder.scale(self.autoencoder.encode(picture, pass).mean)
    }

    /// The clean latent of a scaled latent.
    ///
    /// # Errors
    /// As [`PromptedUnet::forward`].
    pub fn restore_latent(
        &self,
        latent: Tensor<4>,
        guidance: f64,
        pass: &mut GuidedPass,
    ) -> Result<Tensor<4>> {
        let noise = self.unet.forward(latent.clone(), guidance, pass)?;
        Ok(self.one_step.clean(latent, noise))
    }

    /// The picture of a scaled latent, about [-1, 1], not clamped.
    pub fn decode(&self, latent: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        self.autoencoder.decode(self.autoencoder.unscale(latent), pass)
    }
}

/// The family `adc` (GenDR-Adc): the UNet reads pixels and writes the clean latent.
#[derive(Clone, Debug)]
pub struct AdcModel {
    /// Latents to pictures; its encoder is not used.
    pub autoencoder: AutoencoderKl,
    /// Predicts the scaled clean latent from unshuffled pixels.
    pub unet: PromptedUnet,
    /// How pixels are unshuffled.
    pub pix: PixConfig,
}

impl AdcModel {
    /// The scaled clean latent of upscaled pictures `[n, 3, h, w]` in [-1, 1].
    ///
    /// # Errors
    /// As [`PromptedUnet::forward`].
    pub fn restore_latent(
        &self,
        picture: Tensor<4>,
        guidance: f64,
        pass: &mut GuidedPass,
    ) -> Result<Tensor<4>> {
        self.unet.forward(ops::pixel_unshuffle(picture, self.pix.patch), guidance, pass)
    }

    /// The picture of a scaled latent, about [-1, 1], not clamped.
    pub fn decode(&self, latent: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        self.autoencoder.decode(self.autoencoder.unscale(latent), pass)
    }
}

/// The family `pix` (GenDR-Pix): pixels in, pixels out, one UNet call.
#[derive(Clone, Debug)]
pub struct PixModel {
    /// Predicts the picture or its correction.
    pub unet: PromptedUnet,
    /// The form of input and output.
    pub pix: PixConfig,
}

impl PixModel {
    /// Restored pictures of upscaled ones `[n, 3, h, w]` in [-1, 1], not clamped; guidance other than 1 is PadCFG.
    ///
    /// # Errors
    /// `Argument` for guidance other than 1 without a negative prompt.
    pub fn restore(&self, picture: Tensor<4>, guidance: f64, pass: &mut GuidedPass) -> Result<Tensor<4>> {
        let guide = match guidance == 1.0 {
            true => None,
            false => Some(PadGuidance { negative: self.unet.negative()?, weight: guidance }),
        };
        Ok(self.pix.forward(&self.unet.unet, picture, &self.unet.positive, guide, pass))
    }
}

/// The networks of one model, ready to restore.
#[derive(Clone, Debug)]
pub enum RestorationModel {
    /// GenDR.
    Latent(Box<LatentModel>),
    /// GenDR-Adc.
    Adc(Box<AdcModel>),
    /// GenDR-Pix.
    Pix(Box<PixModel>),
    /// Real-ESRGAN.
    Rrdb(Box<RrdbNet>),
    /// Compact Real-ESRGAN.
    Compact(Box<SrvggNetCompact>),
}

impl RestorationModel {
    /// How much larger the output is than the input: `None` for a network that wants pictures upscaled to their final
    /// size in [-1, 1], else its own scale, for pictures in [0, 1].
    pub fn native_scale(&self) -> Option<usize> {
        match self {
            Self::Latent(_) | Self::Adc(_) | Self::Pix(_) => None,
            Self::Rrdb(_) => Some(RrdbNet::SCALE),
            Self::Compact(network) => Some(network.scale()),
        }
    }

    /// Sides of the input must be multiples of this.
    pub fn multiple(&self) -> usize {
        match self {
            Self::Latent(model) => model.autoencoder.factor(),
            Self::Adc(model) => model.pix.patch,
            Self::Pix(model) => model.pix.patch,
            Self::Rrdb(_) | Self::Compact(_) => 1,
        }
    }

    /// Restores pictures `[n, 3, h, w]` without tiles; values and size as [`RestorationModel::native_scale`] says, the
    /// output in the range of the input but not clamped.
    ///
    /// # Errors
    /// `Argument` for guidance other than 1 on a model without a negative prompt.
    pub fn restore(&self, picture: Tensor<4>, guidance: f64) -> Result<Tensor<4>> {
        match self {
            Self::Latent(model) => {
                let latent = model.encode(picture, &mut Pass::whole());
                let latent = model.restore_latent(latent, guidance, &mut GuidedPass::whole())?;
                Ok(model.decode(latent, &mut Pass::whole()))
            }
            Self::Adc(model) => {
                let latent = model.restore_latent(picture, guidance, &mut GuidedPass::whole())?;
                Ok(model.decode(latent, &mut Pass::whole()))
            }
            Self::Pix(model) => model.restore(picture, guidance, &mut GuidedPass::whole()),
            Self::Rrdb(network) => Ok(network.forward(picture)),
            Self::Compact(network) => Ok(network.forward(picture)),
        }
    }

    /// Multiply-adds to restore one picture to `height` x `width`, a multiple of [`RestorationModel::multiple`],
    /// without guidance and with a prompt of `prompt_tokens`.
    pub fn multiply_adds(&self, height: usize, width: usize, prompt_tokens: usize) -> u64 {
        let grid = |patch: usize| (height / patch, width / patch);
        let unet = |unet: &PromptedUnet, (h, w)| unet.unet.multiply_adds(h, w, prompt_tokens);
        match self {
            Self::Latent(model) => {
                let vae = &model.autoencoder;
                vae.encode_multiply_adds(height, width)
                    + unet(&model.unet, grid(vae.factor()))
                    + vae.decode_multiply_adds(height, width)
            }
            Self::Adc(model) => {
                unet(&model.unet, grid(model.pix.patch))
                    + model.autoencoder.decode_multiply_adds(height, width)
            }
            Self::Pix(model) => unet(&model.unet, grid(model.pix.patch)),
            Self::Rrdb(network) => network.multiply_adds(height / RrdbNet::SCALE, width / RrdbNet::SCALE),
            Self::Compact(network) => {
                network.multiply_adds(height / network.scale(), width / network.scale())
            }
        }
    }
}
