//! The commands, a file each.

mod batch;
mod bench;
mod restore;

use gendr::Result;

use crate::{args::Command, status::Status};

/// Runs a command.
pub(crate) fn run(command: &Command) -> Result<Status> {
    match command {
        Command::Restore(args) => restore::run(args),
        Command::Bench(args) => bench::run(args),
    }
}
