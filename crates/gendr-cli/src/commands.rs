//! The commands, a file each.

mod batch;
mod bench;
mod degrade;
mod doctor;
mod eval;
mod forecast;
mod model;
mod pace;
mod recipe;
mod reports;
mod restore;
mod shell;
#[cfg(feature = "train")]
mod train;

use gendr::Result;

use crate::{args::Command, status::Status};

/// Runs a command.
pub(crate) fn run(command: &Command) -> Result<Status> {
    match command {
        Command::Restore(args) => restore::run(args),
        Command::Degrade(args) => degrade::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Model(args) => model::run(&args.command),
        Command::Bench(args) => bench::run(args),
        Command::Recipe(args) => recipe::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions(args) => shell::completions(args),
        Command::Man(args) => shell::man(args),
        #[cfg(feature = "train")]
        Command::Train(args) => train::run(args),
        #[cfg(not(feature = "train"))]
        Command::Train(_) => Err(gendr::Error::unsupported("this build of gendr cannot train")
            .with_hint("build it with `cargo build --release -p gendr-cli --features train`")),
    }
}
