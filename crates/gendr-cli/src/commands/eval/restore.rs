//! A test set restored with several models, as far as it is not done already.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use gendr::{
    CancelFlag, Compute, Error, ErrorKind, FileOptions, Input, Job, Limits, ModelSource, Output,
    OutputFormat, Picture, RestoreOptions, Restorer, Result, Silent, TargetSize,
};
use gendr_metrics::{Dataset, DatasetPicture, Interpolation, Layout, Pair, Pairing, shrink_reference};

use super::{Method, name_of};
use crate::{args::RestoreSetArgs, console::Console};

/// What tells the results of one model from those of another that was called the same.
const IDENTITY: &str = ".gendr-model";

/// A test set and the models to restore it with.
pub(super) struct Plan {
    folder: PathBuf,
    scale: usize,
    dataset: Dataset,
    models: Vec<(String, Source)>,
}

/// What restores.
enum Source {
    Interpolation(Interpolation),
    Model(ModelSource),
}

/// Restored pictures.
pub(super) struct RestoredSet {
    pub(super) methods: Vec<Method>,
    /// Whether no picture failed.
    pub(super) complete: bool,
}

impl Plan {
    /// Finds the pictures and the models.
    pub(super) fn new(dataset: &Path, args: &RestoreSetArgs) -> Result<Self> {
        let scale = usize::from(args.scale);
        let folder = args.results_folder.clone().unwrap_or_default();
        let mut models: Vec<(String, Source)> = Vec::new();
        for argument in &args.models {
            let (name, source) = source(argument)?;
            if models.iter().any(|(known, _)| *known == name) {
                return Err(Error::argument(format!("two models are called {name}"))
                    .with_hint("give other names, such as `--model first=runs/1/model`"));
            }
            models.push((name, source));
        }
        let dataset = Dataset::open(dataset, Layout::named(&args.layout)?, scale)?;
        Ok(Self { folder, scale, dataset, models })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn has_reference(&self) -> bool {
        self.dataset.pictures.iter().any(|picture| picture.reference.is_some())
    }

    /// Makes the inputs that the set lacks, then restores with one model after the other.
    pub(super) fn run(
        &self,
        threads: Option<NonZeroUsize>,
        quiet: bool,
        cancel: &CancelFlag,
    ) -> Result<RestoredSet> {
        let pictures = &self.dataset.pictures;
        let console = Console::new(quiet, pictures.len() * self.models.len());
        let inputs: Vec<Option<PathBuf>> =
            pictures.iter().map(|picture| told(self.input(picture), &console)).collect();
        let mut restored = RestoredSet { methods: Vec::new(), complete: inputs.iter().all(Option::is_some) };
        for (index, (name, source)) in self.models.iter().enumerate() {
            let folder = self.folder.join(name);
            claim(&folder, source)?;
            let mut model = None;
            let mut pairing = Pairing::default();
            for (number, (picture, input)) in pictures.iter().zip(&inputs).enumerate() {
                let Some(input) = input else { continue };
                console.show(index * pictures.len() + number, &format!("{name}: {}", picture.name), 0.0);
                let output = folder.join(format!("{}.png", picture.name));
                if !output.exists() {
                    let opened = match model.take() {
                        Some(opened) => opened,
                        None => source.open(threads)?,
                    };
                    let done = self.restore(model.insert(opened), input, &output, cancel);
                    if cancel.is_cancelled() {
                        console.finish();
                        console.say("stopped; the same command goes on from here");
                        return Ok(restored);
                    }
                    if told(done, &console).is_none() {
                        restored.complete = false;
                        continue;
                    }
                }
                pairing.pairs.push(Pair {
                    name: picture.name.clone(),
                    output,
                    reference: picture.reference.clone(),
                    input: Some(input.clone()),
                });
            }
            restored.methods.push(Method { name: name.clone(), pairing });
        }
        console.finish();
        Ok(restored)
    }

    /// The low-resolution picture, made from the reference where the set has none.
    fn input(&self, picture: &DatasetPicture) -> Result<PathBuf> {
        if let Some(input) = &picture.input {
            return Ok(input.clone());
        }
        let made = self.folder.join("input").join(format!("{}.png", picture.name));
        if let (false, Some(reference)) = (made.exists(), &picture.reference) {
            let color = gendr::read(reference, &Limits::default())?.color;
            let small = shrink_reference(&color, self.scale).map_err(|error| error.at(reference))?;
            write(&made, reference, &Picture::from_color(small))?;
        }
        Ok(made)
    }

    fn restore(&self, method: &Opened, input: &Path, output: &Path, cancel: &CancelFlag) -> Result<()> {
        let picture = gendr::read(input, &Limits::default())?;
        let restored = match method {
            Opened::Interpolation(filter) => Picture::from_color(filter.enlarge(&picture.color, self.scale)?),
            Opened::Model(restorer) => {
                let options = RestoreOptions {
                    size: TargetSize::Scale(self.scale as f64),
                    ..RestoreOptions::default()
                };
                let restored = restorer.restore(&picture, &options, &Silent, cancel);
                restored.map_err(|error| error.with_path(input))?.picture
            }
        };
        write(output, input, &restored)
    }
}

/// A method, ready.
enum Opened {
    Interpolation(Interpolation),
    Model(Box<Restorer>),
}

impl Source {
    fn open(&self, threads: Option<NonZeroUsize>) -> Result<Opened> {
        Ok(match self {
            Self::Interpolation(filter) => Opened::Interpolation(*filter),
            Self::Model(source) => {
                Opened::Model(Box::new(Restorer::open(source, Compute { threads, ..Compute::default() })?))
            }
        })
    }

    /// A line that differs where results may differ: the program's version and the hash of the built-in model, or the file's place,
    /// size and time.
    fn identity(&self) -> Result<String> {
        let program = env!("CARGO_PKG_VERSION");
        match self {
            Self::Interpolation(filter) => Ok(format!("{filter:?}")),
            Self::Model(ModelSource::BuiltIn) => {
                let hash = blake3::hash(gendr::built_in_file());
                Ok(format!("{} of gendr {program}, BLAKE3 {hash}", gendr::BUILT_IN))
            }
            Self::Model(ModelSource::Path(path)) => {
                let path = path.canonicalize().map_err(|error| Error::io(error, path))?;
                let about = fs::metadata(&path).map_err(|error| Error::io(error, &path))?;
                let time =
                    about.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
                let seconds = time.map_or(0, |time| time.as_secs());
                Ok(format!("{} of {} bytes from {seconds}", path.display(), about.len()))
            }
        }
    }
}

/// A filter or model, and its name: `NAME=MODEL`, or the last part of the path without its extension.
fn source(argument: &str) -> Result<(String, Source)> {
    let (name, model) = match argument.split_once('=') {
        Some((name, model)) if !name.is_empty() && !Path::new(argument).exists() => {
            (Some(name.to_owned()), model)
        }
        _ => (None, argument),
    };
    let is_folder_name =
        |name: &str| !name.contains(['/', '\\']) && !name.starts_with('.') && name != "input";
    if let Some(wrong) = name.as_deref().filter(|name| !is_folder_name(name)) {
        return Err(Error::argument(format!(
            "a model cannot be called {wrong}, which names no folder for its results"
        )));
    }
    if let Some(filter) = Interpolation::named(model) {
        return Ok((name.unwrap_or_else(|| model.to_owned()), Source::Interpolation(filter)));
    }
    let source = ModelSource::from(model);
    source.check_exists()?;
    let own = || match &source {
        ModelSource::BuiltIn => gendr::BUILT_IN.to_owned(),
        ModelSource::Path(path) if path.is_file() => name_of(&path.with_extension("")),
        ModelSource::Path(path) => name_of(path),
    };
    Ok((name.unwrap_or_else(own), Source::Model(source)))
}

/// Takes the folder for the results of this model, or refuses it where another model's lie there.
fn claim(folder: &Path, source: &Source) -> Result<()> {
    let identity = source.identity()?;
    fs::create_dir_all(folder).map_err(|error| Error::io(error, folder))?;
    let path = folder.join(IDENTITY);
    match fs::read_to_string(&path) {
        Ok(known) if known == identity => Ok(()),
        Ok(known) => Err(Error::argument(format!("here are results of another model, {known}"))
            .with_hint("remove the folder, or give the model another name: `--model NAME=MODEL`")
            .with_path(folder)),
        Err(_) => Ok(gendr::write_atomic(&path, identity.as_bytes(), &[])?),
    }
}

/// Writes 8 bits a channel, whole or not at all.
fn write(output: &Path, input: &Path, picture: &Picture) -> Result<()> {
    let job = Job {
        input: Input::File(input.to_owned()),
        output: Output::File(output.to_owned()),
        format: OutputFormat::Png,
        root: None,
    };
    let options = FileOptions { depth: Some(gendr::Depth::Eight), ..FileOptions::default() };
    job.write(picture, &options).map(drop)
}

/// The value, or nothing where an error was reported.
fn told<T>(result: Result<T>, console: &Console) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.kind() == ErrorKind::Cancelled => None,
        Err(error) => {
            console.error(&error);
            None
        }
    }
}
