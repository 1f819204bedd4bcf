//! Low-rank adaptation of a network whose own weights stay as they are (Hu et al. 2021; names and shapes as peft's).

use crate::{Result, parameters::Parameters};
use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use gendr_model::{NamedMapper, map_named, names_and_shapes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rank and strength of an adaptation: W becomes W + alpha / rank B A.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Inner width.
    pub rank: usize,
    /// Numerator of the factor.
    pub alpha: f64,
}

impl Default for LoraConfig {
    /// Rank 64, alpha 128 (arXiv 2503.06790).
    fn default() -> Self {
        Self { rank: 64, alpha: 128.0 }
    }
}

impl LoraConfig {
    /// The parameters of an adaptation of all matrices and kernels of `module`, `NAME.lora_A.weight` and
    /// `NAME.lora_B.weight` each. A is drawn from `seed`, uniform on ±1/√(fan in); B is zero, so that nothing changes at first.
    pub(crate) fn start<M: Module>(&self, module: &M, seed: u64) -> Parameters {
        let mut parameters = Parameters::default();
        for (name, shape) in names_and_shapes(module) {
            let Some(layer) = name.strip_suffix(".weight").filter(|_| shape.len() > 1) else { continue };
            let mut shape_a = shape.clone();
            shape_a[0] = self.rank;
            let mut shape_b = vec![1; shape.len()];
            (shape_b[0], shape_b[1]) = (shape[0], self.rank);
            let name_a = format!("{layer}.lora_A.weight");
            let values_a = gendr_model::draw_parameter(seed, &name_a, &shape_a);
            let values_b = vec![0.0; shape[0] * self.rank];
            parameters.push(name_a, shape_a, values_a);
            parameters.push(format!("{layer}.lora_B.weight"), shape_b, values_b);
        }
        parameters
    }
}

/// An adaptation whose matrices are tensors: of a device with gradients, or not.
#[derive(Clone, Debug)]
pub struct Lora {
    /// `[rank, in * kernel]` and `[out, rank]` of every layer, by its name.
    layers: BTreeMap<String, (Tensor<2>, Tensor<2>)>,
    factor: f64,
}

impl Lora {
    /// An adaptation with values from outside: `NAME.lora_A.weight` `[rank, in, ...]` and `NAME.lora_B.weight`
    /// `[out, rank, ...]` by their names; `tracked` where their gradients are wanted.
    ///
    /// # Errors
    /// An input error where one of a pair is missing or they do not fit together.
    pub fn new(
        config: &LoraConfig,
        mut tensors: BTreeMap<String, TensorData>,
        device: &Device,
        tracked: bool,
    ) -> Result<Self> {
        let names: Vec<String> =
            tensors.keys().filter_map(|name| Some(name.strip_suffix(".lora_A.weight")?.to_owned())).collect();
        let mut layers = BTreeMap::new();
        for name in names {
            let mut matrix = |which: &str| {
                let data = tensors.remove(&format!("{name}.lora_{which}.weight"))?;
                let rows = data.shape().as_slice().first().copied().filter(|&rows| rows > 0)?;
                let dtype = data.dtype();
                let columns = data.num_elements() / rows;
                let data = TensorData::from_bytes_vec(data.bytes().to_vec(), [rows, columns], dtype);
                let tensor = Tensor::<2>::from_data(data, (device, dtype));
                Some(if tracked { tensor.require_grad() } else { tensor })
            };
            let pair = matrix("A").zip(matrix("B"));
            let pair = pair.filter(|(a, b)| a.dims()[0] == b.dims()[1] && a.dims()[0] == config.rank);
            let pair =
                pair.ok_or_else(|| crate::Error::input(format!("no pair of LoRA matrices for {name}")))?;
            layers.insert(name, pair);
        }
        Ok(Self { layers, factor: config.alpha / config.rank as f64 })
    }

    /// The network with merged weights. Where the matrices are tracked, gradients lead to them: `module` itself must not be
    /// tracked, and can be used again.
    pub fn adapt<M: Module>(&self, module: M) -> M {
        map_named(module, &mut Merge { lora: self })
    }

    /// The matrices A and B of a layer, `[rank, in * kernel]` and `[out, rank]`.
    pub fn matrices(&self, layer: &str) -> Option<&(Tensor<2>, Tensor<2>)> {
        self.layers.get(layer)
    }
}

struct Merge<'a> {
    lora: &'a Lora,
}

impl NamedMapper for Merge<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let layer = name.strip_suffix(".weight").and_then(|layer| self.lora.layers.get(layer));
        let Some((a, b)) = layer.filter(|_| D > 1) else { return param };
        let weight = param.val().detach();
        let change = b.clone().matmul(a.clone()) * self.lora.factor;
        let merged = weight.clone() + change.reshape(weight.shape());
        Param::initialized(param.id, merged)
    }
}
