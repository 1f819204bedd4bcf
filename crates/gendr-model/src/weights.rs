//! The tensors of networks: from files of any kind, LoRA merged on the way, and into safetensors.

mod atomic_file;
mod diffusers_folder;
mod lora;
mod old_names;
mod safetensors_writer;
mod tensor_data;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use burn::{
    module::{Module, Param},
    tensor::{Tensor, TensorData},
};
use bytes::Bytes;
use gendr_weights::{StoredTensor, shown, without_prefix};

use self::lora::{LowRank, Update};
use crate::{
    error::{Error, Result},
    parameters::{NamedMapper, fill, for_each_parameter, map_named, names_and_shapes},
};

pub(crate) use atomic_file::temporary_path;
pub(crate) use diffusers_folder::weight_file;
pub use lora::Lora;
pub(crate) use safetensors_writer::values_hash;
pub use safetensors_writer::{Precision, SafetensorsWriter, save_parameters};
pub use tensor_data::ToTensorData;
use tensor_data::hash_tensor;

/// Tensors by name, from one file or several, ready to fill networks. Values stay in the mapped files until a network
/// asks for them.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    tensors: BTreeMap<String, StoredTensor>,
    /// What LoRA adds to tensors, by their name.
    updates: BTreeMap<String, Vec<LowRank>>,
    /// What errors call the place the tensors come from.
    file: PathBuf,
    /// What errors put before a tensor's name.
    prefix: String,
}

impl Weights {
    /// Opens a weight file of any kind: `.safetensors`, `.pth`, `.pt`, `.bin`, `.pkl`, `.ckpt`, or the `.json` index of
    /// a network in shards.
    ///
    /// A torch checkpoint that keeps its network under `params_ema`, `params`, `state_dict` or `model` gives that
    /// network. Old names of VAE attention (`query`, `proj_attn`) become the new ones.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when a file cannot be mapped,
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when it is damaged,
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) when its header or pickle is too large,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for other files and element types. The message ends
    /// with the path.
    pub fn open(path: &Path) -> Result<Self> {
        let is_index = path.extension().is_some_and(|ending| ending == "json");
        let tensors =
            if is_index { diffusers_folder::open_shards(path)? } else { gendr_weights::open_network(path)? };
        Self::new(tensors, path)
    }

    /// Reads the bytes of a torch file, as [`Weights::open`] does a file's.
    ///
    /// # Errors
    /// As [`Weights::open`], without a path.
    pub fn parse_torch(file: &Bytes) -> Result<Self> {
        Self::new(gendr_weights::parse_torch_network(file)?, Path::new("memory"))
    }

    /// Tensors from anywhere; `file` is what errors call the place.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when a tensor is there under its old and its new name.
    pub fn new(tensors: BTreeMap<String, StoredTensor>, file: &Path) -> Result<Self> {
        let mut renamed = BTreeMap::new();
        for (name, tensor) in tensors {
            let name = old_names::modern(&name);
            if renamed.contains_key(&name) {
                return Err(Error::input(format!("tensor {} is there twice", shown(&name))).in_file(file));
            }
            renamed.insert(name, tensor);
        }
        Ok(Self { tensors: renamed, updates: BTreeMap::new(), file: file.to_owned(), prefix: String::new() })
    }

    /// The parameters of a network, copied from its device.
    ///
    /// # Errors
    /// [`ErrorKind::Resource`](crate::ErrorKind::Resource) when a device cannot be read.
    pub fn from_module<M: Module>(module: &M) -> Result<Self> {
        let mut weights = Self::default();
        for_each_parameter(module, &mut |name, data| {
            let shape = data.shape().to_vec();
            let values = data
                .convert::<f32>()
                .try_into_vec::<f32>()
                .map_err(|error| Error::argument(format!("parameter {name} cannot be read: {error:?}")))?;
            weights.tensors.insert(name.to_owned(), StoredTensor::from_f32(values, shape)?);
            Ok(())
        })?;
        Ok(weights)
    }

    /// The tensors as they are stored, without LoRA.
    pub fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    /// Hashes names, element types, shapes and values of the tensors, and what LoRA adds.
    pub(crate) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        for (name, tensor) in &self.tensors {
            hasher.update(format!("\n{name} ").as_bytes());
            hash_tensor(tensor, hasher);
        }
        for (name, updates) in &self.updates {
            hasher.update(format!("\n{name} ").as_bytes());
            updates.iter().for_each(|update| update.hash_into(hasher));
        }
    }

    /// The same tensors; errors say they come from `file`.
    #[must_use]
    pub(crate) fn at(mut self, file: &Path) -> Self {
        file.clone_into(&mut self.file);
        self
    }

    /// What errors call the place the tensors come from.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Whether any name starts with `prefix`.
    pub fn has_part(&self, prefix: &str) -> bool {
        self.tensors.range(prefix.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// The tensors whose names start with `prefix`, named by the rest.
    #[must_use]
    pub fn part(&self, prefix: &str) -> Self {
        Self {
            tensors: without_prefix(&self.tensors, prefix),
            updates: without_prefix(&self.updates, prefix),
            file: self.file.clone(),
            prefix: format!("{}{prefix}", self.prefix),
        }
    }

    /// Adds the tensors of `part` with `prefix` before their names.
    pub fn insert_part(&mut self, prefix: &str, part: Self) {
        let named = |name: String| format!("{prefix}{name}");
        self.tensors.extend(part.tensors.into_iter().map(|(name, tensor)| (named(name), tensor)));
        self.updates.extend(part.updates.into_iter().map(|(name, updates)| (named(name), updates)));
    }

    /// Merges a LoRA: every tensor it names must be here, alone or in the part `unet.` or `vae.`. Its matrices are
    /// multiplied when a network asks for the tensor.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when a tensor is not here, is in both parts or has another shape.
    /// Nothing is merged then.
    pub fn merge(&mut self, lora: &Lora) -> Result<()> {
        let mut merged = self.clone();
        for (name, update) in lora.updates() {
            merged.apply(name, update).map_err(|error| error.in_file(lora.file()))?;
        }
        *self = merged;
        Ok(())
    }

    fn apply(&mut self, name: &str, update: &Update) -> Result<()> {
        let candidates: Vec<_> = ["", "unet.", "vae."]
            .iter()
            .map(|part| format!("{part}{name}"))
            .filter(|name| self.tensors.contains_key(name))
            .collect();
        let [name] = candidates.as_slice() else {
            let places = if candidates.is_empty() { "no tensor" } else { "several tensors" };
            return Err(Error::input(format!(
                "LoRA for {}: the model has {places} of that name",
                shown(name)
            )));
        };
        let tensor = &self.tensors[name];
        match update {
            Update::Replace(new) if new.shape() == tensor.shape() => {
                self.tensors.insert(name.clone(), new.clone());
            }
            Update::Add(low_rank) if low_rank.fits(tensor) => {
                self.updates.entry(name.clone()).or_default().push(low_rank.clone());
            }
            _ => {
                return Err(Error::input(format!(
                    "LoRA for {} of shape {:?}: the model's tensor has shape {:?}",
                    shown(name),
                    update.shape(),
                    tensor.shape()
                )));
            }
        }
        Ok(())
    }

    /// The values of one tensor in f32, LoRA merged, all finite. f32 without LoRA is not copied.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when there is no such tensor or a value is NaN or infinite,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) when it is not f32, f16 or bf16.
    pub fn values(&self, name: &str) -> Result<TensorData> {
        let in_file = |error: Error| error.in_file(&self.file);
        let stored = self.stored(name)?.to_f32(&self.full_name(name)).map_err(in_file)?;
        match self.updates.get(name) {
            None => Ok(stored),
            Some(updates) => lora::merge(stored, updates).map_err(in_file),
        }
    }

    fn stored(&self, name: &str) -> Result<&StoredTensor> {
        let missing =
            || Error::input(format!("tensor {} is missing", self.full_name(name))).in_file(&self.file);
        self.tensors.get(name).ok_or_else(missing)
    }

    /// The values of a tensor of [`Weights::check`]ed shape as networks hold them: half precision without LoRA stays half.
    fn network_values(&self, name: &str, shape: &[usize]) -> Result<TensorData> {
        if self.updates.contains_key(name) {
            return self.shaped_values(name, shape);
        }
        let values = self.stored(name)?.to_network(&self.full_name(name));
        let values = values.map_err(|error| error.in_file(&self.file))?;
        let dtype = values.dtype();
        Ok(TensorData::from_bytes(values.into_bytes(), shape.to_vec(), dtype))
    }

    /// The values of a tensor of [`Weights::check`]ed shape, in the shape the network needs.
    pub(crate) fn shaped_values(&self, name: &str, shape: &[usize]) -> Result<TensorData> {
        let values = self.values(name)?;
        let dtype = values.dtype();
        Ok(TensorData::from_bytes(values.into_bytes(), shape.to_vec(), dtype))
    }

    /// Fills every parameter of `module`. Names must agree exactly; a tensor that differs from its parameter only by
    /// trailing dimensions of size 1 (a 1x1 convolution stored as a matrix, or the reverse) is accepted.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when a tensor is missing, extra, of another shape, or not finite;
    /// the message names the tensor and both shapes. [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) when it
    /// is not f32, f16 or bf16.
    pub fn load<M: Module>(&self, module: M) -> Result<M> {
        self.load_where(module, |_| true)
    }

    /// Fills the parameters of `module` that are `used`. The others are left as they are, and it does not matter
    /// whether their tensors are there.
    ///
    /// # Errors
    /// As [`Weights::load`].
    pub fn load_where<M: Module>(&self, module: M, used: impl Fn(&str) -> bool) -> Result<M> {
        self.check(&names_and_shapes(&module), &used)?;
        let mut filler = Filler { weights: self, used, result: Ok(()) };
        let module = map_named(module, &mut filler);
        filler.result.map(|()| module)
    }

    /// Compares the stored names and shapes with those a network needs, apart from what is not used.
    pub(crate) fn check(&self, needed: &[(String, Vec<usize>)], used: impl Fn(&str) -> bool) -> Result<()> {
        let mut faults = Vec::new();
        for (name, shape) in needed.iter().filter(|(name, _)| used(name)) {
            match self.tensors.get(name).map(StoredTensor::shape) {
                Some(stored) if same_values(stored, shape) => {}
                stored => {
                    let stored =
                        stored.map_or("is missing".to_owned(), |stored| format!("has shape {stored:?}"));
                    faults.push(format!(
                        "tensor {} {stored}, the network needs {shape:?}",
                        self.full_name(name)
                    ));
                }
            }
        }
        let known: BTreeSet<_> = needed.iter().map(|(name, _)| name.as_str()).collect();
        for (name, tensor) in
            self.tensors.iter().filter(|(name, _)| used(name) && !known.contains(name.as_str()))
        {
            let (name, shape) = (self.full_name(name), tensor.shape());
            faults.push(format!(
                "tensor {name} of shape {shape:?} is extra, the network has none of that name"
            ));
        }
        let Some(first) = faults.first() else { return Ok(()) };
        let more = match faults.len() - 1 {
            0 => String::new(),
            others => format!(" ({others} more do not fit)"),
        };
        Err(Error::input(format!("{first}{more}")).in_file(&self.file))
    }

    fn full_name(&self, name: &str) -> String {
        shown(&format!("{}{name}", self.prefix))
    }
}

/// Gives the parameters of a network their checked values.
struct Filler<'a, F> {
    weights: &'a Weights,
    used: F,
    result: Result<()>,
}

impl<F: Fn(&str) -> bool> NamedMapper for Filler<'_, F> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.result.is_err() || !(self.used)(name) {
            return param;
        }
        match self.weights.network_values(name, &param.lazy_shape()) {
            Ok(values) => fill(param, values),
            Err(error) => {
                self.result = Err(error);
                param
            }
        }
    }
}

/// Whether two shapes differ only by trailing ones.
fn same_values(a: &[usize], b: &[usize]) -> bool {
    let core = |shape: &[usize]| shape.iter().rposition(|&size| size != 1).map_or(0, |last| last + 1);
    a[..core(a)] == b[..core(b)]
}
