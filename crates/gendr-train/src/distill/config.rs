//! The configuration of a `distill` run.

use super::{ScoreLoss, Weighting};
use crate::{
    LoraConfig, PartConfig, PerceptualConfig, Result,
    regress::{LossConfig, TeacherConfig},
    trainer::{CheckpointConfig, DataConfig, Rule, StepsConfig, ValidationConfig, check_rules},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that fixes the result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillConfig {
    /// What all draws come from.
    pub seed: u64,
    /// The model that generator and score networks start from, relative to the data folder: what `base` wrote.
    pub base: PathBuf,
    /// A restorer on patches that the generator starts from instead, what `regress` wrote; needed where the base model works on
    /// patches.
    #[serde(default)]
    pub start: Option<PathBuf>,
    /// How the generator learns.
    pub method: Method,
    /// Photographs and their degradation.
    pub data: DataConfig,
    /// How long.
    pub training: StepsConfig,
    /// Hold the graph of one part of one network at a time, and run each once more: less memory, the same gradients.
    #[serde(default)]
    pub checkpointing: bool,
    /// The one-step restorer.
    #[serde(default)]
    pub generator: NetworkConfig,
    /// The score network of sharp pictures, phi.
    #[serde(default)]
    pub real: RealConfig,
    /// The score network of generated pictures, psi.
    #[serde(default)]
    pub fake: NetworkConfig,
    /// The head on the features of phi, and the projector of the alignment.
    #[serde(default)]
    pub heads: PartConfig,
    /// What is minimised.
    #[serde(default)]
    pub loss: DistillLossConfig,
    /// A discriminator on pictures, beside the one on latents.
    #[serde(default)]
    pub discriminator: Option<DiscriminatorConfig>,
    /// What holds the generator near its target in pixels: the losses of `regress`. The paper does without.
    #[serde(default)]
    pub anchor: Option<AnchorConfig>,
    /// A perceptual term on the decoded picture: an anchor that the paper does without.
    #[serde(default)]
    pub perceptual: PerceptualConfig,
    /// DINOv2's weights for the alignment term, relative to the data folder; without them the autoencoder's own encoder or the base
    /// model's features serve.
    #[serde(default)]
    pub dinov2: Option<PathBuf>,
    /// Scores on held-out photographs.
    pub validation: ValidationConfig,
    /// States to resume from.
    pub checkpoints: CheckpointConfig,
}

/// How the generator learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Variational score distillation, as OSEDiff.
    Vsd,
    /// Score identity distillation.
    Sid,
    /// CiD with the sharp latent as a constant: kept to compare with, it moves the mean the wrong way.
    CidLiteral,
    /// CiD with a straight-through gradient.
    Cid,
    /// CiD with the adversarial and the alignment term.
    Cida,
}

/// A network in training: whole, or as an adaptation of the base model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Train low-rank matrices only.
    pub lora: Option<LoraConfig>,
    /// How it is trained.
    pub optimization: PartConfig,
}

/// The score network of sharp pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealConfig {
    /// Leave it as it is in the base model; else it goes on learning sharp pictures.
    pub fixed: bool,
    /// Train low-rank matrices only.
    pub lora: Option<LoraConfig>,
    /// How it is trained.
    pub optimization: PartConfig,
}

/// A convolutional discriminator that sees pictures, real ones and the generator's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscriminatorConfig {
    /// Weight of its term for the generator.
    pub weight: f64,
    /// What it takes for real.
    #[serde(default)]
    pub real: RealPicture,
    /// Show it the enlarged input as well, so that detail has to fit the picture and not only look real.
    #[serde(default)]
    pub sees_input: bool,
    /// Show it luma alone: colours then come from the other terms, and no false ones from this.
    #[serde(default)]
    pub luma: bool,
    /// How it is trained.
    #[serde(default)]
    pub optimization: PartConfig,
}

/// What the discriminator on pictures takes for real.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RealPicture {
    /// The sharp crop.
    #[default]
    Sharp,
    /// What the anchor leads to.
    Target,
}

/// Losses on pictures, and the picture that they lead to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorConfig {
    /// A network to learn from; without one, the sharp crops are the target.
    #[serde(default)]
    pub teacher: Option<TeacherConfig>,
    /// Take the amplitude of detail from the sharp crop instead: a network to learn from has less.
    #[serde(default)]
    pub amplitude_of_sharp: bool,
    /// Weights of the terms.
    pub loss: LossConfig,
}

/// What the generator minimises: lambda1 score + lambda2 adversarial + lambda3 alignment + pixel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillLossConfig {
    /// Factor of L1: alpha of SiD, xi of CiD.
    pub xi: f64,
    /// Weight of the score term.
    pub lambda1: f64,
    /// Weight of the adversarial term; `cida` only.
    pub lambda2: f64,
    /// Weight of the alignment term; `cida` only.
    pub lambda3: f64,
    /// Inner width of the projector of the alignment term.
    pub hidden: usize,
    /// Classifier-free guidance of phi in L2, L3 and VSD; 1 is none. Needs a negative embedding.
    pub guidance: f64,
    /// Guide phi in L1, too.
    pub guide_fisher: bool,
    /// The weight of each sample.
    pub weighting: Weighting,
    /// Timesteps of the score term: from the first, below the second.
    pub timesteps: [usize; 2],
    /// Weight of the mean squared error of the decoded picture in `[-1, 1]`: an anchor that the paper does without.
    pub pixel: f64,
}

impl Default for DistillLossConfig {
    fn default() -> Self {
        Self {
            xi: 1.0,
            lambda1: 1.0,
            lambda2: 0.05,
            lambda3: 0.5,
            hidden: 2048,
            guidance: 2.0,
            guide_fisher: false,
            weighting: Weighting::MeanAbs,
            timesteps: [20, 980],
            pixel: 0.0,
        }
    }
}

impl AnchorConfig {
    /// The losses, each with the picture that it leads to.
    pub(super) fn losses(&self) -> Vec<(LossConfig, RealPicture)> {
        let amplitude = LossConfig { amplitude: self.loss.amplitude, ..LossConfig::NONE };
        match self.amplitude_of_sharp {
            false => vec![(self.loss, RealPicture::Target)],
            true => vec![
                (LossConfig { amplitude: 0.0, ..self.loss }, RealPicture::Target),
                (amplitude, RealPicture::Sharp),
            ],
        }
    }

    fn is_sound(&self) -> bool {
        let share = self.teacher.as_ref().map_or(0.0, |teacher| teacher.share);
        self.loss.is_sound() && (0.0..=1.0).contains(&share)
    }
}

impl Method {
    /// The score term with `xi`.
    pub fn score_loss(self, xi: f64) -> ScoreLoss {
        match self {
            Self::Vsd => ScoreLoss::Vsd,
            Self::Sid => ScoreLoss::Sid { alpha: xi },
            Self::CidLiteral => ScoreLoss::CidLiteral { xi },
            Self::Cid | Self::Cida => ScoreLoss::Cid { xi },
        }
    }
}

impl DistillConfig {
    /// Weight of the adversarial term for the method.
    pub(crate) fn adversarial(&self) -> f64 {
        if self.method == Method::Cida { self.loss.lambda2 } else { 0.0 }
    }

    /// Weight of the alignment term for the method.
    pub(crate) fn alignment(&self) -> f64 {
        if self.method == Method::Cida { self.loss.lambda3 } else { 0.0 }
    }

    /// Whether any loss needs the decoded picture.
    pub(crate) fn looks_at_pictures(&self) -> bool {
        self.loss.pixel > 0.0
            || self.discriminator.is_some()
            || self.anchor.is_some()
            || self.perceptual.weight > 0.0
    }

    /// Checks what types cannot express; `factor` is that of the latent space.
    ///
    /// # Errors
    /// An argument error that names the first value that makes no sense.
    pub(crate) fn check(&self, factor: usize) -> Result<()> {
        self.data.degradations()?;
        let loss = &self.loss;
        let weights = [loss.xi, loss.lambda1, loss.lambda2, loss.lambda3, loss.guidance, loss.pixel];
        let lora = |lora: Option<LoraConfig>| {
            lora.is_none_or(|lora| (1..=4096).contains(&lora.rank) && lora.alpha.is_finite())
        };
        let rules: [Rule; 10] = [
            ("weights of the loss must be numbers from 0", {
                weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
            }),
            ("loss.hidden must be 1 to 16384", (1..=16384).contains(&loss.hidden)),
            ("loss.timesteps must rise and be at most 1000", {
                loss.timesteps[0] < loss.timesteps[1] && loss.timesteps[1] <= 1000
            }),
            ("generator must have numbers that make sense", {
                self.generator.optimization.is_sound() && lora(self.generator.lora)
            }),
            ("real must have numbers that make sense", {
                self.real.optimization.is_sound() && lora(self.real.lora)
            }),
            ("fake must have numbers that make sense", {
                self.fake.optimization.is_sound() && lora(self.fake.lora)
            }),
            ("heads must have numbers that make sense", self.heads.is_sound()),
            ("discriminator must have numbers that make sense", {
                self.discriminator.is_none_or(|judge| {
                    judge.weight.is_finite() && judge.weight >= 0.0 && judge.optimization.is_sound()
                })
            }),
            ("discriminator.real = \"target\" needs [anchor]", {
                self.anchor.is_some()
                    || self.discriminator.is_none_or(|judge| judge.real == RealPicture::Sharp)
            }),
            ("anchor must have numbers from 0, and a share of the teacher of 0 to 1", {
                self.anchor.as_ref().is_none_or(AnchorConfig::is_sound)
            }),
        ];
        check_rules(&rules)?;
        check_rules(&self.perceptual.rules(self.data.photos.crop))?;
        let factor = if self.alignment() > 0.0 { 2 * factor } else { factor };
        check_rules(&self.data.rules(factor))?;
        check_rules(&self.training.rules())?;
        check_rules(&self.checkpoints.rules(&self.validation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amplitude_of_detail_may_lead_to_the_sharp_crop_and_the_rest_to_the_target() {
        let loss = LossConfig { pixel: 1.0, gradient: 2.0, amplitude: 3.0, grid: 4.0 };
        let anchor = |amplitude_of_sharp| AnchorConfig { teacher: None, amplitude_of_sharp, loss };
        assert_eq!(anchor(false).losses(), [(loss, RealPicture::Target)]);
        let expected = [
            (LossConfig { amplitude: 0.0, ..loss }, RealPicture::Target),
            (LossConfig { amplitude: 3.0, ..LossConfig::NONE }, RealPicture::Sharp),
        ];
        assert_eq!(anchor(true).losses(), expected);
    }
}
