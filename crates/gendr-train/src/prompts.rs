//! The embeddings that stand for a prompt: learned, stored, the same for every picture.

use crate::Result;
use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use gendr_model::{StoredModel, UnetConfig, Weights, draw_parameter};

/// Tokens of an embedding, as many as CLIP's.
pub(crate) const TOKENS: usize = 77;

/// What the UNet is told of sharp pictures, and of degraded ones (for guidance).
#[derive(Module, Debug)]
pub(crate) struct Prompts {
    pub(crate) positive: Param<Tensor<2>>,
    pub(crate) negative: Param<Tensor<2>>,
}

impl Prompts {
    /// Random embeddings of variance 1, for a UNet that looks at prompts.
    pub(crate) fn start(config: &UnetConfig, seed: u64, device: &Device) -> Option<Self> {
        let shape = [TOKENS, config.cross_attention_dim];
        let unit_variance = (3.0 * shape[1] as f32).sqrt();
        let draw = |name: &str| {
            let values = draw_parameter(seed, &format!("prompt.{name}"), &shape);
            let values: Vec<f32> = values.into_iter().map(|value| value * unit_variance).collect();
            Param::from_data(TensorData::new(values, shape), device)
        };
        config.uses_prompt().then(|| Self { positive: draw("positive"), negative: draw("negative") })
    }

    /// The embeddings of a model, fixed; where it has no negative one, the positive serves.
    pub(crate) fn of_model(model: &StoredModel, device: &Device) -> Result<Option<Self>> {
        let weights = model.weights().part("prompt.");
        let read = |name: &str| -> Result<Option<Param<Tensor<2>>>> {
            if !weights.tensors().contains_key(name) {
                return Ok(None);
            }
            let data = weights.values(name)?.convert::<f32>();
            Ok(Some(Param::from_data(data, device).set_require_grad(false)))
        };
        let Some(positive) = read("positive")? else { return Ok(None) };
        let negative = read("negative")?.unwrap_or_else(|| positive.clone());
        Ok(Some(Self { positive, negative }))
    }

    /// `[n, tokens, width]`: the negative embedding for the first `degraded` samples, the positive for the rest.
    pub(crate) fn batch(&self, degraded: usize, n: usize) -> Tensor<3> {
        let repeated = |prompt: &Param<Tensor<2>>, count: usize| {
            let [tokens, width] = prompt.val().dims();
            prompt.val().unsqueeze::<3>().expand([count, tokens, width])
        };
        match (degraded, n - degraded) {
            (0, rest) => repeated(&self.positive, rest),
            (all, 0) => repeated(&self.negative, all),
            (some, rest) => {
                Tensor::cat(vec![repeated(&self.negative, some), repeated(&self.positive, rest)], 0)
            }
        }
    }

    /// `[n, tokens, width]`: for each sample the negative embedding where it is degraded, else the positive.
    pub(crate) fn mixed(&self, degraded: &[bool]) -> Tensor<3> {
        Tensor::cat(degraded.iter().map(|&bad| self.batch(usize::from(bad), 1)).collect(), 0)
    }

    /// Both as tensors of a model file.
    pub(crate) fn weights(&self) -> Result<Weights> {
        Ok(Weights::from_module(self)?)
    }
}
