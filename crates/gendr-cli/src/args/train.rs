//! `gendr train`: the options.

#[cfg(feature = "train")]
use std::path::PathBuf;

use clap::Args;
#[cfg(feature = "train")]
use clap::Subcommand;

/// Train a model; needs a build with the cargo feature `train`.
#[cfg(not(feature = "train"))]
#[derive(Args, Debug)]
#[command(after_help = "Build it with `cargo build --release -p gendr-cli --features train`.")]
pub(crate) struct TrainArgs {
    /// Whatever is asked for, the answer is how to build it
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<std::ffi::OsString>,
}

/// Train a model.
#[cfg(feature = "train")]
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  gendr train regress --config configs/gendr-tiny/regress.toml --data data/ --run runs/gendr-tiny-regress"
)]
pub(crate) struct TrainArgs {
    /// What is trained
    #[command(subcommand)]
    pub(crate) command: TrainCommand,
}

/// A stage of the training, or what came of it.
#[cfg(feature = "train")]
#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    /// Pairs of bad and good pictures: towards a teacher's result, the good picture, or both
    Regress(StageArgs),
    /// An autoencoder: pictures to latents and back
    Vae(StageArgs),
    /// Diffusion on the latents of an autoencoder
    Base(StageArgs),
    /// A one-step restorer out of a base model
    Distill(StageArgs),
    /// A restorer on pixels, without encoder or without autoencoder, out of a one-step restorer
    Pix(StageArgs),
    /// Sharp crops of photographs in one archive, to train where the photographs are not
    Crops(CropsArgs),
    /// The curves of a run, as RUN/curves.svg
    Plot {
        /// Folder of the run
        run: PathBuf,
    },
}

/// The options of `crops`.
#[cfg(feature = "train")]
#[derive(Args, Debug)]
pub(crate) struct CropsArgs {
    /// Folders, WebDataset archives (.tar) and lists of files (.txt)
    #[arg(required = true, value_name = "PHOTOS")]
    pub(crate) photos: Vec<PathBuf>,

    /// Archive to write, which `data.photos.folders` may name
    #[arg(short, long, value_name = "FILE.tar")]
    pub(crate) output: PathBuf,

    /// How many crops
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub(crate) count: usize,

    /// Side of a crop in pixels
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(16..=1024))]
    pub(crate) crop: u16,

    /// Quality of the JPEG files
    #[arg(long, value_name = "N", default_value_t = 95, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) quality: u8,

    /// Fixes what is drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

/// The options of all stages.
#[cfg(feature = "train")]
#[derive(Args, Debug)]
pub(crate) struct StageArgs {
    /// Settings, a TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// Folder that the paths in the settings are relative to
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(crate) data: PathBuf,

    /// Folder of the log, the checkpoints and the result
    #[arg(long, value_name = "FOLDER")]
    pub(crate) run: PathBuf,

    /// Where training pairs are kept [default: RUN/cache]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) cache: Option<PathBuf>,

    /// What computes: `cpu`; `vulkan` or `vulkan:N` with the cargo feature `vulkan`; `cuda` or `cuda:N` with `libtorch`
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    pub(crate) device: String,

    /// Go on from the newest checkpoint in the folder of the run
    #[arg(long)]
    pub(crate) resume: bool,
}
