//! The learning rate over time, as a factor on the configured rate.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How the learning rate changes. All but `Constant` rise linearly from 0 over `warmup` steps first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Always 1.
    Constant,
    /// 1 after the warm-up.
    ConstantWithWarmup {
        /// Steps of the rise.
        warmup: u64,
    },
    /// Straight down to 0 at `steps`.
    Linear {
        /// Steps of the rise.
        warmup: u64,
        /// Where it ends.
        steps: u64,
    },
    /// Half a cosine down to 0 at `steps`.
    Cosine {
        /// Steps of the rise.
        warmup: u64,
        /// Where it ends.
        steps: u64,
    },
    /// `cycles` half cosines, each from 1 to 0.
    CosineWithRestarts {
        /// Steps of the rise.
        warmup: u64,
        /// Where it ends.
        steps: u64,
        /// How many cycles.
        cycles: u64,
    },
    /// `(1 - progress)^power` down to 1e-7 at `steps`.
    Polynomial {
        /// Steps of the rise.
        warmup: u64,
        /// Where it ends.
        steps: u64,
        /// Exponent.
        power: f64,
    },
}

impl Schedule {
    /// The factor for step `step`, counted from 0.
    pub fn factor(&self, step: u64) -> f64 {
        let (warmup, steps) = self.warmup_and_steps();
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let progress = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
        let cosine = |turns: f64| 0.5 * (1.0 + (PI * turns).cos());
        match *self {
            Self::Constant | Self::ConstantWithWarmup { .. } => 1.0,
            Self::Linear { .. } => (1.0 - progress).max(0.0),
            // Beyond its end the cosine would rise again in the reference; nobody trains there.
            Self::Cosine { .. } => cosine(progress).max(0.0),
            Self::CosineWithRestarts { .. } if progress >= 1.0 => 0.0,
            Self::CosineWithRestarts { cycles, .. } => cosine((progress * cycles as f64) % 1.0).max(0.0),
            Self::Polynomial { .. } if progress > 1.0 => 1e-7,
            Self::Polynomial { power, .. } => (1.0 - 1e-7) * (1.0 - progress).powf(power) + 1e-7,
        }
    }

    fn warmup_and_steps(&self) -> (u64, u64) {
        match *self {
            Self::Constant => (0, 0),
            Self::ConstantWithWarmup { warmup } => (warmup, warmup),
            Self::Linear { warmup, steps }
            | Self::Cosine { warmup, steps }
            | Self::CosineWithRestarts { warmup, steps, .. }
            | Self::Polynomial { warmup, steps, .. } => (warmup, steps),
        }
    }
}
