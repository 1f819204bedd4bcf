//! One-step distillation: what a generator learns from the difference of two score networks.

mod score;

pub use score::{ScoreLoss, ScoreTerms, Weighting, fisher_divergence, sample_weight, score_product};
