//! Pictures in and out of files and streams.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
};

use gendr_image::{
    Depth, EncodeOptions, Limits, Notice, Picture, Strip, decode, encode, open_file, read_file, write_atomic,
};

use crate::{BeforeAfter, Error, Input, Job, Output, Result};

/// What becomes of files.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileOptions {
    /// Quality of JPEG results, `1..=100`; `None` is the source's, though at least 75, or else 92.
    pub quality: Option<u8>,
    /// Bits of a sample; `None` is the source's, as far as the format can.
    pub depth: Option<Depth>,
    /// Which metadata are left out.
    pub strip: Strip,
    /// Whether results that exist are replaced.
    pub overwrite: bool,
    /// What reading one picture may cost.
    pub limits: Limits,
    /// Whether, and how, input and result are shown together beside the result.
    pub before_after: Option<BeforeAfter>,
    /// Whether the result is compared with its input: the number goes into the recipe, a heat map beside the result.
    pub consistency: bool,
    /// Fails a picture whose worst region drifts further than this from its input, `0..=1`; see [`Drift`](crate::Drift).
    pub max_drift: Option<f64>,
}

/// A result that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// What the format could not hold.
    pub notices: Vec<Notice>,
    /// BLAKE3 of the file's content, in hexadecimal.
    pub blake3: String,
}

impl FileOptions {
    /// Checks what can be checked without a picture.
    ///
    /// # Errors
    /// An argument error for a quality outside `1..=100` or a drift outside `0..=1`.
    pub fn validate(&self) -> Result<()> {
        if let Some(quality) = self.quality
            && !(1..=100).contains(&quality)
        {
            return Err(Error::argument(format!("the quality must be from 1 to 100, not {quality}")));
        }
        if let Some(drift) = self.max_drift
            && !(0.0..=1.0).contains(&drift)
        {
            return Err(Error::argument(format!("the largest drift must be from 0 to 1, not {drift}")));
        }
        Ok(())
    }
}

impl Job {
    /// Refuses a result that exists already, before any work is done for it.
    ///
    /// # Errors
    /// An argument error, unless `options` allow to replace it.
    pub fn check_output(&self, options: &FileOptions) -> Result<()> {
        match &self.output {
            Output::File(path) => refuse_existing(path, options),
            Output::Stdout => Ok(()),
        }
    }

    /// BLAKE3 of the input's content, in hexadecimal; none for a stream, which can be read but once.
    ///
    /// # Errors
    /// An input error where it cannot be read.
    pub(crate) fn hash_input(&self) -> Result<Option<String>> {
        let Some(path) = self.input.path() else { return Ok(None) };
        let failed = |error: io::Error| {
            let error = Error::io(error, path);
            Error::input(error.message().to_owned()).with_source(error).with_path(path)
        };
        hash(open_file(path)?).map(Some).map_err(failed)
    }

    /// Reads the input's bytes.
    ///
    /// # Errors
    /// An error that names the file: it is missing, cannot be read or is over the limits.
    pub(crate) fn load(&self, limits: &Limits) -> Result<Vec<u8>> {
        match &self.input {
            Input::Stdin => read_stream(io::stdin().lock(), limits).map_err(|error| error.with_path("-")),
            Input::File(path) => Ok(read_file(path, limits)?),
        }
    }

    /// Decodes the input's bytes.
    ///
    /// # Errors
    /// An error that names the file: it is damaged, no picture, not supported or over the limits.
    pub(crate) fn decode(&self, bytes: &[u8], limits: &Limits) -> Result<Picture> {
        decode(bytes, limits).map_err(|error| Error::from(error).with_path(self.input.to_string()))
    }

    /// Reads and decodes the input.
    ///
    /// # Errors
    /// An error that names the file: it is missing, damaged, no picture, not supported or over the limits.
    pub fn read(&self, options: &FileOptions) -> Result<Picture> {
        self.decode(&self.load(&options.limits)?, &options.limits)
    }

    /// Makes the folder of the result where it is missing.
    pub(crate) fn make_folder(&self) -> Result<()> {
        match &self.output {
            Output::File(path) => match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => {
                    fs::create_dir_all(folder).map_err(|error| Error::io(error, folder))
                }
                _ => Ok(()),
            },
            Output::Stdout => Ok(()),
        }
    }

    /// Encodes `picture` and writes it: a file appears whole or not at all, in a folder that is created where its
    /// parent exists or the batch mirrors a tree.
    ///
    /// # Errors
    /// An error that names the file: the format cannot hold the picture, or writing failed.
    pub fn write(&self, picture: &Picture, options: &FileOptions) -> Result<Written> {
        self.check_output(options)?;
        let FileOptions { quality, depth, strip, .. } = *options;
        let encoded = encode(picture, &EncodeOptions { format: self.format, quality, depth, strip })
            .map_err(|error| Error::from(error).with_path(self.output.to_string()))?;
        match &self.output {
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout
                    .write_all(&encoded.bytes)
                    .and_then(|()| stdout.flush())
                    .map_err(|error| Error::io(error, "-"))?;
            }
            Output::File(path) => {
                self.make_folder()?;
                let inputs: Vec<&Path> = self.input.path().into_iter().collect();
                write_atomic(path, &encoded.bytes, &inputs)?;
            }
        }
        let blake3 = blake3::Hasher::new().update_rayon(&encoded.bytes).finalize().to_string();
        Ok(Written { notices: encoded.notices, blake3 })
    }
}

fn refuse_existing(path: &Path, options: &FileOptions) -> Result<()> {
    if options.overwrite || path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Error::argument("the result exists already").with_hint("`--overwrite` replaces it").with_path(path))
}

/// Writes a file beside the result of `job`, under the result's name with another ending.
pub(crate) fn write_beside(job: &Job, ending: &str, bytes: &[u8], options: &FileOptions) -> Result<()> {
    let Output::File(result) = &job.output else {
        return Err(Error::argument("nothing can be written beside standard output")
            .with_hint("give a file or a folder with `-o`"));
    };
    let path = result.with_extension(ending);
    refuse_existing(&path, options)?;
    let inputs: Vec<&Path> = job.input.path().into_iter().collect();
    Ok(write_atomic(&path, bytes, &inputs)?)
}

/// BLAKE3 of all that is read, in hexadecimal.
pub(crate) fn hash(content: impl Read) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(content)?;
    Ok(hasher.finalize().to_string())
}

/// The whole of a stream, at most as long as the byte limit.
fn read_stream(stream: impl Read, limits: &Limits) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = limits.max_bytes;
    let read = stream.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| Error::new(crate::ErrorKind::Io, error.to_string()).with_source(error))?;
    if bytes.len() as u64 > most {
        return Err(Error::limit(format!("more than the limit of {}", crate::format_bytes(most))));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use gendr_image::{OutputFormat, Planes};

    use super::*;
    use crate::ErrorKind;

    fn job(folder: &Path) -> Job {
        Job {
            input: Input::File(folder.join("in.png")),
            output: Output::File(folder.join("sub/out.png")),
            format: OutputFormat::Png,
            root: None,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let picture = Picture::from_color(Planes::filled(3, 5, 7, 1.0));
        let job = job(folder.path());
        job.write(&picture, &FileOptions::default()).unwrap();
        let back = Job { input: Input::File(folder.path().join("sub/out.png")), ..job };
        assert_eq!(back.read(&FileOptions::default()).unwrap().color, picture.color);
    }

    #[test]
    fn a_result_is_replaced_only_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let picture = Picture::from_color(Planes::filled(3, 2, 2, 0.5));
        let (job, mut options) = (job(folder.path()), FileOptions::default());
        job.write(&picture, &options).unwrap();
        let error = job.write(&picture, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
        assert!(error.hint().is_some());
        options.overwrite = true;
        job.write(&picture, &options).unwrap();
    }

    #[test]
    fn a_missing_file_is_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let error = job(folder.path()).read(&FileOptions::default()).unwrap_err();
        let name: PathBuf = folder.path().join("in.png");
        assert_eq!(error.to_string(), format!("no such file: {}", name.display()));
    }

    #[test]
    fn a_stream_stops_at_the_limit() {
        let limits = Limits { max_bytes: 10, ..Limits::default() };
        assert_eq!(read_stream(&[0u8; 10][..], &limits).unwrap().len(), 10);
        assert_eq!(read_stream(io::repeat(0), &limits).unwrap_err().kind(), ErrorKind::Limit);
    }
}
