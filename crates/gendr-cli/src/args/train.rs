//! `gendr train`: the options.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Train a model; needs a build with the cargo feature `train`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  gendr train regress --config configs/tiny-v0.toml --data data/ --run runs/tiny"
)]
pub(crate) struct TrainArgs {
    /// What is trained
    pub(crate) stage: TrainStage,

    /// Settings, a TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// Folder that the paths in the settings are relative to
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(crate) data: PathBuf,

    /// Folder of the log, the checkpoints and the result
    #[arg(long, value_name = "FOLDER")]
    pub(crate) run: PathBuf,

    /// Go on from the newest checkpoint in the folder of the run
    #[arg(long)]
    pub(crate) resume: bool,
}

/// A stage of the training.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TrainStage {
    /// Pairs of bad and good pictures: towards a teacher's result, the good picture, or both
    Regress,
    /// An autoencoder: pictures to latents and back
    Vae,
    /// Diffusion on the latents of an autoencoder
    Base,
    /// A one-step restorer out of a base model
    Distill,
    /// A restorer on pixels, without encoder or without autoencoder, out of a one-step restorer
    Pix,
}
