//! `gendr doctor`: the options.

use std::path::PathBuf;

use clap::Args;

/// Tell what this machine has, and whether the built-in model makes the right pixels on it.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Write what the built-in model makes of the test pattern, for whoever replaces the model
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) renew: Option<PathBuf>,
}
