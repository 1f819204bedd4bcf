//! The training stages of GenDR.

mod adamw;
mod adversarial;
pub mod base;
mod batches;
mod config;
mod diffusion;
mod discriminator;
pub mod distill;
mod ema;
mod error;
mod files;
mod latent_space;
mod latents;
mod lora;
mod noise;
mod pairs;
mod parameters;
mod photos;
pub mod pix;
mod plot;
mod progress;
mod prompts;
pub mod regress;
mod repa;
mod schedule;
mod tar;
mod teacher;
mod trainer;
mod unet_shape;
pub mod vae;
mod validation;

pub use adamw::{AdamW, AdamWConfig, clip_gradients, gradient_norm};
pub use adversarial::{discriminator_loss, generator_loss};
pub use config::{parse_config, read_config};
pub use diffusion::{NoiseLevels, NoiseSchedule, denoising_loss, guide};
pub use ema::{half_life_decay, update_average, warm_decay};
pub use error::{Error, ErrorKind, Result};
pub use latent_space::Patches;
pub use lora::{Lora, LoraConfig};
pub use photos::PhotosConfig;
pub use plot::plot;
pub use progress::{Event, Progress, Silent};
pub use repa::{Projector, ProjectorConfig, alignment_loss, tokens};
pub use schedule::Schedule;
pub use trainer::{
    CheckpointConfig, DataConfig, Part, PartConfig, Paths, Presets, Report, StepsConfig, ValidationConfig,
};
pub use unet_shape::UnetShape;
