//! Temporary files of runs that were killed.

use std::{
    fs::{self, File},
    path::Path,
};

use crate::{Error, Result};

/// Removes the temporary files in `folder` and the folders inside it that no process holds.
///
/// # Errors
/// An I/O error where a folder cannot be listed or a file cannot be removed.
pub(super) fn remove(folder: &Path) -> Result<()> {
    let io = |error| Error::io(error, folder);
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(io)?);
        if kind.is_dir() {
            remove(&path)?;
        } else if kind.is_file() && is_temporary(&path) && is_abandoned(&path) {
            fs::remove_file(&path).map_err(|error| Error::io(error, &path))?;
        }
    }
    Ok(())
}

/// `.NAME.gendr-tmp`, as results are called before they are whole.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(b".gendr-tmp")
}

/// The lock of a killed process is gone.
fn is_abandoned(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use gendr_image::AtomicFile;

    use super::*;

    #[test]
    fn only_abandoned_temporary_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name);
        fs::create_dir(inside("sub")).unwrap();
        for name in [".a.png.gendr-tmp", "sub/.b.png.gendr-tmp", "c.gendr-tmp", ".d.png", "e.png"] {
            fs::write(inside(name), "x").unwrap();
        }
        let held = AtomicFile::create(&inside("sub/f.png"), &[]).unwrap();
        remove(folder.path()).unwrap();
        let there = [
            ".a.png.gendr-tmp",
            "sub/.b.png.gendr-tmp",
            "c.gendr-tmp",
            ".d.png",
            "e.png",
            "sub/.f.png.gendr-tmp",
        ]
        .map(|name| inside(name).exists());
        assert_eq!(there, [false, false, true, true, true, true]);
        drop(held);
    }
}
