//! Stage `pix`: restorers without encoder (GenDR-Adc) or without autoencoder (GenDR-Pix, arXiv 2602.10630), taught by one with.

mod config;
mod fourier;
mod judge;
mod run;
mod start;

pub use config::{PixLossConfig, PixStageConfig, Target};
pub use fourier::MaskedFourier;
pub use run::run;
