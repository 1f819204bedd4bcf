//! Low-rank adaptation of a network whose own weights stay as they are (Hu et al. 2021; names and shapes as peft's).

use crate::{
    Error, ErrorKind, Result,
    parameters::{Parameters, read},
};
use burn::{
    module::{Module, Param},
    tensor::{Device, Gradients, Tensor, TensorData},
};
use gendr_model::{NamedMapper, NamedVisitor, map_named, names_and_shapes, visit_named};
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

/// An adaptation whose matrices are tensors.
#[derive(Clone, Debug)]
pub struct Lora {
    /// `[rank, in * kernel]` and `[out, rank]` of every layer, by its name.
    layers: BTreeMap<String, (Tensor<2>, Tensor<2>)>,
    factor: f64,
}

impl Lora {
    /// An adaptation with values from outside: `NAME.lora_A.weight` `[rank, in, ...]` and `NAME.lora_B.weight`
    /// `[out, rank, ...]` by their names.
    ///
    /// # Errors
    /// An input error where one of a pair is missing or they do not fit together.
    pub fn new(
        config: &LoraConfig,
        mut tensors: BTreeMap<String, TensorData>,
        device: &Device,
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
                Some(Tensor::<2>::from_data(data, (device, dtype)))
            };
            let pair = matrix("A").zip(matrix("B"));
            let pair = pair.filter(|(a, b)| a.dims()[0] == b.dims()[1] && a.dims()[0] == config.rank);
            let pair = pair.ok_or_else(|| Error::input(format!("no pair of LoRA matrices for {name}")))?;
            layers.insert(name, pair);
        }
        Ok(Self { layers, factor: config.alpha / config.rank as f64 })
    }

    /// The network with merged weights, nothing tracked.
    pub fn adapt<M: Module>(&self, module: M) -> M {
        map_named(module, &mut Merge { lora: self, tracked: false })
    }

    /// The same with the merged weights tracked: [`Lora::gradients`] makes those of the matrices out of theirs.
    pub fn adapt_tracked<M: Module>(&self, module: M) -> M {
        map_named(module, &mut Merge { lora: self, tracked: true })
    }

    /// Takes the gradients of the merged weights of `module` out of `gradients` and returns those of the matrices by their
    /// names: B^T G and G A^T, times the factor, for the gradient G of a weight. Layers without gradient are left out.
    ///
    /// # Errors
    /// A resource error where they cannot be read.
    pub fn gradients<M: Module>(
        &self,
        module: &M,
        gradients: &mut Gradients,
    ) -> Result<BTreeMap<String, Vec<f32>>> {
        let mut collect = Collect { lora: self, gradients, found: BTreeMap::new(), failed: false };
        visit_named(module, &mut collect);
        match collect.failed {
            true => Err(Error::new(ErrorKind::Resource, "gradients cannot be read from the device")),
            false => Ok(collect.found),
        }
    }

    /// The matrices of the layer that a parameter belongs to.
    fn layer(&self, parameter: &str) -> Option<(&String, &(Tensor<2>, Tensor<2>))> {
        self.layers.get_key_value(parameter.strip_suffix(".weight")?)
    }
}

struct Merge<'a> {
    lora: &'a Lora,
    tracked: bool,
}

impl NamedMapper for Merge<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let layer = self.lora.layer(name).filter(|_| D > 1);
        let Some((_, (a, b))) = layer else { return param.set_require_grad(false) };
        let weight = param.val().detach();
        let change = b.clone().matmul(a.clone()) * self.lora.factor;
        let merged = (weight.clone() + change.reshape(weight.shape())).detach();
        Param::initialized(param.id, merged.set_require_grad(self.tracked))
    }
}

struct Collect<'a> {
    lora: &'a Lora,
    gradients: &'a mut Gradients,
    found: BTreeMap<String, Vec<f32>>,
    failed: bool,
}

impl NamedVisitor for Collect<'_> {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
        let Some((layer, (a, b))) = self.lora.layer(name).filter(|_| D > 1) else { return };
        let Some(gradient) = param.val().grad_remove(self.gradients) else { return };
        let rows = gradient.dims()[0];
        let columns = gradient.shape().num_elements() / rows;
        let gradient = gradient.reshape([rows, columns]);
        let [a, b] = [a, b].map(|matrix| matrix.clone().inner());
        let of_a = b.transpose().matmul(gradient.clone()) * self.lora.factor;
        let of_b = gradient.matmul(a.transpose()) * self.lora.factor;
        for (which, tensor) in [("A", of_a), ("B", of_b)] {
            match read(tensor) {
                Some(values) => _ = self.found.insert(format!("{layer}.lora_{which}.weight"), values),
                None => self.failed = true,
            }
        }
    }
}
