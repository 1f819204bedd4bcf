//! Tensors in files: safetensors and what `torch.save` writes, in; nothing is ever executed.
//!
//! A file is mapped, checked and handed out as [`StoredTensor`]s by name, whose values stay in the file until
//! somebody asks for them. What networks make of them is not this crate's business: it knows no tensor library.

mod error;
mod pickle;
mod safetensors;
mod stored_tensor;
mod torch_file;
mod zip_archive;

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;

pub use error::{Error, ErrorKind, Result};
pub use safetensors::{METADATA_KEY, Safetensors, values_of_file};
pub use stored_tensor::{ElementType, StoredTensor, Values, byte_count, shown};

/// Tensors by name.
pub type StoredTensors = BTreeMap<String, StoredTensor>;

/// Endings of the files that `torch.save` writes.
const TORCH_ENDINGS: [&str; 5] = ["pth", "pt", "bin", "pkl", "ckpt"];

/// Where training code keeps the tensors inside its checkpoints; an average comes before what it averages.
const CHECKPOINT_PARTS: [&str; 4] = ["params_ema.", "params.", "state_dict.", "model."];

/// The tensors of one weight file, whose kind its ending tells: `.safetensors`, `.pth`, `.pt`, `.bin`, `.pkl` or `.ckpt`.
/// In torch files, tensors inside dictionaries and lists get the keys and positions on the way as their name, joined by
/// dots: `params_ema.conv_first.weight`.
///
/// # Errors
/// [`ErrorKind::Io`] when the file cannot be mapped, [`ErrorKind::Input`] when it is damaged or asks for a callable that
/// is no part of a weight file, [`ErrorKind::Limit`] when its header or pickle is too large, [`ErrorKind::Unsupported`]
/// for other files and element types. The message ends with the path.
pub fn open(path: &Path) -> Result<StoredTensors> {
    if is_torch_file(path) {
        return torch_file::open(path);
    }
    if path.extension().is_some_and(|ending| ending == "safetensors") {
        return Ok(Safetensors::open(path)?.into_tensors());
    }
    Err(Error::unsupported("no weight file by its ending").in_file(path).with_hint(
        "weights are read from .safetensors, .safetensors.index.json, .pth, .pt, .bin, .pkl and .ckpt",
    ))
}

/// As [`open`]; of a torch checkpoint that keeps its network under `params_ema`, `params`, `state_dict` or `model`, that
/// network alone.
///
/// # Errors
/// As [`open`].
pub fn open_network(path: &Path) -> Result<StoredTensors> {
    let tensors = open(path)?;
    Ok(if is_torch_file(path) { network_of(tensors) } else { tensors })
}

/// Reads the network in the bytes of a torch file, as [`open_network`] does a file's.
///
/// # Errors
/// As [`open`], without a path.
pub fn parse_torch_network(file: &Bytes) -> Result<StoredTensors> {
    Ok(network_of(torch_file::parse(file)?))
}

/// Whether the file's name ends as those of `torch.save` do.
pub fn is_torch_file(path: &Path) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| TORCH_ENDINGS.contains(&ending))
}

fn network_of(tensors: StoredTensors) -> StoredTensors {
    CHECKPOINT_PARTS
        .iter()
        .map(|part| without_prefix(&tensors, part))
        .find(|network| !network.is_empty())
        .unwrap_or(tensors)
}

/// What is named with `prefix`, by the rest of its name.
pub fn without_prefix<T: Clone>(named: &BTreeMap<String, T>, prefix: &str) -> BTreeMap<String, T> {
    named
        .range(prefix.to_owned()..)
        .map_while(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone())))
        .collect()
}
