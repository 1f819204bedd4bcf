//! A whole model: its description (`gendr.json`) and its networks, in one safetensors file or in a folder.

use std::{collections::BTreeMap, fs, path::Path};

use burn::tensor::{Device, Tensor};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig},
    compact::CompactConfig,
    error::{Error, Result},
    one_step::{AdcModel, LatentModel, OneStep, PixModel, PromptedUnet, RestorationModel},
    pix::PixConfig,
    rrdb::RrdbConfig,
    unet::{Unet, UnetConfig},
    weights::{Safetensors, Weights, weight_file},
};

/// The description's file in a folder, and its key in the header of a single file.
pub const DESCRIPTION: &str = "gendr.json";
/// Longest description or network configuration read, in bytes.
const MAX_JSON: u64 = 1 << 20;
/// Stem of the weight files in the folders of a diffusers model.
const STEM: &str = "diffusion_pytorch_model";

/// Which networks a model consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// GenDR: VAE, UNet, VAE.
    Latent,
    /// GenDR-Adc: UNet on pixels, VAE decoder.
    Adc,
    /// GenDR-Pix: UNet on pixels.
    Pix,
    /// Real-ESRGAN.
    Rrdb,
    /// Compact Real-ESRGAN.
    Compact,
}

/// What `gendr.json` says. Everything but the family has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Which networks.
    pub family: Family,
    /// What people call the model.
    #[serde(default)]
    pub name: String,
    /// The enlargement it was trained for.
    #[serde(default = "default_scale")]
    pub scale: usize,
    /// Timestep and constants of the one-step formula.
    #[serde(default)]
    pub one_step: OneStep,
    /// Input and output of `adc` and `pix`.
    #[serde(default)]
    pub pix: PixConfig,
    /// The colour fix that suits the model: `none`, `adain`, `wavelet` or `ycbcr`.
    #[serde(default = "default_color_fix")]
    pub color_fix: String,
    /// Terms of use.
    #[serde(default)]
    pub licence: String,
    /// Who made it, from what.
    #[serde(default)]
    pub origin: String,
    /// Configuration of the UNet, in a single file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unet: Option<UnetConfig>,
    /// Configuration of the VAE, in a single file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<AutoencoderKlConfig>,
    /// Sizes of an `rrdb` network.
    #[serde(default)]
    pub rrdb: RrdbConfig,
    /// Sizes of a `compact` network.
    #[serde(default)]
    pub compact: CompactConfig,
}

fn default_scale() -> usize {
    4
}

fn default_color_fix() -> String {
    "adain".to_owned()
}

impl Description {
    /// A description with defaults.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            name: String::new(),
            scale: default_scale(),
            one_step: OneStep::default(),
            pix: PixConfig::default(),
            color_fix: default_color_fix(),
            licence: String::new(),
            origin: String::new(),
            unet: None,
            vae: None,
            rrdb: RrdbConfig::default(),
            compact: CompactConfig::default(),
        }
    }

    fn from_json(text: &str) -> Result<Self> {
        let description: Self = serde_json::from_str(text)
            .map_err(|error| Error::input(format!("{DESCRIPTION}: {error}")).with_source(error))?;
        description.one_step.validate()?;
        description.pix.validate()?;
        Ok(description)
    }

    /// For files that hold no description: Real-ESRGAN's networks are known by their tensors.
    fn guess(weights: &Weights) -> Result<Self> {
        let count = |prefix: &str| (0..).take_while(|i| weights.has_part(&format!("{prefix}{i}."))).count();
        let width = |name: &str| weights.tensors().get(name).and_then(|tensor| tensor.shape().first().copied());
        if let (Some(features), Some(growth)) = (width("conv_first.weight"), width("body.0.rdb1.conv1.weight")) {
            let rrdb = RrdbConfig { features, growth, blocks: count("body.") };
            return Ok(Self { rrdb, color_fix: "none".to_owned(), ..Self::new(Family::Rrdb) });
        }
        let layers = count("body.");
        let last = layers.checked_sub(1).and_then(|last| width(&format!("body.{last}.weight")));
        if let (Some(features), Some(outputs)) = (width("body.0.weight"), last) {
            let scale = (1..=8).find(|scale| 3 * scale * scale == outputs);
            let scale = scale.ok_or_else(|| Error::unsupported(format!("a network of {outputs} outputs")))?;
            let compact = CompactConfig { features, convolutions: (layers / 2).saturating_sub(1), scale };
            return Ok(Self { compact, scale, color_fix: "none".to_owned(), ..Self::new(Family::Compact) });
        }
        Err(Error::unsupported(format!("no {DESCRIPTION} and no network known by its tensors"))
            .with_hint("a model is a folder or file with gendr.json, or a Real-ESRGAN weight file"))
    }
}

/// A model ready to restore.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it says of itself.
    pub description: Description,
    /// Its networks.
    pub networks: RestorationModel,
}

impl Model {
    /// Opens a model folder or file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where it cannot be read, [`ErrorKind::Input`](crate::ErrorKind::Input) for a
    /// damaged file, a configuration that contradicts itself, a tensor that is missing, extra, of another shape or not finite.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        if path.is_dir() {
            return Self::open_folder(path, device).map_err(|error| error.in_file(path));
        }
        let described = match path.extension().is_some_and(|ending| ending == "safetensors") {
            true => Safetensors::open(path)?.metadata().get(DESCRIPTION).cloned(),
            false => None,
        };
        Self::build(described.as_deref(), &Weights::open(path)?, device).map_err(|error| error.in_file(path))
    }

    /// Reads a single safetensors file that is already in memory.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn parse(file: &Bytes, device: &Device) -> Result<Self> {
        let file = Safetensors::parse(file)?;
        let described = file.metadata().get(DESCRIPTION).cloned();
        Self::build(described.as_deref(), &Weights::new(file.into_tensors(), Path::new("memory"))?, device)
    }

    fn open_folder(folder: &Path, device: &Device) -> Result<Self> {
        let path = folder.join(DESCRIPTION);
        let mut description = match path.exists() {
            true => Description::from_json(&read_text(&path)?)?,
            false => Description::new(Family::Latent),
        };
        let mut weights = Weights::default();
        for (part, used) in [("unet", true), ("vae", !matches!(description.family, Family::Pix))] {
            if used {
                let file = weight_file(&folder.join(part), STEM)?;
                weights.insert_part(&format!("{part}."), Weights::open(&file)?);
            }
        }
        let config = |part: &str| read_text(&folder.join(part).join("config.json"));
        description.unet = Some(UnetConfig::from_json(&config("unet")?)?);
        if weights.has_part("vae.") {
            description.vae = Some(AutoencoderKlConfig::from_json(&config("vae")?)?);
        }
        let prompt = folder.join("prompt.safetensors");
        if prompt.exists() {
            weights.insert_part("prompt.", Weights::open(&prompt)?);
        }
        Self::assemble(description, &weights, device)
    }

    fn build(described: Option<&str>, weights: &Weights, device: &Device) -> Result<Self> {
        let description = match described {
            Some(text) => Description::from_json(text)?,
            None => Description::guess(weights)?,
        };
        Self::assemble(description, weights, device)
    }

    fn assemble(description: Description, weights: &Weights, device: &Device) -> Result<Self> {
        let networks = match description.family {
            Family::Rrdb => RestorationModel::Rrdb(Box::new(weights.load(description.rrdb.init(device)?)?)),
            Family::Compact => {
                RestorationModel::Compact(Box::new(weights.load(description.compact.init(device)?)?))
            }
            Family::Pix => RestorationModel::Pix(Box::new(PixModel {
                unet: prompted(&description, weights, device)?,
                pix: description.pix,
            })),
            Family::Adc => RestorationModel::Adc(Box::new(AdcModel {
                unet: prompted(&description, weights, device)?,
                autoencoder: autoencoder(&description, weights, device)?,
                pix: description.pix,
            })),
            Family::Latent => RestorationModel::Latent(Box::new(LatentModel {
                unet: prompted(&description, weights, device)?,
                autoencoder: autoencoder(&description, weights, device)?,
                one_step: description.one_step,
            })),
        };
        Ok(Self { description, networks })
    }
}

fn prompted(description: &Description, weights: &Weights, device: &Device) -> Result<PromptedUnet> {
    let config = description.unet.as_ref().ok_or_else(|| Error::input(format!("{DESCRIPTION} has no `unet`")))?;
    let unet: Unet = weights.part("unet.").load(config.init(device)?)?;
    let prompts = weights.part("prompt.");
    let prompt = |name: &str| -> Result<Option<Tensor<3>>> {
        if !prompts.tensors().contains_key(name) {
            return Ok(None);
        }
        let values = prompts.values(name)?;
        match values.shape().as_slice() {
            [_, _] => Ok(Some(Tensor::<2>::from_data(values, device).unsqueeze())),
            shape => Err(Error::input(format!("prompt {name} has shape {shape:?}, [tokens, width] is needed"))),
        }
    };
    if config.uses_prompt() && !prompts.tensors().contains_key("positive") {
        return Err(Error::input("the model has no stored prompt").with_hint("add prompt.safetensors with a tensor `positive`"));
    }
    PromptedUnet::new(unet, description.one_step.timestep, prompt("positive")?, prompt("negative")?)
}

fn autoencoder(description: &Description, weights: &Weights, device: &Device) -> Result<AutoencoderKl> {
    let config = description.vae.as_ref().ok_or_else(|| Error::input(format!("{DESCRIPTION} has no `vae`")))?;
    weights.part("vae.").load(config.init(device)?)
}

/// The text of a small file.
fn read_text(path: &Path) -> Result<String> {
    let length = fs::metadata(path).map_err(|error| Error::cannot("read", path, error))?.len();
    if length > MAX_JSON {
        return Err(Error::limit(format!("{length} bytes; at most {MAX_JSON} are read")).in_file(path));
    }
    fs::read_to_string(path).map_err(|error| Error::cannot("read", path, error))
}

/// The header text of a single file that holds the description.
///
/// # Errors
/// [`ErrorKind::Argument`](crate::ErrorKind::Argument) where it cannot be written as JSON.
pub fn description_header(description: &Description) -> Result<BTreeMap<String, String>> {
    let text = serde_json::to_string(description)
        .map_err(|error| Error::argument("a description that cannot be written").with_source(error))?;
    Ok(BTreeMap::from([(DESCRIPTION.to_owned(), text)]))
}
