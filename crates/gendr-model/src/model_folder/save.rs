//! Writing models: a folder or a single file, whole or not at all.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;
use gendr_kernels::MappedFile;
use serde::Serialize;

use super::{
    DESCRIPTION, Description, StoredModel,
    layout::{self, Part},
};
use crate::{
    error::{Error, Result},
    weights::{Precision, SafetensorsWriter, temporary_path, values_hash},
};

/// The key of a single file's hash: of its values, the header left out.
pub(super) const VALUES: &str = "tensors";

/// Gives the values of a tensor by its name in a single file.
pub(super) type Values<'a> = &'a dyn Fn(&str, &[usize]) -> Result<TensorData>;

impl StoredModel {
    /// Writes the model to `target`: a single file where the name ends in `.safetensors`, else a folder. LoRAs are
    /// merged; one tensor at a time is in memory. `gendr.json` gets the BLAKE3 of what is written.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`](crate::ErrorKind::Argument) when the folder is there already and not empty,
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when tensors do not fit the networks or are not finite,
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) when values do not fit f16, [`ErrorKind::Io`](crate::ErrorKind::Io)
    /// when writing fails. Nothing is left behind then.
    pub fn save(&self, target: &Path, precision: Precision) -> Result<()> {
        self.check()?;
        let parts = layout::parts(&self.description, &self.weights)?;
        let values = |name: &str, shape: &[usize]| self.weights.shaped_values(name, shape);
        save(&self.description, &parts, &values, target, precision)
    }
}

/// Writes the tensors of `parts` in the form that the name of `target` asks for.
pub(super) fn save(
    description: &Description,
    parts: &[Part],
    values: Values<'_>,
    target: &Path,
    precision: Precision,
) -> Result<()> {
    if target.extension().is_some_and(|ending| ending == "safetensors") {
        return save_file(description, parts, values, target, precision);
    }
    if gendr_weights::is_torch_file(target) {
        return Err(Error::unsupported("models are written as safetensors alone")
            .in_file(target)
            .with_hint("give a folder, or a name that ends in .safetensors"));
    }
    save_folder(description, parts, values, target, precision)
}

fn save_file(
    description: &Description,
    parts: &[Part],
    values: Values<'_>,
    target: &Path,
    precision: Precision,
) -> Result<()> {
    let named = |part: &Part| {
        let prefix = part.prefix;
        part.tensors.clone().into_iter().map(move |(name, shape)| (format!("{prefix}{name}"), shape))
    };
    let tensors: Vec<_> = parts.iter().flat_map(named).collect();
    // The header comes first and holds the hash, so the values are made twice rather than kept.
    let hash = values_hash(precision, &tensors, values)?;
    let blake3 = BTreeMap::from([(VALUES.to_owned(), hash)]);
    let description = Description { blake3, ..description.clone() };
    let metadata = BTreeMap::from([(DESCRIPTION.to_owned(), description.to_json()?)]);
    write_tensors(target, precision, &tensors, &metadata, values)
}

fn save_folder(
    description: &Description,
    parts: &[Part],
    values: Values<'_>,
    target: &Path,
    precision: Precision,
) -> Result<()> {
    let folder = NewFolder::create(target)?;
    let mut blake3 = BTreeMap::new();
    let mut hashed = |file: String| -> Result<()> {
        let hash = file_hash(&folder.path(&file))?;
        blake3.insert(file, hash);
        Ok(())
    };
    for part in parts {
        let path = folder.path(part.file());
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.map_err(|error| Error::cannot("create", target, error))?;
        let prefixed = |name: &str, shape: &[usize]| values(&format!("{}{name}", part.prefix), shape);
        write_tensors(&path, precision, &part.tensors, &BTreeMap::new(), &prefixed)?;
        hashed(part.file().to_owned())?;
    }
    if let Some(config) = &description.unet {
        write_json(&folder.path("unet/config.json"), config)?;
        hashed("unet/config.json".to_owned())?;
    }
    if let Some(config) = &description.vae {
        write_json(&folder.path("vae/config.json"), config)?;
        hashed("vae/config.json".to_owned())?;
    }
    let description = Description { blake3, unet: None, vae: None, ..description.clone() };
    write_json(&folder.path(DESCRIPTION), &description)?;
    folder.commit()
}

fn write_tensors(
    path: &Path,
    precision: Precision,
    tensors: &[(String, Vec<usize>)],
    metadata: &BTreeMap<String, String>,
    values: Values<'_>,
) -> Result<()> {
    let mut writer = SafetensorsWriter::create(path, precision, tensors.to_owned(), metadata)?;
    for (name, shape) in tensors {
        writer.write(name, values(name, shape)?)?;
    }
    writer.finish()
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::argument("a configuration that cannot be written").with_source(error))?;
    fs::write(path, text + "\n").map_err(|error| Error::cannot("write", path, error))
}

/// BLAKE3 of a whole file, in hexadecimal.
pub(super) fn file_hash(path: &Path) -> Result<String> {
    let file = MappedFile::open(path).map_err(|error| Error::cannot("open", path, error))?;
    Ok(blake3::Hasher::new().update_rayon(file.as_ref()).finalize().to_string())
}

/// A folder that appears with everything in it, or not at all.
struct NewFolder<'a> {
    temporary: PathBuf,
    target: &'a Path,
}

impl<'a> NewFolder<'a> {
    fn create(target: &'a Path) -> Result<Self> {
        let empty = match fs::read_dir(target) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if !empty {
            return Err(Error::argument("the model's folder is there already").in_file(target));
        }
        let temporary = temporary_path(target)?;
        let cannot = |error| Error::cannot("create", target, error);
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(cannot)?;
        }
        fs::create_dir(&temporary).map_err(cannot)?;
        Ok(Self { temporary, target })
    }

    fn path(&self, file: &str) -> PathBuf {
        self.temporary.join(file)
    }

    fn commit(self) -> Result<()> {
        fs::rename(&self.temporary, self.target).map_err(|error| Error::cannot("write", self.target, error))
    }
}

impl Drop for NewFolder<'_> {
    fn drop(&mut self) {
        // After the rename nothing is there; nothing can be done about a folder that will not go.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}
