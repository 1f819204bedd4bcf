//! A whole model as it is stored: one safetensors file, or a folder in the layout of diffusers.
//!
//! ```text
//! my-model/
//!   gendr.json                                              the description
//!   unet/{config.json, diffusion_pytorch_model.safetensors} shards and fp16 names too
//!   vae/{config.json, diffusion_pytorch_model.safetensors}
//!   prompt.safetensors                                      `positive` [tokens, width], perhaps `negative`
//!   lora/*                                                  merged on load
//! ```
//!
//! A single file holds the same tensors under `unet.`, `vae.` and `prompt.` and the description in its header, under
//! `gendr.json`, with the configurations of the networks in it. Real-ESRGAN's networks are one file of their own
//! tensors, with or without description.

mod content_hash;
mod description;
mod info;
mod init;
mod interpolate;
mod layout;
mod load;
mod save;
mod verify;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use gendr_weights::Safetensors;

use crate::{
    autoencoder_kl::AutoencoderKlConfig,
    error::{Error, Result},
    unet::UnetConfig,
    weights::{Lora, Weights, weight_file},
};

pub use self::{
    description::{DESCRIPTION, Description, Family},
    info::{ModelInfo, PartInfo},
    init::initialize_model,
    load::Model,
    verify::{Verified, verify_model},
};

/// Longest description or configuration read, in bytes.
const MAX_JSON: u64 = 1 << 20;
/// Stem of the weight files in the folders of a diffusers model.
const STEM: &str = "diffusion_pytorch_model";
/// Folder of the LoRAs of a model.
const LORA: &str = "lora";
/// Most LoRAs of a model.
const MAX_LORAS: usize = 64;

/// A model as it is stored: description and tensors, which stay in the mapped files until a network needs them.
#[derive(Clone, Debug)]
pub struct StoredModel {
    description: Description,
    weights: Weights,
    /// Bytes of the weight files.
    bytes: u64,
}

impl StoredModel {
    /// Opens a model folder or file without reading the tensors' values.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where a file cannot be read,
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) for a damaged file or a configuration that contradicts itself,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a network that is not known here.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() { Self::open_folder(path) } else { Self::open_file(path) }
    }

    /// Reads a single safetensors file that is already in memory, such as the built-in model.
    ///
    /// # Errors
    /// As [`StoredModel::open`], without a path.
    pub fn parse(file: &Bytes) -> Result<Self> {
        Self::of_safetensors(Safetensors::parse(file)?, Path::new("the model in memory"), file.len() as u64)
    }

    /// A model of networks that were trained or built here, its tensors under `unet.`, `vae.` and `prompt.`.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when a tensor is missing, extra or of another shape than the
    /// description's configurations say.
    pub fn new(description: Description, weights: Weights) -> Result<Self> {
        let bytes = weights.tensors().values().map(|tensor| tensor.bytes().len() as u64).sum();
        let model = Self { description, weights, bytes };
        model.check()?;
        Ok(model)
    }

    fn open_file(path: &Path) -> Result<Self> {
        let size = fs::metadata(path).map_err(|error| Error::cannot("open", path, error))?.len();
        if path.extension().is_some_and(|ending| ending == "safetensors") {
            return Self::of_safetensors(Safetensors::open(path)?, path, size);
        }
        let weights = Weights::open(path)?;
        let description = Description::of_tensors(&weights).map_err(|error| error.in_file(path))?;
        Ok(Self { description, weights, bytes: size })
    }

    fn of_safetensors(file: Safetensors, path: &Path, bytes: u64) -> Result<Self> {
        let described = file.metadata().get(DESCRIPTION).cloned();
        let weights = Weights::new(file.into_tensors(), path)?;
        let description = match described {
            Some(text) => Description::from_json(&text),
            None => Description::of_tensors(&weights),
        };
        Ok(Self { description: description.map_err(|error| error.in_file(path))?, weights, bytes })
    }

    fn open_folder(folder: &Path) -> Result<Self> {
        let description = described(folder)?;
        let mut weights = Weights::default().at(folder);
        let mut bytes = 0;
        let mut add = |prefix: &str, file: &Path| -> Result<()> {
            bytes += fs::metadata(file).map_err(|error| Error::cannot("open", file, error))?.len();
            weights.insert_part(prefix, Weights::open(file)?);
            Ok(())
        };
        match description.family {
            Family::Rrdb | Family::Compact => add("", &weight_file(folder, "model")?)?,
            Family::Latent | Family::Adc | Family::Pix => {
                add("unet.", &weight_file(&folder.join("unet"), STEM)?)?;
            }
        }
        if description.family.has_vae() {
            add("vae.", &weight_file(&folder.join("vae"), STEM)?)?;
        }
        let prompt = folder.join("prompt.safetensors");
        if prompt.exists() {
            add("prompt.", &prompt)?;
        }
        for lora in loras(&folder.join(LORA))? {
            weights.merge(&Lora::open(&lora)?)?;
        }
        Ok(Self { description, weights, bytes })
    }

    /// What the model says of itself, with the configurations of its networks.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Its tensors, named as in a single file.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Compares names and shapes of the tensors with what the networks need.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input), naming the tensor and both shapes.
    pub fn check(&self) -> Result<()> {
        let file = self.weights.file();
        let parts =
            self.description.check_fit().and_then(|()| layout::parts(&self.description, &self.weights));
        let parts =
            parts.map_err(|error| if file.as_os_str().is_empty() { error } else { error.in_file(file) })?;
        let mut needed = Vec::new();
        for part in parts {
            needed.extend(
                part.tensors.into_iter().map(|(name, shape)| (format!("{}{name}", part.prefix), shape)),
            );
        }
        let family = self.description.family;
        self.weights.check(&needed, |name| {
            name.strip_prefix("vae.").is_none_or(|name| layout::uses_vae_tensor(family, name))
        })
    }
}

impl Description {
    /// Reads a description: a file as `gendr.json`, or a model folder, with or without its weights.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where it cannot be read; else as [`Description::from_json`]. The message
    /// ends with the path.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return described(path);
        }
        Self::from_json(&read_text(path)?).map_err(|error| error.in_file(path))
    }
}

/// The description of a folder with the configurations of its networks.
fn described(folder: &Path) -> Result<Description> {
    let path = folder.join(DESCRIPTION);
    let mut description = None;
    if path.exists() {
        let read = Description::from_json(&read_text(&path)?).map_err(|error| error.in_file(&path))?;
        if !read.family.has_unet() {
            return Ok(read);
        }
        description = Some(read);
    }
    let has_vae = match &description {
        Some(description) => description.family.has_vae(),
        None => folder.join("vae").is_dir(),
    };
    let unet = config(folder, "unet", UnetConfig::from_json)?;
    let vae = if has_vae { Some(config(folder, "vae", AutoencoderKlConfig::from_json)?) } else { None };
    Ok(match description {
        Some(description) => Description { unet: Some(unet), vae, ..description },
        None => Description::of_folder(unet, vae),
    })
}

/// The configuration of one network of a folder.
fn config<T>(folder: &Path, part: &str, parse: impl Fn(&str) -> Result<T>) -> Result<T> {
    let path = folder.join(part).join("config.json");
    if !path.exists() {
        return Err(Error::input(format!("no {part}/config.json in the model folder"))
            .in_file(folder)
            .with_hint(
                "a model is a folder with unet/ and vae/ as diffusers writes them, or a single file",
            ));
    }
    parse(&read_text(&path)?).map_err(|error| error.in_file(&path))
}

/// The LoRA files of a model in the order of their names.
fn loras(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let cannot = |error| Error::cannot("read", folder, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        // Configurations belong to their LoRA; notes may lie beside it.
        let other =
            ["json", "md", "txt"].iter().any(|ending| path.extension().is_some_and(|found| found == *ending));
        if path.is_file() && !other {
            files.push(path);
        }
        if files.len() > MAX_LORAS {
            return Err(Error::limit(format!("more than {MAX_LORAS} LoRAs")).in_file(folder));
        }
    }
    files.sort();
    Ok(files)
}

/// The text of a small file.
fn read_text(path: &Path) -> Result<String> {
    let cannot = |error| Error::cannot("read", path, error);
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Error::input("not a plain file").in_file(path));
    }
    if metadata.len() > MAX_JSON {
        return Err(
            Error::limit(format!("{} bytes, at most {MAX_JSON} are read", metadata.len())).in_file(path)
        );
    }
    fs::read_to_string(path).map_err(cannot)
}
