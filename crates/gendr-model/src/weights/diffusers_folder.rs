//! The weight files of one network as diffusers lays them out: one file, or shards with an index.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use gendr_weights::{StoredTensor, shown};
use serde::Deserialize;

use crate::error::{Error, Result};

/// Longest index read.
const MAX_INDEX: u64 = 8 << 20;

/// The names a network's weights may have, the best first. `{}` is the stem.
const NAMES: [&str; 8] = [
    "{}.safetensors",
    "{}.safetensors.index.json",
    "{}.fp16.safetensors",
    "{}.safetensors.index.fp16.json",
    "{}.fp16.safetensors.index.json",
    "{}.bin",
    "{}.bin.index.json",
    "{}.fp16.bin",
];

/// The file or index of a network in `folder`: `STEM.safetensors` and the other names diffusers uses.
///
/// # Errors
/// [`ErrorKind::Input`](crate::ErrorKind::Input) when there is none.
pub(crate) fn weight_file(folder: &Path, stem: &str) -> Result<PathBuf> {
    NAMES
        .iter()
        .map(|name| folder.join(name.replace("{}", stem)))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::input(format!("no {stem}.safetensors in the folder")).in_file(folder))
}

#[derive(Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// All tensors of the shards that the index at `path` names.
pub(super) fn open_shards(path: &Path) -> Result<BTreeMap<String, StoredTensor>> {
    let index: Index = read_json(path, MAX_INDEX)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut tensors = BTreeMap::new();
    let files: BTreeSet<_> = index.weight_map.values().collect();
    let shard = |file: &String| shard_path(folder, file).map_err(|error| error.in_file(path));
    let shards = files.iter().map(|file| Ok((*file, gendr_weights::open(&shard(file)?)?)));
    // All are opened first: a shard that is not there explains the tensors that are missing from the others.
    for (file, found) in shards.collect::<Result<Vec<_>>>()? {
        for (name, tensor) in found {
            if index.weight_map.get(&name) != Some(file) {
                let name = shown(&name);
                return Err(Error::input(format!("tensor {name} is not where the index says"))
                    .in_file(&folder.join(file)));
            }
            tensors.insert(name, tensor);
        }
    }
    match index.weight_map.keys().find(|name| !tensors.contains_key(*name)) {
        None => Ok(tensors),
        Some(name) => {
            Err(Error::input(format!("tensor {} is in none of the shards", shown(name))).in_file(path))
        }
    }
}

/// A shard lies beside its index: an index from outside must not make us open other files.
fn shard_path(folder: &Path, file: &str) -> Result<PathBuf> {
    let mut parts = Path::new(file).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) => Ok(folder.join(name)),
        _ => Err(Error::input(format!("shard {} is not in the folder of its index", shown(file)))),
    }
}

/// Reads a small JSON file of at most `limit` bytes.
pub(crate) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path, limit: u64) -> Result<T> {
    let cannot = |error| Error::cannot("read", path, error);
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Error::input("not a plain file").in_file(path));
    }
    if metadata.len() > limit {
        return Err(Error::limit(format!("JSON file of {} bytes, at most {limit} are read", metadata.len()))
            .in_file(path));
    }
    let text = fs::read(path).map_err(cannot)?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::input(shown(&error.to_string())).with_source(error).in_file(path))
}
