//! Stage `vae`: the autoencoder whose latents diffusion works on.
//!
//! L1 and KL as in latent diffusion (Rombach et al. 2022), and a patch discriminator with adaptive weight. The weight is the
//! ratio of the two gradients at the decoded picture, not at the last layer: the graph behind it is then walked once.

mod config;
mod run;

pub use config::{AutoencoderConfig, VaeConfig, VaeLossConfig};
pub use run::run;
