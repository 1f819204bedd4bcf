//! `gendr model`: the options.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use gendr_model::Precision;

use super::values;

/// Look at, make, convert and check models.
#[derive(Args, Debug)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    pub(crate) command: ModelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    Info(InfoArgs),
    /// List the built-in models, and the configurations that `init` knows by name
    List,
    Init(InitArgs),
    Convert(ConvertArgs),
    Interpolate(InterpolateArgs),
    Verify(VerifyArgs),
}

/// Tell family, sizes, parameters, multiply-adds and memory of a model.
#[derive(Args, Debug)]
pub(crate) struct InfoArgs {
    /// Model: a built-in name, a folder or a file
    pub(crate) model: String,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Make a model with random weights.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  gendr model init sd21-vae16 -o my-model/ --seed 1")]
pub(crate) struct InitArgs {
    /// Configuration: a name from `gendr model list`, a gendr.json with `unet` and `vae` in it, or a model folder
    pub(crate) config: String,

    /// Where it goes: a folder, or one file where the name ends in .safetensors
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// Fixes the weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// How values are stored: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = values::precision)]
    pub(crate) precision: Precision,
}

/// Convert a model between folder, single file and precisions; LoRAs are merged.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  gendr model convert my-model/ -o my-model.safetensors --precision f16")]
pub(crate) struct ConvertArgs {
    /// Model: a built-in name, a folder or a file
    pub(crate) model: String,

    /// Where it goes: a folder, or one file where the name ends in .safetensors
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// How values are stored: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = values::precision)]
    pub(crate) precision: Precision,
}

/// Make the model between two of one shape: between a faithful and a detailed one, say.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  gendr model interpolate faithful.safetensors detailed.safetensors --share 0.4 -o between.safetensors"
)]
pub(crate) struct InterpolateArgs {
    /// Model whose name and terms the result has: a built-in name, a folder or a file
    pub(crate) first: String,

    /// The other model
    pub(crate) second: String,

    /// Share of the other model in every value, 0 to 1.5: above 1 it goes on the same way
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub(crate) share: f64,

    /// Where it goes: a folder, or one file where the name ends in .safetensors
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// How values are stored: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = values::precision)]
    pub(crate) precision: Precision,
}

/// Check every tensor of a model, and the BLAKE3 hashes it stores.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Model: a built-in name, a folder or a file
    pub(crate) model: String,
}
