//! `gendr recipe`: how a result was made.

use gendr::{Error, ErrorKind, Recipe, Result};

use crate::{
    args::RecipeArgs,
    console::{print_data, print_error},
    status::Status,
};

pub(crate) fn run(args: &RecipeArgs) -> Result<Status> {
    let recipe = match Recipe::read(&args.file) {
        Ok(recipe) => recipe,
        Err(error) => {
            print_error(&error);
            return Ok(Status::SomeFailed);
        }
    };
    let text = if args.json { Ok(recipe.to_json()) } else { serde_json::to_string_pretty(&recipe) };
    let text =
        text.map_err(|error| Error::new(ErrorKind::Io, "cannot print the recipe").with_source(error))?;
    print_data(&format!("{text}\n"))?;
    Ok(Status::Done)
}
