//! Stage `distill`: one-step distillation, what a generator learns from the difference of two score networks
//! (arXiv 2503.06790: CiD and CiDA; also SiD and VSD).

mod config;
mod generator;
mod networks;
mod run;
mod score;
mod step;
mod teach_generator;

pub use config::{
    AnchorConfig, DiscriminatorConfig, DistillConfig, DistillLossConfig, Method, NetworkConfig, RealConfig,
    RealPicture,
};
pub(crate) use networks::{Head, JUDGED};
pub use run::run;
pub use score::{ScoreLoss, ScoreTerms, Weighting, fisher_divergence, sample_weight, score_product};
