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
    Kernels(BenchKernelsArgs),
}

const EXAMPLES: &str = "\
Examples:
  gendr bench restore --size 512
  gendr bench restore --model my-model/ --threads 2 --json";

const KERNEL_EXAMPLES: &str = "\
Examples:
  gendr bench kernels
  gendr bench kernels --only 'decoder conv' --flex
  GENDR_SIMD=avx2 gendr bench kernels --threads 1 --json";

/// Measure every layer of the full-size model at 512x512 pixels on the processor.
///
/// Rates count the operations of plain sums: convolutions by Winograd's method need fewer and can go beyond the peak.
#[derive(Args, Debug)]
#[command(after_help = KERNEL_EXAMPLES)]
pub(crate) struct BenchKernelsArgs {
    /// Only layers whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) only: String,

    /// Measure Burn's own operations (back end Flex) too; takes minutes
    #[arg(long)]
    pub(crate) flex: bool,

    /// Threads; one per core if not given
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<std::num::NonZeroUsize>,

    /// Print one JSON object a layer
    #[arg(long)]
    pub(crate) json: bool,
}

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
