//! Pictures in and out of files and streams.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
};

use gendr_image::{
    Depth, EncodeOptions, Limits, Notice, Picture, Strip, decode, encode, read_file, write_atomic,
};

use crate::{CancelFlag, Error, Input, Job, Observer, Output, RestoreOptions, Restored, Restorer, Result};

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
}

impl FileOptions {
    /// Checks what can be checked without a picture.
    ///
    /// # Errors
    /// An argument error for a quality outside `1..=100`.
    pub fn validate(&self) -> Result<()> {
        match self.quality {
            Some(quality) if !(1..=100).contains(&quality) => {
                Err(Error::argument(format!("the quality must be from 1 to 100, not {quality}")))
            }
            _ => Ok(()),
        }
    }
}

impl Job {
    /// Refuses a result that exists already, before any work is done for it.
    ///
    /// # Errors
    /// An argument error, unless `options` allow to replace it.
    pub fn check_output(&self, options: &FileOptions) -> Result<()> {
        match &self.output {
            Output::File(path) if !options.overwrite && path.symlink_metadata().is_ok() => {
                Err(Error::argument("the result exists already")
                    .with_hint("`--overwrite` replaces it")
                    .with_path(path))
            }
            _ => Ok(()),
        }
    }

    /// Reads and decodes the input.
    ///
    /// # Errors
    /// An error that names the file: it is missing, damaged, no picture, not supported or over the limits.
    pub fn read(&self, options: &FileOptions) -> Result<Picture> {
        let limits = &options.limits;
        match &self.input {
            Input::Stdin => {
                let bytes = read_stream(io::stdin().lock(), limits).map_err(|error| error.with_path("-"))?;
                decode(&bytes, limits).map_err(|error| Error::from(error).with_path("-"))
            }
            Input::File(path) => {
                let bytes = read_file(path, limits)?;
                decode(&bytes, limits).map_err(|error| Error::from(error).with_path(path))
            }
        }
    }

    /// Encodes `picture` and writes it: a file appears whole or not at all, in a folder that is created where its
    /// parent exists or the batch mirrors a tree. Tells what the format could not hold.
    ///
    /// # Errors
    /// An error that names the file: the format cannot hold the picture, or writing failed.
    pub fn write(&self, picture: &Picture, options: &FileOptions) -> Result<Vec<Notice>> {
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
                create_folder_of(path)?;
                let inputs: Vec<&Path> = self.input.path().into_iter().collect();
                write_atomic(path, &encoded.bytes, &inputs)?;
            }
        }
        Ok(encoded.notices)
    }
}

impl Restorer {
    /// Restores one picture from file to file (or stream): [`Job::read`], [`Restorer::restore`], [`Job::write`].
    ///
    /// # Errors
    /// Theirs, all naming the file; a result that exists is refused before anything is read.
    pub fn restore_file(
        &self,
        job: &Job,
        options: &RestoreOptions,
        files: &FileOptions,
        observer: &dyn Observer,
        cancel: &CancelFlag,
    ) -> Result<Restored> {
        job.check_output(files)?;
        let picture = job.read(files)?;
        let mut restored = self
            .restore(&picture, options, observer, cancel)
            .map_err(|error| error.with_path(job.input.to_string()))?;
        restored.notices.extend(job.write(&restored.picture, files)?);
        Ok(restored)
    }
}

fn create_folder_of(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            fs::create_dir_all(folder).map_err(|error| Error::io(error, folder))
        }
        _ => Ok(()),
    }
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
