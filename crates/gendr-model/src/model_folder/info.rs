//! Figures of a model: sizes, parameters, arithmetic, memory.

use burn::tensor::Device;

use super::{Family, StoredModel, layout};
use crate::{error::Result, rrdb::RrdbNet};

/// Side of the output that the figures are about.
const SIDE: usize = 512;

/// Figures of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Which networks.
    pub family: Family,
    /// The enlargement it was trained for.
    pub scale: usize,
    /// UNet, VAE, prompt.
    pub parts: Vec<PartInfo>,
    /// Bytes of the weight files.
    pub file_bytes: u64,
    /// Multiply-adds for 512x512 pixels of output, without guidance.
    pub multiply_adds: u64,
    /// Estimate of the memory for 512x512 pixels of output, in bytes: weights in f32 and three times the largest
    /// activation.
    pub memory_bytes: u64,
}

/// Figures of one part of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// `unet`, `vae`, `prompt` or `network`.
    pub name: &'static str,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values.
    pub parameters: usize,
    /// How the values are stored, such as `F16`; several kinds are joined by `+`.
    pub stored: String,
}

impl ModelInfo {
    /// Values of all networks; the prompt is no network.
    pub fn parameters(&self) -> usize {
        self.networks().map(|part| part.parameters).sum()
    }

    /// Tensors of all networks.
    pub fn tensors(&self) -> usize {
        self.networks().map(|part| part.tensors).sum()
    }

    fn networks(&self) -> impl Iterator<Item = &PartInfo> {
        self.parts.iter().filter(|part| part.name != "prompt")
    }
}

impl StoredModel {
    /// Figures of the model. Values are not read.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when tensors do not fit the networks.
    pub fn info(&self) -> Result<ModelInfo> {
        self.check()?;
        let parts = layout::parts(&self.description, &self.weights)?;
        let values: usize = parts.iter().map(layout::Part::parameters).sum();
        let parts = parts
            .iter()
            .map(|part| PartInfo {
                name: part.name,
                tensors: part.tensors.len(),
                parameters: part.parameters(),
                stored: self.stored(part),
            })
            .collect();
        Ok(ModelInfo {
            family: self.description.family,
            scale: self.description.scale,
            parts,
            file_bytes: self.bytes,
            multiply_adds: self.multiply_adds()?,
            memory_bytes: 4 * (values + 3 * self.largest_activation()?) as u64,
        })
    }

    /// The element types of a part.
    fn stored(&self, part: &layout::Part) -> String {
        let mut kinds: Vec<_> = part
            .tensors
            .iter()
            .filter_map(|(name, _)| self.weights.tensors().get(&format!("{}{name}", part.prefix)))
            .map(|tensor| tensor.element().name())
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.join("+")
    }

    fn multiply_adds(&self) -> Result<u64> {
        let device = Device::flex();
        let description = &self.description;
        let prompt_tokens = || {
            let prompt = self.weights.tensors().get("prompt.positive");
            prompt.and_then(|prompt| prompt.shape().iter().rev().nth(1).copied()).unwrap_or(77)
        };
        let unet = |patch: usize| -> Result<u64> {
            let unet = description.unet_config()?.init(&device)?;
            Ok(unet.multiply_adds(SIDE / patch, SIDE / patch, prompt_tokens()))
        };
        Ok(match description.family {
            Family::Latent => {
                let vae = description.vae_config()?.init(&device)?;
                vae.encode_multiply_adds(SIDE, SIDE)
                    + unet(vae.factor())?
                    + vae.decode_multiply_adds(SIDE, SIDE)
            }
            Family::Adc => {
                let vae = description.vae_config()?.init(&device)?;
                unet(description.pix.patch)? + vae.decode_multiply_adds(SIDE, SIDE)
            }
            Family::Pix => unet(description.pix.patch)?,
            Family::Rrdb => {
                let side = SIDE / RrdbNet::SCALE;
                description.rrdb.clone().unwrap_or_default().init(&device)?.multiply_adds(side, side)
            }
            Family::Compact => {
                let network = description.compact.clone().unwrap_or_default().init(&device)?;
                let side = SIDE / network.scale();
                network.multiply_adds(side, side)
            }
        })
    }

    /// Values of the largest tensor between two layers.
    fn largest_activation(&self) -> Result<usize> {
        let description = &self.description;
        let pixels = SIDE * SIDE;
        Ok(match description.family {
            // The decoder's last upsampling still has the channels of the level before.
            Family::Latent | Family::Adc => {
                let widths = description.vae_config()?.block_out_channels;
                pixels * widths.iter().take(2).max().copied().unwrap_or(0)
            }
            Family::Pix => {
                let widths = &description.unet_config()?.block_out_channels;
                pixels / description.pix.patch.pow(2) * 2 * widths.iter().max().copied().unwrap_or(0)
            }
            Family::Rrdb => pixels * description.rrdb.clone().unwrap_or_default().features,
            Family::Compact => pixels / 16 * description.compact.clone().unwrap_or_default().features,
        })
    }
}
