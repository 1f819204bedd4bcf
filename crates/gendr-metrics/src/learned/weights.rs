//! Tensors for the networks of metrics, from weight files of any kind.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use gendr_image::{Error, ErrorKind, Result};
use gendr_weights::{ElementType, Safetensors, StoredTensors, shown};

/// Endings of weight files, the best first.
const ENDINGS: [&str; 5] = ["safetensors", "pth", "pt", "bin", "ckpt"];

/// What data-parallel training puts before every name.
const PARALLEL: &str = "module.";

/// A tensor in single precision.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f32>,
}

/// Tensors by name, whose values stay in their files until a network asks for them.
#[derive(Clone, Debug, Default)]
pub struct Weights(StoredTensors);

impl Weights {
    /// Reads from `folder` one file for each of `wanted`, the first of its names that is there, with any ending of weight
    /// files: safetensors or what `torch.save` writes. Nothing in a file is executed.
    ///
    /// # Errors
    /// An input error where none is there or one is damaged.
    pub fn open(folder: &Path, wanted: &[&[&str]]) -> Result<Self> {
        let there: Vec<PathBuf> = wanted.iter().filter_map(|names| find(folder, names)).collect();
        if there.is_empty() {
            let names: Vec<&str> = wanted.iter().filter_map(|names| names.first().copied()).collect();
            return Err(
                Error::input(format!("no weight file called {} is here", names.join(" or "))).at(folder)
            );
        }
        let mut tensors = StoredTensors::new();
        for path in there {
            tensors.extend(gendr_weights::open_network(&path).map_err(told)?);
        }
        Ok(Self::new(tensors))
    }

    /// Tensors from anywhere.
    pub fn new(tensors: StoredTensors) -> Self {
        if tensors.is_empty() || !tensors.keys().all(|name| name.starts_with(PARALLEL)) {
            return Self(tensors);
        }
        Self(gendr_weights::without_prefix(&tensors, PARALLEL))
    }

    /// The tensors of a safetensors file in memory whose names begin with `prefix`, without it.
    ///
    /// # Errors
    /// An input error where the file is damaged.
    pub fn parse(bytes: &[u8], prefix: &str) -> Result<Self> {
        let tensors = Safetensors::parse(&Bytes::copy_from_slice(bytes)).map_err(told)?.into_tensors();
        Ok(Self::new(gendr_weights::without_prefix(&tensors, prefix)))
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// How many of `name(0)`, `name(1)`, ... are there without a gap.
    pub(super) fn count(&self, name: impl Fn(usize) -> String) -> usize {
        (0..self.0.len()).take_while(|&index| self.has(&name(index))).count()
    }

    /// The tensor under the first of `names` that is there, with `rank` axes, none of them empty.
    pub(super) fn get(&self, names: &[String], rank: usize) -> Result<Tensor> {
        let Some((name, tensor)) = names.iter().find_map(|name| Some((name, self.0.get(name)?))) else {
            return Err(Error::input(format!("the weights lack {}", names.join(" or "))));
        };
        let shape = tensor.shape().to_vec();
        if shape.len() != rank || tensor.is_empty() {
            return Err(Error::input(format!("{} has the shape {shape:?}, not {rank} axes", shown(name))));
        }
        if tensor.element() == ElementType::F64 {
            let narrow = tensor.bytes().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32);
            let data: Vec<f32> = narrow.collect();
            if !data.iter().all(|value| value.is_finite()) {
                return Err(Error::input(format!(
                    "{} holds values that are not finite numbers",
                    shown(name)
                )));
            }
            return Ok(Tensor { shape, data });
        }
        Ok(Tensor { shape, data: tensor.values(name).map_err(told)?.to_vec() })
    }

    /// The tensor called `name`, which must have this shape.
    pub(super) fn shaped(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.get(&[name.to_owned()], shape.len())?;
        if tensor.shape != shape {
            return Err(Error::input(format!("{name} has the shape {:?}, not {shape:?}", tensor.shape)));
        }
        Ok(tensor)
    }

    /// The values of the vector called `name`, which must have this length.
    pub(super) fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        Ok(self.shaped(name, &[length])?.data)
    }
}

/// The first of the files that is in the folder.
fn find(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    let files = names.iter().flat_map(|name| ENDINGS.map(|ending| folder.join(format!("{name}.{ending}"))));
    files.into_iter().find(|path| path.is_file())
}

/// An error of a weight file as this crate's.
fn told(error: gendr_weights::Error) -> Error {
    use gendr_weights::ErrorKind as Stored;
    let kind = match error.kind() {
        Stored::Input => ErrorKind::Input,
        Stored::Argument => ErrorKind::Argument,
        Stored::Limit => ErrorKind::Limit,
        Stored::Unsupported => ErrorKind::Unsupported,
        Stored::Resource => ErrorKind::Resource,
        Stored::Io => ErrorKind::Io,
    };
    Error::new(kind, error.to_string()).with_source(error)
}

#[cfg(test)]
mod tests {
    use gendr_weights::StoredTensor;

    use super::*;

    fn tensors(names: &[&str]) -> StoredTensors {
        let tensor = || StoredTensor::from_f32(vec![1.0, 2.0], vec![2]).unwrap();
        names.iter().map(|name| ((*name).to_owned(), tensor())).collect()
    }

    #[test]
    fn damaged_files_are_refused() {
        assert!(Weights::parse(b"no weights", "").is_err());
        let folder = tempfile::tempdir().unwrap();
        let error = Weights::open(folder.path(), &[&["a", "b"], &["c"]]).unwrap_err().to_string();
        assert!(error.starts_with("no weight file called a or c is here"), "{error}");
        std::fs::write(folder.path().join("b.pth"), b"no pickle").unwrap();
        assert!(Weights::open(folder.path(), &[&["a", "b"]]).is_err());
    }

    #[test]
    fn names_of_parallel_training_lose_their_prefix() {
        assert!(Weights::new(tensors(&["module.a", "module.b"])).has("a"));
        assert!(Weights::new(tensors(&["module.a", "b"])).has("module.a"));
    }

    #[test]
    fn shapes_are_checked_and_layers_counted() {
        let weights = Weights::new(tensors(&["layer.0.w", "layer.1.w", "layer.3.w"]));
        assert_eq!(weights.count(|index| format!("layer.{index}.w")), 2);
        assert_eq!(weights.vector("layer.0.w", 2).unwrap(), [1.0, 2.0]);
        assert!(weights.vector("layer.0.w", 3).is_err() && weights.shaped("layer.0.w", &[1, 2]).is_err());
    }
}
