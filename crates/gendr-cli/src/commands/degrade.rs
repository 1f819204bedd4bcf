//! `gendr degrade`: low-quality pictures from good ones, fixed by a seed and the picture's number.

use gendr::{Depth, Error, ErrorKind, FileOptions, Job, Naming, Output, Picture, Result};
use gendr_degrade::{DegradationConfig, Recipe};

use super::batch;
use crate::{args::DegradeArgs, status::Status};

pub(crate) fn run(args: &DegradeArgs) -> Result<Status> {
    let config = DegradationConfig::preset(&args.preset, args.scale)?;
    let naming = Naming {
        output: Some(args.output.clone()),
        format: args.format,
        suffix: String::new(),
        recursive: args.recursive,
        ..Naming::default()
    };
    let jobs = gendr::plan(&args.inputs, &naming)?;
    // What was drawn has its own compression: a JPEG result should add as little as it can.
    let files = FileOptions { quality: Some(100), overwrite: args.overwrite, ..FileOptions::default() };
    batch::run(&jobs, &args.talk, |index, job| {
        job.check_output(&files)?;
        let picture = job.read(&files)?;
        let (degraded, recipe) = degrade(&config, args.seed, index as u64, picture)
            .map_err(|error| error.with_path(job.input.to_string()))?;
        let mut notices = job.write(&degraded, &files)?.notices;
        notices.extend(degraded.notices.iter().cloned());
        if args.recipe {
            write_recipe(&recipe, job, &files)?;
        }
        Ok(((degraded.width(), degraded.height()), notices.iter().map(ToString::to_string).collect()))
    })
}

/// Degrades colour; opacity and metadata belong to the good picture and are left out.
fn degrade(config: &DegradationConfig, seed: u64, index: u64, picture: Picture) -> Result<(Picture, Recipe)> {
    let recipe = Recipe::draw(config, seed, index, picture.height(), picture.width())?;
    let color = recipe.apply(&picture.color)?;
    let degraded = Picture { depth: Depth::Eight, notices: picture.notices, ..Picture::from_color(color) };
    Ok((degraded, recipe))
}

/// Writes the recipe beside the result.
fn write_recipe(recipe: &Recipe, job: &Job, files: &FileOptions) -> Result<()> {
    let Output::File(result) = &job.output else {
        return Err(Error::argument("a recipe needs a result that is a file"));
    };
    let path = result.with_extension("recipe.json");
    if !files.overwrite && path.exists() {
        return Err(Error::argument("the recipe exists already")
            .with_hint("`--overwrite` replaces it")
            .with_path(path));
    }
    let text = serde_json::to_string_pretty(recipe)
        .map_err(|error| Error::new(ErrorKind::Input, "a recipe that cannot be stored").with_source(error))?;
    Ok(gendr::write_atomic(&path, text.as_bytes(), &[])?)
}
