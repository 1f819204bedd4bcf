//! Real-ESRGAN as a teacher: its result on a degraded crop is what the student learns.

use crate::{Result, pairs::Teacher};
use burn::tensor::{Device, Tensor, TensorData};
use gendr_image::Planes;
use gendr_model::{RrdbConfig, RrdbNet, Safetensors, StoredTensor, TensorSource, ToTensorData, load_into};
use std::{collections::BTreeMap, path::Path};

/// Crops restored at once: enough to keep the processor busy, few enough to stay out of memory's way.
const BATCH: usize = 8;

/// Real-ESRGAN x4plus.
pub(crate) struct RealEsrgan {
    network: RrdbNet,
    device: Device,
}

impl RealEsrgan {
    /// Reads the weights.
    pub(crate) fn open(weights: &Path, device: &Device) -> Result<Self> {
        let device = device.clone();
        let mut source = Named(Safetensors::open(weights)?.into_tensors());
        let network = load_into(RrdbConfig::default().init(&device)?, &mut source)?;
        Ok(Self { network, device })
    }

    fn restore_batch(&self, low: &[Planes]) -> Result<Vec<Planes>> {
        let [channels, height, width] = [low[0].channels(), low[0].height(), low[0].width()];
        let values: Vec<f32> = low.iter().flat_map(Planes::data).copied().collect();
        let data = TensorData::new(values, [low.len(), channels, height, width]);
        let high = self.network.forward(Tensor::from_data(data, &self.device)).clamp(0.0, 1.0);
        let [_, channels, height, width] = high.dims();
        let values: Vec<f32> = high.into_data().try_to_vec().map_err(|error| {
            gendr_model::Error::argument(format!("the teacher's result is not f32: {error:?}"))
        })?;
        let crops = values.chunks_exact(channels * height * width);
        crops.map(|crop| Ok(Planes::from_vec(channels, height, width, crop.to_vec())?)).collect()
    }
}

impl Teacher for RealEsrgan {
    fn restore(&self, low: &[Planes]) -> Result<Vec<Planes>> {
        let parts: Result<Vec<_>> = low.chunks(BATCH).map(|part| self.restore_batch(part)).collect();
        Ok(parts?.into_iter().flatten().collect())
    }
}

/// The tensors of a file by name.
struct Named(BTreeMap<String, StoredTensor>);

impl TensorSource for Named {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> gendr_model::Result<TensorData> {
        let missing = || gendr_model::Error::input(format!("tensor {name} is missing"));
        self.0.remove(name).ok_or_else(missing)?.reshape(shape)?.to_f32(name)
    }
}
