//! Score distillation losses. All latents are `[n, c, h, w]`; sums run over all values and are divided by n.
//!
//! f_phi ("real") is the clean latent that the score network of sharp pictures predicts from z_t = a_t z_g + s_t eps, f_psi
//! ("fake") what that of generated ones predicts. Gradients flow through both networks' inputs unless a caller detaches them.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Least mean difference that a weight divides by (SiD).
const LEAST_DIFFERENCE: f64 = 1e-5;

/// The weight of each sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// One.
    None,
    /// 1 / mean |z_g - f_phi|, without gradient (DMD, SiD).
    #[default]
    MeanAbs,
}

/// The generator's part of score distillation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScoreLoss {
    /// Variational score distillation (OSEDiff): the gradient is w (f_psi - f_phi), nothing flows through the networks.
    Vsd,
    /// Score identity distillation: L2 - alpha L1 (Zhou et al. 2024).
    Sid {
        /// Factor of L1.
        alpha: f64,
    },
    /// L3 - xi L1 with the sharp latent as it stands: reaches the generator through the networks alone.
    CidLiteral {
        /// Factor of L1.
        xi: f64,
    },
    /// L3 - xi L1 with the value of the sharp latent and the gradient of the generated one.
    Cid {
        /// Factor of L1.
        xi: f64,
    },
}

/// What the losses are made of.
#[derive(Clone, Debug)]
pub struct ScoreTerms {
    /// z_g, the generator's output.
    pub generated: Tensor<4>,
    /// z_h, the latent of the sharp picture.
    pub sharp: Tensor<4>,
    /// f_phi with guidance: that of L2, L3 and VSD.
    pub real: Tensor<4>,
    /// f_phi of L1: the same, or that without guidance.
    pub real_of_fisher: Tensor<4>,
    /// f_psi.
    pub fake: Tensor<4>,
}

impl ScoreLoss {
    /// The value that the generator minimises.
    pub fn value(self, terms: &ScoreTerms, weighting: Weighting) -> Tensor<1> {
        let ScoreTerms { generated, sharp, real, real_of_fisher, fake } = terms;
        let weight = sample_weight(weighting, generated, real);
        let product = |inner: Tensor<4>| score_product(&weight, real.clone() - fake.clone(), inner);
        let fisher = |factor: f64| match factor {
            0.0 => None,
            factor => {
                let difference = real_of_fisher.clone() - fake.clone();
                Some(fisher_divergence(&weight, difference) * factor)
            }
        };
        let (value, fisher) = match self {
            Self::Vsd => {
                let gradient = (fake.clone() - real.clone()) * weight;
                let target = (generated.clone() - gradient).detach();
                let squares = (generated.clone() - target).powi_scalar(2).sum();
                return squares * (0.5 / generated.dims()[0] as f64);
            }
            Self::Sid { alpha } => (product(real.clone() - generated.clone()), fisher(alpha)),
            Self::CidLiteral { xi } => (product(real.clone() - sharp.clone()), fisher(xi)),
            Self::Cid { xi } => {
                let straight_through = sharp.clone() + (generated.clone() - generated.clone().detach());
                (product(real.clone() - straight_through), fisher(xi))
            }
        };
        match fisher {
            Some(fisher) => value - fisher,
            None => value,
        }
    }
}

/// w of every sample, `[n, 1, 1, 1]`, without gradient.
pub fn sample_weight(weighting: Weighting, generated: &Tensor<4>, real: &Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = generated.dims();
    let difference = (generated.clone() - real.clone()).detach().abs();
    let mean = difference.reshape([n, c * h * w]).mean_dim(1).reshape([n, 1, 1, 1]);
    match weighting {
        Weighting::None => mean.ones_like(),
        Weighting::MeanAbs => mean.clamp_min(LEAST_DIFFERENCE).recip(),
    }
}

/// Sum of w (f_phi - f_psi) inner over all values, divided by n: L2 with inner = f_phi - z_g, L3 with f_phi - z_h.
pub fn score_product(weight: &Tensor<4>, difference: Tensor<4>, inner: Tensor<4>) -> Tensor<1> {
    let n = difference.dims()[0] as f64;
    (difference * inner * weight.clone()).sum() * n.recip()
}

/// L1: the sum of w (f_phi - f_psi)^2, divided by n.
pub fn fisher_divergence(weight: &Tensor<4>, difference: Tensor<4>) -> Tensor<1> {
    score_product(weight, difference.clone(), difference)
}
