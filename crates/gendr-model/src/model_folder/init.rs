//! Models of random weights, of any size.

use std::{collections::BTreeMap, path::Path};

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};

use super::{
    Description, Family,
    layout::{self, Part},
    save::save,
};
use crate::{
    error::{Error, ErrorKind, Result},
    parameters::{NamedVisitor, draw, visit_named},
    weights::Precision,
};

/// Tokens of a random prompt, as many as CLIP's.
const PROMPT_TOKENS: usize = 77;

/// The last layer of each residual branch.
const RESIDUAL_ENDS: [&str; 4] =
    [".conv2.weight", ".proj_out.weight", ".to_out.0.weight", ".ff.net.2.weight"];
/// Residual branches begin small, so that deep networks of random weights pass on their input: latent diffusion has them
/// begin at zero (`zero_module`), but then a test of random weights would miss most of the network.
const RESIDUAL_GAIN: f32 = 0.1;

/// Writes a model of random weights to `target`, a folder or a single file as in [`StoredModel::save`]; one tensor at
/// a time is in memory, so that the full size is no problem.
///
/// Matrices and kernels are uniform on ±1/√(fan in), a tenth of that at the end of residual branches, vectors keep the constant their layer starts with (norm weights
/// 1, biases 0), prompts are uniform with variance 1. The values depend on the seed and the tensor's name alone.
///
/// # Errors
/// [`ErrorKind::Input`] when a configuration is missing or contradicts itself, and as [`StoredModel::save`].
///
/// [`StoredModel::save`]: super::StoredModel::save
pub fn initialize_model(
    description: &Description,
    seed: u64,
    target: &Path,
    precision: Precision,
) -> Result<()> {
    description.check_fit()?;
    let mut parts = layout::networks(description)?;
    if description.family.has_unet() {
        let width = description.unet_config()?.cross_attention_dim;
        let shape = vec![PROMPT_TOKENS, width];
        let tensors = ["positive", "negative"].map(|name| (name.to_owned(), shape.clone())).to_vec();
        parts.push(Part { name: "prompt", prefix: "prompt.", tensors });
    }
    let constants = constants(description)?;
    let values = |name: &str, shape: &[usize]| {
        if let Some(constant) = constants.get(name) {
            return Ok(constant.clone());
        }
        let mut values = draw(seed, name, shape);
        if RESIDUAL_ENDS.iter().any(|end| name.ends_with(end)) {
            values.iter_mut().for_each(|value| *value *= RESIDUAL_GAIN);
        }
        if name.starts_with("prompt.") {
            let to_unit_variance = (3.0 * shape[1] as f32).sqrt();
            values.iter_mut().for_each(|value| *value *= to_unit_variance);
        }
        Ok(TensorData::new(values, shape.to_vec()))
    };
    save(description, &parts, &values, target, precision)
}

/// The vectors of all networks as their layers start, by their names in a single file.
fn constants(description: &Description) -> Result<BTreeMap<String, TensorData>> {
    let device = Device::flex();
    let mut constants = BTreeMap::new();
    match description.family {
        Family::Rrdb => {
            collect(&description.rrdb.clone().unwrap_or_default().init(&device)?, "", &mut constants)?;
        }
        Family::Compact => {
            collect(&description.compact.clone().unwrap_or_default().init(&device)?, "", &mut constants)?;
        }
        Family::Latent | Family::Adc | Family::Pix => {
            collect(&description.unet_config()?.init(&device)?, "unet.", &mut constants)?;
        }
    }
    if description.family.has_vae() {
        collect(&description.vae_config()?.init(&device)?, "vae.", &mut constants)?;
    }
    Ok(constants)
}

fn collect<M: Module>(module: &M, prefix: &str, constants: &mut BTreeMap<String, TensorData>) -> Result<()> {
    let mut vectors = Vectors { prefix, constants, result: Ok(()) };
    visit_named(module, &mut vectors);
    vectors.result
}

/// Keeps the values of vectors; those of matrices are never made.
struct Vectors<'a> {
    prefix: &'a str,
    constants: &'a mut BTreeMap<String, TensorData>,
    result: Result<()>,
}

impl NamedVisitor for Vectors<'_> {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
        if D > 1 || self.result.is_err() {
            return;
        }
        match param.val().try_into_data() {
            Ok(values) => drop(self.constants.insert(format!("{}{name}", self.prefix), values)),
            Err(error) => {
                self.result = Err(Error::new(ErrorKind::Resource, format!("cannot read parameter {name}"))
                    .with_hint(error.to_string()));
            }
        }
    }
}
