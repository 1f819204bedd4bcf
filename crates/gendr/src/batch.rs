//! Which files are restored, and where each result goes: decided in full before the first one is read.

mod budget;
mod journal;
mod leftovers;
mod patterns;
mod run;
mod shard;
mod walk;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use gendr_image::OutputFormat;

pub use journal::JOURNAL;
pub use patterns::Patterns;
pub use run::{BatchObserver, BatchOptions, Outcome, Summary};
pub use shard::Shard;

use crate::{Error, Result};

/// Where a picture comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// Where a result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// One picture to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Where it comes from.
    pub input: Input,
    /// Where its result goes.
    pub output: Output,
    /// The format of the result.
    pub format: OutputFormat,
    /// The folder of the batch that the result belongs to, where the journal is kept; none for a result on its own.
    pub root: Option<PathBuf>,
}

/// How results are named.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// A file, a folder or `-`; `None` puts results beside their inputs.
    pub output: Option<PathBuf>,
    /// The format of all results; `None` keeps each input's, PNG where it cannot be written.
    pub format: Option<OutputFormat>,
    /// Added to names beside an input, such as `_x4`.
    pub suffix: String,
    /// Whether folders inside folders are entered.
    pub recursive: bool,
    /// Which files of folders are taken.
    pub patterns: Patterns,
}

/// Plans the results of `inputs`: files, folders and `-` for standard input, in the order given, folders sorted by name.
///
/// With several inputs or a folder, the output is a folder whose tree mirrors the input's; with one file, it is a file
/// unless it exists as a folder or ends in a separator. Nothing is read but folders, and nothing is written.
///
/// # Errors
/// An argument error where two inputs give one name, a result would replace an input, a name fits no format or standard
/// output would take several pictures; an I/O error where a folder cannot be listed or the parent of a result is missing;
/// an input error for a folder without pictures.
pub fn plan(inputs: &[PathBuf], naming: &Naming) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    let several = inputs.len() > 1 || inputs.iter().any(|input| input.is_dir());
    let target = Target::of(naming, several)?;
    for input in inputs {
        if input.as_os_str() == "-" {
            jobs.push(job(Input::Stdin, Path::new("stdin"), &target, naming, several)?);
        } else if input.is_dir() {
            let target = target.for_folder(input, naming)?;
            for inside in walk::pictures(input, naming, target.folder())? {
                jobs.push(job(Input::File(input.join(&inside)), &inside, &target, naming, several)?);
            }
        } else {
            let name = input.file_name().ok_or_else(|| Error::argument("not a file").with_path(input))?;
            jobs.push(job(Input::File(input.clone()), Path::new(name), &target, naming, several)?);
        }
    }
    refuse_collisions(&jobs)?;
    Ok(jobs)
}

/// What `-o` means.
enum Target {
    Beside,
    Stdout,
    File(PathBuf),
    Folder(PathBuf),
}

impl Target {
    fn of(naming: &Naming, several: bool) -> Result<Self> {
        let Some(path) = &naming.output else { return Ok(Self::Beside) };
        if path.as_os_str() == "-" {
            return if several {
                Err(Error::argument("standard output takes one picture, not several")
                    .with_hint("give a folder with `-o`"))
            } else {
                Ok(Self::Stdout)
            };
        }
        let ends_in_separator = path.as_os_str().to_string_lossy().ends_with(std::path::is_separator);
        let folder = several || ends_in_separator || path.is_dir();
        if folder && path.exists() && !path.is_dir() {
            return Err(Error::argument("the output of several pictures must be a folder").with_path(path));
        }
        if path.as_os_str().is_empty() {
            return Err(Error::argument("the name of the output is empty"));
        }
        require_parent(path)?;
        Ok(if folder { Self::Folder(path.clone()) } else { Self::File(path.clone()) })
    }

    /// Results of a folder without `-o` go into a folder beside it.
    fn for_folder(&self, input: &Path, naming: &Naming) -> Result<Self> {
        match self {
            Self::Folder(folder) => Ok(Self::Folder(folder.clone())),
            _ => match input.file_name() {
                Some(name) => {
                    Ok(Self::Folder(input.with_file_name(with_suffix(name.as_ref(), &naming.suffix))))
                }
                None => Err(Error::argument("cannot name a folder beside this one")
                    .with_hint("give the folder of the results with `-o`")
                    .with_path(input)),
            },
        }
    }

    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            _ => None,
        }
    }
}

/// Names the result of `input`; `name` is its path inside the folder that was given, or its file name. One of `several`
/// belongs to a batch.
fn job(input: Input, name: &Path, target: &Target, naming: &Naming, several: bool) -> Result<Job> {
    let format = naming.format.or_else(|| format_of(name)).unwrap_or(OutputFormat::Png);
    let renamed = |stem: PathBuf| renamed(&stem, name, format);
    let (output, format) = match (target, &input) {
        (Target::Stdout, _) | (Target::Beside, Input::Stdin) => (Output::Stdout, format),
        (Target::Beside, Input::File(path)) => {
            let stem = with_suffix(name.with_extension("").as_ref(), &naming.suffix);
            (Output::File(path.with_file_name(renamed(stem))), format)
        }
        (Target::Folder(folder), _) => (Output::File(folder.join(renamed(name.with_extension("")))), format),
        (Target::File(path), _) => (Output::File(path.clone()), named_format(path, naming.format)?),
    };
    let root = target.folder().filter(|_| several).map(Path::to_owned);
    Ok(Job { input, output, format, root })
}

/// `stem` with the extension of `name` where that fits the format, else the format's own.
fn renamed(stem: &Path, name: &Path, format: OutputFormat) -> PathBuf {
    let mut text = stem.as_os_str().to_owned();
    text.push(".");
    match name.extension() {
        Some(extension) if format_of(name) == Some(format) => text.push(extension),
        _ => text.push(format.extension()),
    }
    text.into()
}

fn with_suffix(stem: &Path, suffix: &str) -> PathBuf {
    let mut text = stem.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

/// The format that the name of a result says, which must be the one asked for.
fn named_format(path: &Path, asked: Option<OutputFormat>) -> Result<OutputFormat> {
    match (format_of(path), asked) {
        (Some(named), Some(asked)) if named != asked => {
            let asked = asked.format().name();
            Err(Error::argument(format!("the name of the result does not fit the format {asked}"))
                .with_path(path))
        }
        (named, Some(asked)) => Ok(named.unwrap_or(asked)),
        (Some(named), None) => Ok(named),
        (None, None) => Err(Error::argument("the name of the result says no format that can be written")
            .with_hint("end it in .png, .jpg, .webp or .tif, or choose with `--format`")
            .with_path(path)),
    }
}

fn format_of(path: &Path) -> Option<OutputFormat> {
    OutputFormat::from_extension(path.extension()?.to_str()?)
}

fn require_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            Err(Error::new(crate::ErrorKind::Io, "no such folder").with_path(parent))
        }
        _ => Ok(()),
    }
}

fn refuse_collisions(jobs: &[Job]) -> Result<()> {
    let inputs: HashSet<PathBuf> =
        jobs.iter().filter_map(|job| job.input.path()?.canonicalize().ok()).collect();
    if jobs.iter().filter(|job| job.input == Input::Stdin).count() > 1 {
        return Err(Error::argument("standard input can be read once"));
    }
    let mut named: HashMap<&Path, &Input> = HashMap::new();
    for job in jobs {
        let Output::File(output) = &job.output else { continue };
        if let Some(first) = named.insert(output, &job.input) {
            return Err(Error::argument(format!("{first} and {} would give one result", job.input))
                .with_hint("restore them into different folders")
                .with_path(output));
        }
        if output.canonicalize().is_ok_and(|output| inputs.contains(&output)) {
            return Err(Error::argument("the result would replace an input")
                .with_hint("choose another name or folder with `-o`")
                .with_path(output));
        }
    }
    Ok(())
}

impl Job {
    /// The result's path in its batch, with `/` between its parts on every system; or its name where it has no batch.
    pub(crate) fn name(&self) -> String {
        let Output::File(path) = &self.output else { return self.output.to_string() };
        let inside = self.root.as_ref().and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path);
        let parts = inside.components().map(|part| match part.as_os_str().to_str() {
            Some(text) => text.to_owned(),
            None => part.as_os_str().as_encoded_bytes().escape_ascii().to_string(),
        });
        parts.collect::<Vec<_>>().join("/")
    }
}

impl Input {
    /// The file, unless it is standard input.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdin => None,
            Self::File(path) => Some(path),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("-"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
