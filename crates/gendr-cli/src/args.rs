//! What was typed. Each command has its own file; values become the library's types as they are parsed.

mod bench;
mod restore;
mod values;

use clap::{Parser, Subcommand};

pub(crate) use bench::{BenchArgs, BenchCommand, BenchRestoreArgs};
pub(crate) use restore::{RestoreArgs, TalkArgs};

/// Restores photos: a small or damaged picture in, a larger and cleaner one out.
#[derive(Debug, Parser)]
#[command(name = "gendr", version, about, long_about = None, max_term_width = 100)]
#[command(after_help = "Run `gendr COMMAND --help` for the options of a command.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Restore(Box<RestoreArgs>),
    Bench(BenchArgs),
}
