//! Reading whole files, and writing files that appear whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{Error, ErrorKind, Limits, Picture, Result, decode};

/// Opens a file for reading.
///
/// # Errors
/// An input error where it cannot be opened or is a folder, a pipe or a device; the message ends with the path.
pub fn open_file(path: &Path) -> Result<File> {
    let failed = |error| unreadable(error, path);
    let about = fs::metadata(path).map_err(failed)?;
    if about.is_dir() {
        return Err(Error::input("a folder, not a file").at(path));
    }
    // Opening a pipe may wait for ever, and reading a device may never end.
    if !about.is_file() {
        return Err(Error::input("a pipe or a device, not a file")
            .with_hint("save its content as a file, or let `gendr restore -` read it as standard input")
            .at(path));
    }
    File::open(path).map_err(failed)
}

/// Reads a file that is no larger than the byte limit.
///
/// # Errors
/// Those of [`open_file`], an input error where it cannot be read, a limit error where it is too large; the message ends
/// with the path.
pub fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let failed = |error| unreadable(error, path);
    let mut file = open_file(path)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > limits.max_bytes {
        let (size, most) = (length >> 20, limits.max_bytes >> 20);
        return Err(Error::limit(format!("a file of {size} MiB, over the limit of {most}")).at(path));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Why a file cannot be read.
fn unreadable(error: io::Error, path: &Path) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission to read".to_owned(),
        _ => error.to_string(),
    };
    Error::input(reason).with_source(error).at(path)
}

/// Reads and decodes a file.
///
/// # Errors
/// Those of [`read_file`] and [`decode`]; the message ends with the path.
pub fn read(path: &Path, limits: &Limits) -> Result<Picture> {
    decode(&read_file(path, limits)?, limits).map_err(|error| error.at(path))
}

/// Writes a whole file by way of [`AtomicFile`].
///
/// # Errors
/// Those of [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write_atomic(path: &Path, bytes: &[u8], inputs: &[&Path]) -> Result<()> {
    let mut file = AtomicFile::create(path, inputs)?;
    file.write_all(bytes).map_err(|error| Error::from(error).at(path))?;
    file.commit()
}

/// A file that appears under its name when it is whole and synced, and not before.
///
/// Until then it is `.NAME.gendr-tmp` in the same folder, locked; dropping it removes that.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
    /// None once committed.
    file: Option<File>,
}

impl AtomicFile {
    /// Begins a file at `path`, which must not be one of `inputs` under any name.
    ///
    /// # Errors
    /// An argument error where `path` is an input, a folder or has no file name; an I/O error where the folder is missing
    /// or cannot be written to; a resource error where the disk is full or another process is writing the same file.
    pub fn create(path: &Path, inputs: &[&Path]) -> Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(Error::argument("the output has no file name").at(path));
        };
        if path.is_dir() {
            return Err(Error::argument("the output is a folder").at(path));
        }
        if inputs.iter().any(|input| is_same_file(path, input)) {
            return Err(Error::argument("the output is the input").with_hint("choose another name").at(path));
        }
        let temporary = path.with_file_name(temporary_name(name));
        let file = open_locked(&temporary).map_err(|error| explain(error, path))?;
        let result = Self { path: path.to_owned(), temporary, file: Some(file) };
        result.file()?.set_len(0).map_err(|error| explain(error, path))?;
        Ok(result)
    }

    /// A second handle to the file, for writers that want to own one.
    ///
    /// # Errors
    /// A resource or I/O error where the system has no handles left.
    pub fn handle(&self) -> Result<File> {
        self.file()?.try_clone().map_err(|error| explain(error, &self.path))
    }

    /// Syncs the file and gives it its name.
    ///
    /// # Errors
    /// A resource error where the disk is full, else an I/O error; nothing is left behind then.
    pub fn commit(mut self) -> Result<()> {
        self.file()?.sync_all().map_err(|error| explain(error, &self.path))?;
        fs::rename(&self.temporary, &self.path).map_err(|error| explain(error, &self.path))?;
        self.file = None;
        // The name itself survives a power cut only once the folder is synced; not every system can.
        if let Some(folder) = self.path.parent().map(folder_or_current)
            && let Ok(folder) = File::open(folder)
        {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    fn file(&self) -> Result<&File> {
        self.file.as_ref().ok_or_else(|| Error::argument("the file is closed"))
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.seek(position)
    }
}

/// The name under which a file is written before it is whole.
fn temporary_name(name: &std::ffi::OsStr) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".gendr-tmp");
    temporary
}

/// Whether two paths lead to one file that exists.
fn is_same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |path: &Path| fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
        identity(a).is_some_and(|a| Some(a) == identity(b))
    }
    #[cfg(not(unix))]
    {
        fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b))
    }
}

/// Opens the temporary file and locks it. One left by a killed process has no lock any more and is used again; one that
/// its owner renamed between opening and locking is not, as its lock lies on a finished file.
fn open_locked(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
            // A file system without locks: go on without.
            Err(TryLockError::Error(_)) => return Ok(file),
        }
        if is_still_at(&file, path) {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |about: fs::Metadata| (about.dev(), about.ino());
    file.metadata().is_ok_and(|mine| fs::metadata(path).is_ok_and(|there| identity(mine) == identity(there)))
}

#[cfg(not(unix))]
fn is_still_at(_: &File, path: &Path) -> bool {
    path.exists()
}

fn folder_or_current(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

fn explain(error: io::Error, path: &Path) -> Error {
    let folder_missing = path.parent().map(folder_or_current).is_some_and(|folder| !folder.is_dir());
    let (kind, reason) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if folder_missing => {
            (ErrorKind::Io, "the output folder does not exist")
        }
        io::ErrorKind::PermissionDenied => (ErrorKind::Io, "no permission to write in the output folder"),
        io::ErrorKind::ReadOnlyFilesystem => (ErrorKind::Io, "the output folder is read-only"),
        io::ErrorKind::ResourceBusy => (ErrorKind::Resource, "another process is writing this file"),
        _ => return Error::from(error).at(path),
    };
    Error::new(kind, reason).with_source(error).at(path)
}
