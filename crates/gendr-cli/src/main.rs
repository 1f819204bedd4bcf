//! The `gendr` command: arguments in, messages out, no mathematics.

mod args;
mod commands;
mod console;
mod interrupt;
mod status;

use std::process::ExitCode;

use gendr::{Error, Result};
use gendr_kernels::{LargeBlockAllocator, Level};

use status::Status;

/// Keeps the memory of tensors for the next ones.
#[global_allocator]
static ALLOCATOR: LargeBlockAllocator = LargeBlockAllocator::new();

fn main() -> ExitCode {
    let arguments = match args::parse() {
        Ok(arguments) => arguments,
        Err(error) => return console::print_usage_error(&error),
    };
    let status = check_instruction_set().and_then(|()| commands::run(&arguments.command));
    let status = status.unwrap_or_else(|error| {
        console::print_error(&error);
        Status::of_request(&error)
    });
    status.into()
}

/// The kernels cannot report an instruction set that the machine lacks.
fn check_instruction_set() -> Result<()> {
    let level = Level::from_environment();
    level.map(drop).map_err(|error| Error::argument(error.to_string()).with_source(error))
}
