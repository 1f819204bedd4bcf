//! `gendr recipe`: the options.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  gendr recipe photo_x4.png
  gendr restore photo.png --like photo_x4.png -o again.png   makes the same pixels again";

/// Print how a result was made: program, model, options, tiles. It is kept in the picture.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RecipeArgs {
    /// A picture that gendr made
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Print one JSON object on one line
    #[arg(long)]
    pub(crate) json: bool,
}
