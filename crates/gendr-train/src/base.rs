//! Stage `base`: diffusion on latents, told one learned embedding instead of a prompt (GenDR's SD2.1-VAE16, arXiv 2503.06790).
//!
//! The UNet predicts the noise; the output of its first down block is aligned with features of the clean picture (REPA). A share
//! of the pictures is degraded and shown under a second embedding, which guidance then leads away from.

mod config;
mod run;
mod start;

pub use config::{AlignmentConfig, BaseConfig, UnetSource};
pub(crate) use run::ALIGNED;
pub use run::run;
