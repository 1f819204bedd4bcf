//! The pictures in a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Naming, Patterns};
use crate::{Error, Result};

/// Extensions of the formats that are read.
const EXTENSIONS: [&str; 19] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "webp", "tif", "tiff", "bmp", "gif", "pbm", "pgm", "ppm", "pnm",
    "pam", "qoi", "tga", "jxl", "avif",
];

/// Paths, relative to `folder` and sorted, of all files whose extension says a picture; hidden ones are passed over.
/// Folders inside are entered where `naming` says so, except symbolic links (they may lead round in circles) and
/// `results`, the folder where results go.
pub(super) fn pictures(folder: &Path, naming: &Naming, results: Option<&Path>) -> Result<Vec<PathBuf>> {
    let results = results.and_then(|results| results.canonicalize().ok());
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(inside) = pending.pop() {
        for name in sorted_names(&folder.join(&inside))? {
            let inside = inside.join(name);
            let path = folder.join(&inside);
            if path.is_file() {
                found.extend((is_picture(&path) && naming.patterns.take(&inside)).then_some(inside));
            } else if naming.recursive
                && is_real_folder(&path)
                && path.canonicalize().ok() != results
                && !naming.patterns.pass_over(&inside)
            {
                pending.push(inside);
            }
        }
    }
    if found.is_empty() {
        let error = Error::input("no pictures in this folder").with_path(folder);
        return Err(if naming.patterns != Patterns::default() {
            error.with_hint("`--include` and `--exclude` leave none")
        } else if naming.recursive {
            error
        } else {
            error.with_hint("`--recursive` enters the folders inside it")
        });
    }
    found.sort();
    Ok(found)
}

fn sorted_names(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |error| Error::io(error, folder);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if !name.to_string_lossy().starts_with('.') {
            names.push(PathBuf::from(name));
        }
    }
    names.sort();
    Ok(names)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    EXTENSIONS.contains(&extension.as_str())
}

fn is_real_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}
