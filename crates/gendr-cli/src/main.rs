//! The `gendr` command: arguments in, messages out, no mathematics.

mod args;
mod commands;
mod console;
mod interrupt;
mod status;

use clap::Parser;
use gendr_kernels::LargeBlockAllocator;

use status::Status;

/// Keeps the memory of tensors for the next ones.
#[global_allocator]
static ALLOCATOR: LargeBlockAllocator = LargeBlockAllocator::new();

fn main() -> std::process::ExitCode {
    let arguments = args::Cli::parse();
    let status = commands::run(&arguments.command).unwrap_or_else(|error| {
        console::print_error(&error);
        Status::of_request(&error)
    });
    status.into()
}
