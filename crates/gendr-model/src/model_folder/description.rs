//! What a model says of itself: `gendr.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::layout;
use crate::{
    autoencoder_kl::AutoencoderKlConfig,
    compact::CompactConfig,
    error::{Error, Result},
    one_step::OneStep,
    pix::PixConfig,
    rrdb::RrdbConfig,
    unet::UnetConfig,
    weights::Weights,
};

/// The description's file in a folder, and its key in the header of a single file.
pub const DESCRIPTION: &str = "gendr.json";

/// The colour fixes a model may name.
const COLOR_FIXES: [&str; 5] = ["none", "adain", "wavelet", "ycbcr", "projection"];

/// Descriptions of known models, by name.
const PRESETS: [(&str, &str); 3] = [
    ("sd21-vae16", include_str!("presets/sd21-vae16.json")),
    ("sd21-vae16-adc", include_str!("presets/sd21-vae16-adc.json")),
    ("sd21-pix", include_str!("presets/sd21-pix.json")),
];

/// Which networks a model consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// GenDR: VAE encoder, UNet on latents, VAE decoder.
    Latent,
    /// GenDR-Adc: UNet on pixels, VAE decoder.
    Adc,
    /// GenDR-Pix: UNet on pixels.
    Pix,
    /// Real-ESRGAN's RRDBNet.
    Rrdb,
    /// Real-ESRGAN's compact network.
    Compact,
}

impl Family {
    /// As it is written in `gendr.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latent => "latent",
            Self::Adc => "adc",
            Self::Pix => "pix",
            Self::Rrdb => "rrdb",
            Self::Compact => "compact",
        }
    }

    /// Whether it has a UNet.
    pub fn has_unet(self) -> bool {
        matches!(self, Self::Latent | Self::Adc | Self::Pix)
    }

    /// Whether it has a VAE, whole or only its decoder.
    pub fn has_vae(self) -> bool {
        matches!(self, Self::Latent | Self::Adc)
    }
}

/// What `gendr.json` says. Everything but the family has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Which networks.
    pub family: Family,
    /// What people call the model.
    #[serde(default)]
    pub name: String,
    /// The enlargement it was trained for.
    #[serde(default = "default_scale")]
    pub scale: usize,
    /// The network works on pictures enlarged at least so much, and smaller results are resized from what it makes: for one that
    /// takes sharp pictures, or ones that are enlarged less, for blurred. 1 is no limit.
    #[serde(default = "default_least_scale", skip_serializing_if = "is_one")]
    pub least_scale: usize,
    /// `timestep`, `alpha_bar` and `beta_bar` of the one-step formula, keys of their own in the file.
    #[serde(flatten)]
    pub one_step: OneStep,
    /// In place of the `scaling_factor` of the VAE's configuration: latents are multiplied by it before the UNet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_factor: Option<f64>,
    /// Input and output of `adc` and `pix`.
    #[serde(default)]
    pub pix: PixConfig,
    /// The colour fix that suits the model: `none`, `adain`, `wavelet`, `ycbcr` or `projection`.
    #[serde(default = "default_color_fix")]
    pub color_fix: String,
    /// Terms of use.
    #[serde(default)]
    pub licence: String,
    /// Who made it, from what.
    #[serde(default)]
    pub origin: String,
    /// BLAKE3 of each file of the folder, by its path in it; in a single file, of the values, under `tensors`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blake3: BTreeMap<String, String>,
    /// Configuration of the UNet: in a single file; a folder has `unet/config.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unet: Option<UnetConfig>,
    /// Configuration of the VAE: in a single file; a folder has `vae/config.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<AutoencoderKlConfig>,
    /// Sizes of an `rrdb` network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rrdb: Option<RrdbConfig>,
    /// Sizes of a `compact` network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact: Option<CompactConfig>,
    /// Keys without a meaning: a description that has any is refused.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn default_scale() -> usize {
    4
}

fn default_least_scale() -> usize {
    1
}

fn is_one(scale: &usize) -> bool {
    *scale == 1
}

fn default_color_fix() -> String {
    "adain".to_owned()
}

impl Description {
    /// A description with the defaults: scale 4, timestep 354, alpha_bar and beta_bar 0.5, colour fix `adain`.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            name: String::new(),
            scale: default_scale(),
            least_scale: default_least_scale(),
            one_step: OneStep::default(),
            scaling_factor: None,
            pix: PixConfig::default(),
            color_fix: default_color_fix(),
            licence: String::new(),
            origin: String::new(),
            blake3: BTreeMap::new(),
            unet: None,
            vae: None,
            rrdb: None,
            compact: None,
            other: Map::new(),
        }
    }

    /// Reads a description. With the configurations of the networks in it, it can be initialised.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when it is no description or contradicts itself; what the
    /// configurations' own checks say.
    pub fn from_json(text: &str) -> Result<Self> {
        let description: Self = serde_json::from_str(text)
            .map_err(|error| Error::input(format!("{DESCRIPTION}: {error}")).with_source(error))?;
        description.validate()?;
        Ok(description)
    }

    /// The description of a known model, with all configurations: `sd21-vae16` (GenDR at its full size),
    /// `sd21-vae16-adc`, `sd21-pix`.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`](crate::ErrorKind::Argument) for another name.
    pub fn preset(name: &str) -> Result<Self> {
        let (_, text) = PRESETS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            let known = PRESETS.map(|(known, _)| known).join(", ");
            Error::argument(format!("no model configuration is called {name}"))
                .with_hint(format!("there are {known}"))
        })?;
        Self::from_json(text)
    }

    /// The names that [`Description::preset`] knows.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// Parameters of the networks it describes; none is created.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when a configuration is missing or contradicts itself.
    pub fn parameters(&self) -> Result<usize> {
        Ok(layout::networks(self)?.iter().map(layout::Part::parameters).sum())
    }

    /// As it is stored.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`](crate::ErrorKind::Argument) when it cannot be written as JSON.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Error::argument("a description that cannot be written").with_source(error))
    }

    fn validate(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::input(format!("{DESCRIPTION}: {what}")));
        if let Some(key) = self.other.keys().next() {
            return wrong(format!("unknown key {}", key.escape_debug()));
        }
        if !(1..=64).contains(&self.scale) {
            return wrong(format!("scale {}, 1 to 64 are possible", self.scale));
        }
        if !(1..=self.scale).contains(&self.least_scale) {
            return wrong(format!("least_scale {}, 1 to the scale are possible", self.least_scale));
        }
        if !COLOR_FIXES.contains(&self.color_fix.as_str()) {
            return wrong(format!(
                "color_fix {}, there are {}",
                self.color_fix.escape_debug(),
                COLOR_FIXES.join(", ")
            ));
        }
        if self.scaling_factor.is_some_and(|factor| !(factor.is_finite() && factor > 0.0)) {
            return wrong("scaling_factor must be a positive number".to_owned());
        }
        self.one_step.validate()?;
        self.pix.validate()?;
        self.unet.as_ref().map_or(Ok(()), UnetConfig::validate)?;
        self.vae.as_ref().map_or(Ok(()), AutoencoderKlConfig::validate)
    }

    /// Checks that the networks fit each other and pictures of three channels.
    pub(super) fn check_fit(&self) -> Result<()> {
        let need = |what: &str, found: usize, needed: usize| match found == needed {
            true => Ok(()),
            false => Err(Error::input(format!(
                "{what}: {found}, the family {} needs {needed}",
                self.family.name()
            ))),
        };
        let vae = if self.family.has_vae() { Some(self.vae_config()?) } else { None };
        if let Some(vae) = &vae {
            need("channels of the VAE's input", vae.in_channels, 3)?;
            need("channels of the VAE's output", vae.out_channels, 3)?;
        }
        if !self.family.has_unet() {
            return Ok(());
        }
        let (unet, pixels) = (self.unet_config()?, 3 * self.pix.patch * self.pix.patch);
        let latents = vae.as_ref().map_or(pixels, |vae| vae.latent_channels);
        need(
            "channels of the UNet's input",
            unet.in_channels,
            if self.family == Family::Latent { latents } else { pixels },
        )?;
        need("channels of the UNet's output", unet.out_channels, latents)?;
        match vae {
            Some(vae) if self.family == Family::Adc => {
                need("pixels a side of a patch", self.pix.patch, vae.factor())
            }
            _ => Ok(()),
        }
    }

    /// The UNet's configuration.
    pub(super) fn unet_config(&self) -> Result<&UnetConfig> {
        self.unet.as_ref().ok_or_else(|| Error::input("the model has no configuration of its UNet"))
    }

    /// The VAE's configuration with the scaling factor that counts.
    pub(super) fn vae_config(&self) -> Result<AutoencoderKlConfig> {
        let config =
            self.vae.clone().ok_or_else(|| Error::input("the model has no configuration of its VAE"))?;
        Ok(AutoencoderKlConfig {
            scaling_factor: self.scaling_factor.unwrap_or(config.scaling_factor),
            ..config
        })
    }

    /// For a diffusers folder without description: the family by what is there.
    pub(super) fn of_folder(unet: UnetConfig, vae: Option<AutoencoderKlConfig>) -> Self {
        let family = match &vae {
            None => Family::Pix,
            Some(vae) if vae.latent_channels == unet.in_channels => Family::Latent,
            Some(_) => Family::Adc,
        };
        Self { unet: Some(unet), vae, ..Self::new(family) }
    }

    /// For a file without description: Real-ESRGAN's networks are known by their tensors.
    pub(super) fn of_tensors(weights: &Weights) -> Result<Self> {
        let outputs = |name: &str| weights.tensors().get(name)?.shape().first().copied();
        let count = || (0..).take_while(|index| weights.has_part(&format!("body.{index}."))).count();
        if let (Some(features), Some(growth)) =
            (outputs("conv_first.weight"), outputs("body.0.rdb1.conv1.weight"))
        {
            let rrdb = Some(RrdbConfig { features, growth, blocks: count() });
            return Ok(Self { rrdb, color_fix: "none".to_owned(), ..Self::new(Family::Rrdb) });
        }
        let layers = count();
        let last = layers.checked_sub(1).and_then(|last| outputs(&format!("body.{last}.weight")));
        if let (Some(features), Some(last)) = (outputs("body.0.weight"), last) {
            let scale = (1..=8).find(|scale| 3 * scale * scale == last);
            let scale = scale.ok_or_else(|| Error::unsupported(format!("a network of {last} outputs")))?;
            let compact =
                Some(CompactConfig { features, convolutions: (layers / 2).saturating_sub(1), scale });
            return Ok(Self { compact, scale, color_fix: "none".to_owned(), ..Self::new(Family::Compact) });
        }
        Err(Error::unsupported(format!("no {DESCRIPTION} in it, and no network known by its tensors"))
            .with_hint(
                "a model is a folder or file with gendr.json, a diffusers folder, or a Real-ESRGAN file",
            ))
    }
}
