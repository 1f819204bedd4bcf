//! `gendr degrade`: the options.

use std::path::PathBuf;

use clap::Args;

use super::{restore::TalkArgs, values};

const EXAMPLES: &str = "\
Examples:
  gendr degrade photo.png -o low.png
  gendr degrade sharp/ -o low/ --preset realesrgan --seed 7 --recipe

Presets: realesrgan, mild, invsr-train, invsr-test, bicubic, first-order.";

/// Make low-quality pictures from good ones, as training and tests need them.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DegradeArgs {
    /// Pictures, folders of pictures, or `-` for standard input
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,

    /// Result: a file, a folder for several inputs, or `-`
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// How pictures go bad
    #[arg(long, value_name = "NAME", default_value = "realesrgan")]
    pub(crate) preset: String,

    /// How many times smaller the results are
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) scale: usize,

    /// Fixes what is drawn; picture number I of the inputs is sample I of the seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Write what was drawn beside each result, as NAME.recipe.json
    #[arg(long)]
    pub(crate) recipe: bool,

    /// Format of the results: png, jpeg, webp or tiff [default: the name's, else the input's]
    #[arg(short, long, value_name = "FORMAT", value_parser = values::format)]
    pub(crate) format: Option<gendr::OutputFormat>,

    /// Enter folders inside folders; their tree is mirrored
    #[arg(short, long)]
    pub(crate) recursive: bool,

    /// Replace results that exist
    #[arg(long)]
    pub(crate) overwrite: bool,

    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}
