//! Files that appear whole or not at all.

use crate::{Error, ErrorKind, Result};
use std::{fs, io::Write, path::Path};

/// Writes `bytes` to a temporary file beside `path`, makes it durable and puts it in place.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.gendr-tmp"));
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&temporary, path)).map_err(|error| {
        // What is left of it is useless; that it may not be removable changes nothing.
        let _ = fs::remove_file(&temporary);
        with_path("cannot write", path, error)
    })
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| with_path("cannot read", path, error))
}

/// Creates a folder and its parents.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| with_path("cannot create", path, error))
}

pub(crate) fn with_path(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{what}, {error}: {}", path.display())).with_source(error)
}
