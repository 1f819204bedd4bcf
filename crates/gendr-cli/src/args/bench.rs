//! `gendr bench`: the options.

use clap::{Args, Subcommand};

use super::restore::NetworkArgs;

/// Measure speed and memory.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    Restore(BenchRestoreArgs),
}

const EXAMPLES: &str = "\
Examples:
  gendr bench restore --size 512
  gendr bench restore --model my-model/ --threads 2 --json";

/// Restore a made-up square picture several times and tell the median times of its steps.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchRestoreArgs {
    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    /// Side of the result in pixels
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub(crate) size: usize,

    /// Number of timed runs, after one that is not timed
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) runs: std::num::NonZeroUsize,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
