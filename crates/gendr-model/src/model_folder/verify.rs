//! Is a model what it was when it was written?

use std::path::{Component, Path};

use super::{
    StoredModel,
    layout::{self, Part},
    save::{VALUES, file_hash},
};
use crate::error::{Error, Result};

/// What a verification looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Files (or, in a single file, one set of values) whose BLAKE3 is stored and right. 0: the model stores none.
    pub hashes: usize,
    /// Tensors that are there, fit their networks and are finite.
    pub tensors: usize,
}

/// Reads the whole model at `path`: stored hashes, names, shapes, and every value.
///
/// # Errors
/// As [`StoredModel::open`], and [`ErrorKind::Input`](crate::ErrorKind::Input) for the first file whose hash is wrong,
/// tensor that does not fit or value that is not finite.
pub fn verify_model(path: &Path) -> Result<Verified> {
    let model = StoredModel::open(path)?;
    for (name, expected) in &model.description().blake3 {
        let (found, file) = if path.is_dir() {
            let file = path.join(inside(name).map_err(|error| error.in_file(path))?);
            (file_hash(&file)?, file)
        } else if name == VALUES {
            (stored_hash(path)?, path.to_owned())
        } else {
            return Err(Error::input(format!(
                "hash of {}, which a single file has not",
                name.escape_debug()
            ))
            .in_file(path));
        };
        if !found.eq_ignore_ascii_case(expected) {
            let expected = expected.escape_debug();
            return Err(Error::input(format!("BLAKE3 is {found}, gendr.json says {expected}")).in_file(&file));
        }
    }
    let tensors = model.check_values()?;
    Ok(Verified { hashes: model.description().blake3.len(), tensors })
}

/// BLAKE3 of the values of the file at `path`, its header left out, in hexadecimal.
fn stored_hash(path: &Path) -> Result<String> {
    let values = gendr_weights::values_of_file(path)?;
    Ok(blake3::Hasher::new().update_rayon(&values).finalize().to_string())
}

/// A name of a file inside the model's folder.
fn inside(name: &str) -> Result<&Path> {
    let path = Path::new(name);
    if name.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::input(format!("hash of {}, which is not in the folder", name.escape_debug())));
    }
    Ok(path)
}

impl StoredModel {
    /// Reads every value that the networks use; the number of tensors.
    ///
    /// # Errors
    /// As [`StoredModel::load`], without needing a prompt.
    pub fn check_values(&self) -> Result<usize> {
        self.check()?;
        let parts: Vec<Part> = layout::parts(self.description(), self.weights())?;
        let names = parts
            .iter()
            .flat_map(|part| part.tensors.iter().map(|(name, _)| format!("{}{name}", part.prefix)));
        let mut count = 0;
        for name in names {
            self.weights().values(&name)?;
            count += 1;
        }
        Ok(count)
    }
}
