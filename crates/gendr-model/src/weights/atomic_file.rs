//! A file that appears whole or not at all.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// Writes to `.NAME.gendr-tmp` beside the target; [`AtomicFile::commit`] gives it its name, dropping it removes it.
pub(crate) struct AtomicFile {
    writer: BufWriter<File>,
    temporary: Temporary,
    target: PathBuf,
}

impl AtomicFile {
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let temporary = Temporary(temporary_path(target)?);
        let file = File::create(&temporary.0).map_err(|error| Error::cannot("create", target, error))?;
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, file), temporary, target: target.to_owned() })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(|error| Error::cannot("write", &self.target, error))
    }

    /// Flushes to the disk, then renames.
    pub(crate) fn commit(self) -> Result<()> {
        let Self { writer, temporary, target } = self;
        let finish = || {
            let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            file.sync_all()?;
            drop(file);
            fs::rename(&temporary.0, &target)
        };
        finish().map_err(|error| Error::cannot("write", &target, error))
    }
}

/// Where something that will be called `target` is made.
pub(crate) fn temporary_path(target: &Path) -> Result<PathBuf> {
    let name = target
        .file_name()
        .ok_or_else(|| Error::argument("a file cannot be called that").in_file(target))?
        .to_string_lossy();
    Ok(target.with_file_name(format!(".{name}.gendr-tmp")))
}

/// Removes what is left at its path: after a rename that is nothing.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing can be done about a file that will not go.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        let mut file = AtomicFile::create(&target).unwrap();
        file.write(b"half").unwrap();
        assert_eq!(names(folder.path()), [".a.bin.gendr-tmp"]);
        drop(file);
        assert!(names(folder.path()).is_empty());

        let mut file = AtomicFile::create(&target).unwrap();
        file.write(b"whole").unwrap();
        file.commit().unwrap();
        assert_eq!(names(folder.path()), ["a.bin"]);
        assert_eq!(fs::read(&target).unwrap(), b"whole");
    }

    #[test]
    fn names_the_file_it_cannot_make() {
        let error = AtomicFile::create(Path::new("no/such/folder/a.bin")).map(drop).unwrap_err();
        assert!(error.to_string().ends_with("no/such/folder/a.bin"), "{error}");
    }
}
