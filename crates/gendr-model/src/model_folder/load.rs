//! From stored tensors to networks that are ready to restore.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use bytes::Bytes;

use super::{Description, Family, StoredModel, layout};
use crate::{
    autoencoder_kl::AutoencoderKl,
    error::{Error, Result},
    one_step::{AdcModel, LatentModel, PixModel, PromptedUnet, RestorationModel},
};

/// A model ready to restore.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it says of itself.
    pub description: Description,
    /// Its networks.
    pub networks: RestorationModel,
}

impl Model {
    /// Opens a model folder or file and loads its networks to `device`.
    ///
    /// # Errors
    /// As [`StoredModel::open`] and [`StoredModel::load`].
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        StoredModel::open(path)?.load(device)
    }

    /// Loads a single safetensors file that is already in memory.
    ///
    /// # Errors
    /// As [`StoredModel::parse`] and [`StoredModel::load`].
    pub fn parse(file: &Bytes, device: &Device) -> Result<Self> {
        StoredModel::parse(file)?.load(device)
    }
}

impl StoredModel {
    /// Loads the networks. On the processor, tensors stored as f32 stay in the mapped file.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) for a tensor that is missing, extra, of another shape (the message
    /// names it and both shapes) or not finite, and for a model without stored prompt.
    pub fn load(&self, device: &Device) -> Result<Model> {
        self.check()?;
        let description = self.description.clone();
        let pix = description.pix;
        let networks = match description.family {
            Family::Rrdb => {
                let network = description.rrdb.clone().unwrap_or_default().init(device)?;
                RestorationModel::Rrdb(Box::new(self.weights.load(network)?))
            }
            Family::Compact => {
                let network = description.compact.clone().unwrap_or_default().init(device)?;
                RestorationModel::Compact(Box::new(self.weights.load(network)?))
            }
            Family::Pix => RestorationModel::Pix(Box::new(PixModel { unet: self.load_unet(device)?, pix })),
            Family::Adc => RestorationModel::Adc(Box::new(AdcModel {
                unet: self.load_unet(device)?,
                autoencoder: self.load_autoencoder(device)?,
                pix,
            })),
            Family::Latent => RestorationModel::Latent(Box::new(LatentModel {
                unet: self.load_unet(device)?,
                autoencoder: self.load_autoencoder(device)?,
                one_step: description.one_step,
            })),
        };
        Ok(Model { description, networks })
    }

    fn load_unet(&self, device: &Device) -> Result<PromptedUnet> {
        let config = self.description.unet_config()?;
        let positive = self.load_prompt("positive", device)?;
        if config.uses_prompt() && positive.is_none() {
            return Err(Error::input("the model has no stored prompt").in_file(self.weights.file()).with_hint(
                "it needs prompt.safetensors with a tensor `positive` [tokens, width]; `gendr model init` writes a random one",
            ));
        }
        let negative = self.load_prompt("negative", device)?;
        let unet = self.weights.part("unet.").load(config.init(device)?)?;
        PromptedUnet::new(unet, self.description.one_step.timestep, positive, negative)
    }

    fn load_prompt(&self, name: &str, device: &Device) -> Result<Option<Tensor<3>>> {
        let prompts = self.weights.part("prompt.");
        let Some(tensor) = prompts.tensors().get(name) else { return Ok(None) };
        let width = self.description.unet_config()?.cross_attention_dim;
        let values = prompts.shaped_values(name, &[1, tensor.len() / width, width])?;
        Ok(Some(Tensor::from_data(values, device)))
    }

    fn load_autoencoder(&self, device: &Device) -> Result<AutoencoderKl> {
        let family = self.description.family;
        let network = self.description.vae_config()?.init(device)?;
        self.weights.part("vae.").load_where(network, |name| layout::uses_vae_tensor(family, name))
    }
}
