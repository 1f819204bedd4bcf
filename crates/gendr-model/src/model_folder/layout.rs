//! Which tensors a model consists of, and in which files they lie.

use burn::{module::Module, tensor::Device};

use super::description::{Description, Family};
use crate::{
    error::{Error, Result},
    parameters::names_and_shapes,
    weights::Weights,
};

/// The longest prompt that makes sense: CLIP's 77 tokens, with room.
const MAX_TOKENS: usize = 4096;

/// One network of a model, or its prompt.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// `unet`, `vae`, `prompt` or `network`.
    pub(super) name: &'static str,
    /// What precedes its tensors' names in a single file.
    pub(super) prefix: &'static str,
    /// Names and shapes in the order of the network.
    pub(super) tensors: Vec<(String, Vec<usize>)>,
}

impl Part {
    fn network<M: Module>(name: &'static str, prefix: &'static str, module: &M) -> Self {
        Self { name, prefix, tensors: names_and_shapes(module) }
    }

    /// Its file in a folder.
    pub(super) fn file(&self) -> &'static str {
        match self.name {
            "unet" => "unet/diffusion_pytorch_model.safetensors",
            "vae" => "vae/diffusion_pytorch_model.safetensors",
            "prompt" => "prompt.safetensors",
            _ => "model.safetensors",
        }
    }

    /// Number of values.
    pub(super) fn parameters(&self) -> usize {
        self.tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}

/// Whether a family uses a tensor of the VAE: `adc` does not encode.
pub(super) fn uses_vae_tensor(family: Family, name: &str) -> bool {
    family != Family::Adc || !(name.starts_with("encoder.") || name.starts_with("quant_conv."))
}

/// The parts of a model, its prompt left out. No weight is created.
pub(super) fn networks(description: &Description) -> Result<Vec<Part>> {
    let device = Device::flex();
    let mut parts = Vec::new();
    match description.family {
        Family::Rrdb => {
            let network = description.rrdb.clone().unwrap_or_default().init(&device)?;
            parts.push(Part::network("network", "", &network));
        }
        Family::Compact => {
            let network = description.compact.clone().unwrap_or_default().init(&device)?;
            parts.push(Part::network("network", "", &network));
        }
        Family::Latent | Family::Adc | Family::Pix => {
            parts.push(Part::network("unet", "unet.", &description.unet_config()?.init(&device)?));
        }
    }
    if description.family.has_vae() {
        let mut vae = Part::network("vae", "vae.", &description.vae_config()?.init(&device)?);
        vae.tensors.retain(|(name, _)| uses_vae_tensor(description.family, name));
        parts.push(vae);
    }
    Ok(parts)
}

/// All parts of a model whose tensors are at hand.
pub(super) fn parts(description: &Description, weights: &Weights) -> Result<Vec<Part>> {
    let mut parts = networks(description)?;
    if weights.has_part("prompt.") {
        parts.push(prompt(description, weights)?);
    }
    Ok(parts)
}

/// The stored prompts: `positive` and, where there is one, `negative`, `[tokens, width]`.
fn prompt(description: &Description, weights: &Weights) -> Result<Part> {
    let width = description.unet_config()?.cross_attention_dim;
    let stored = weights.part("prompt.");
    let mut tensors = Vec::new();
    for name in ["positive", "negative"] {
        let Some(tensor) = stored.tensors().get(name) else { continue };
        match *tensor.shape() {
            [tokens, stored] | [1, tokens, stored]
                if stored == width && (1..=MAX_TOKENS).contains(&tokens) =>
            {
                tensors.push((name.to_owned(), vec![tokens, width]));
            }
            ref shape => {
                return Err(Error::input(format!(
                    "tensor prompt.{name} has shape {shape:?}, the UNet needs [tokens, {width}]"
                )));
            }
        }
    }
    match stored.tensors().keys().find(|name| !["positive", "negative"].contains(&name.as_str())) {
        None => Ok(Part { name: "prompt", prefix: "prompt.", tensors }),
        Some(extra) => Err(Error::input(format!(
            "tensor prompt.{} is neither positive nor negative",
            extra.escape_debug()
        ))),
    }
}
