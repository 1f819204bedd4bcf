//! Low-rank adapters: W + (alpha / r) B A.
//!
//! Names are those of peft (`base_model.model.LAYER.lora_A.weight`, with or without the prefix and an adapter's name)
//! and of OSEDiff's checkpoints (`state_dict_unet` and `state_dict_vae` with peft names inside). For a convolution A is
//! a kernel of r outputs and B a 1x1 convolution, so that the product is the same once both are seen as matrices.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;
use gendr_weights::{StoredTensor, shown};
use rayon::prelude::*;
use serde::Deserialize;

use super::{diffusers_folder::read_json, old_names, tensor_data::hash_tensor};
use crate::error::{Error, Result};

/// Longest adapter configuration read.
const MAX_CONFIG: u64 = 1 << 20;

/// What peft's `LoraConfig` has where nothing is said, as in OSEDiff.
const DEFAULT_ALPHA: f64 = 8.0;

/// Rows of a weight that one task updates.
const ROWS_PER_TASK: usize = 64;

/// Values of a row that are updated at a time: A's part of that width stays in the cache for all rows.
const COLUMNS: usize = 1 << 10;

/// A LoRA file: what it changes in which tensor of a model.
#[derive(Clone, Debug)]
pub struct Lora {
    updates: Vec<(String, Update)>,
    file: PathBuf,
}

/// One change of a tensor.
#[derive(Clone, Debug)]
pub(super) enum Update {
    /// A layer that was trained whole.
    Replace(StoredTensor),
    /// A product of two low-rank matrices.
    Add(LowRank),
}

impl Update {
    pub(super) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Replace(tensor) => tensor.shape().to_vec(),
            Self::Add(low_rank) => vec![low_rank.rows, low_rank.columns],
        }
    }
}

/// scale * B A, `rows` x `columns`.
#[derive(Clone, Debug)]
pub(super) struct LowRank {
    a: StoredTensor,
    b: StoredTensor,
    scale: f32,
    rank: usize,
    rows: usize,
    columns: usize,
    /// The layer, for errors about values.
    layer: String,
}

impl LowRank {
    pub(super) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&self.scale.to_le_bytes());
        hash_tensor(&self.a, hasher);
        hash_tensor(&self.b, hasher);
    }

    fn new(layer: &str, a: StoredTensor, b: StoredTensor, scaling: &Scaling) -> Result<Self> {
        let product = |shape: &[usize]| shape.iter().product::<usize>();
        let (&[rank, ref kernel @ ..], &[rows, inner, ref rest @ ..]) = (a.shape(), b.shape()) else {
            return Err(Error::input(format!(
                "LoRA matrices of {layer} have shapes {:?} and {:?}",
                a.shape(),
                b.shape()
            )));
        };
        // Only the shapes of tensors that are not empty are known to have a product.
        if a.is_empty() || b.is_empty() || rank != inner || product(rest) != 1 {
            return Err(Error::input(format!(
                "LoRA matrices of {layer} have shapes {:?} and {:?}, whose product is not defined",
                a.shape(),
                b.shape()
            )));
        }
        let columns = product(kernel);
        let scale = scaling.scale(layer, rank)?;
        Ok(Self { a, b, scale, rank, rows, columns, layer: layer.to_owned() })
    }

    /// Whether the product can be added to `tensor`: [out, in] or [out, in, height, width].
    pub(super) fn fits(&self, tensor: &StoredTensor) -> bool {
        tensor.shape().first() == Some(&self.rows) && tensor.len() == self.rows * self.columns
    }

    fn add_to(&self, weight: &mut [f32]) -> Result<()> {
        let values = |tensor: &StoredTensor, name: &str| tensor.values(&format!("{}.{name}", self.layer));
        let (a, b) = (values(&self.a, "lora_A")?, values(&self.b, "lora_B")?);
        let task = self.columns * ROWS_PER_TASK;
        weight.par_chunks_mut(task).zip(b.par_chunks(self.rank * ROWS_PER_TASK)).for_each(|(weight, b)| {
            for start in (0..self.columns).step_by(COLUMNS) {
                let end = (start + COLUMNS).min(self.columns);
                for (row, b) in weight.chunks_mut(self.columns).zip(b.chunks(self.rank)) {
                    for (a, factor) in a.chunks(self.columns).zip(b) {
                        add_scaled(&mut row[start..end], &a[start..end], self.scale * factor);
                    }
                }
            }
        });
        Ok(())
    }
}

fn add_scaled(sum: &mut [f32], values: &[f32], factor: f32) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

/// The stored values of a tensor with all updates added.
pub(super) fn merge(stored: TensorData, updates: &[LowRank]) -> Result<TensorData> {
    let shape = stored.shape().to_vec();
    let mut weight = stored
        .try_into_vec::<f32>()
        .map_err(|error| Error::input(format!("weight under a LoRA: {error:?}")))?;
    updates.iter().try_for_each(|update| update.add_to(&mut weight))?;
    Ok(TensorData::new(weight, shape))
}

impl Lora {
    /// Opens a LoRA: `.safetensors`, or a torch file (`.pkl`, `.bin`, `.pt` ...).
    ///
    /// The factor alpha comes from `LAYER.alpha` in the file, or from `NAME.json` or peft's `adapter_config.json` beside
    /// it, or, in an OSEDiff checkpoint, is peft's 8.
    ///
    /// # Errors
    /// As [`Weights::open`](super::Weights::open), and [`ErrorKind::Input`](crate::ErrorKind::Input) when A or B of a
    /// layer is missing, their product is not defined, or nothing says what alpha is.
    pub fn open(path: &Path) -> Result<Self> {
        let tensors = gendr_weights::open(path)?;
        let config =
            beside(path).map(|config| read_json::<AdapterConfig>(&config, MAX_CONFIG)).transpose()?;
        Self::new(tensors, config, path).map_err(|error| error.in_file(path))
    }

    fn new(
        tensors: BTreeMap<String, StoredTensor>,
        config: Option<AdapterConfig>,
        path: &Path,
    ) -> Result<Self> {
        let osediff = tensors.keys().any(|name| name.starts_with("state_dict_unet."));
        let mut scaling =
            Scaling { config, layers: BTreeMap::new(), default: osediff.then_some(DEFAULT_ALPHA) };
        if let Some(config) = &scaling.config {
            config.check()?;
        }
        let mut pairs = BTreeMap::<_, (Option<StoredTensor>, Option<StoredTensor>)>::new();
        let mut updates = Vec::new();
        for (name, tensor) in tensors {
            match Key::parse(&name)? {
                Key::A(layer, adapter) => pairs.entry((layer, adapter)).or_default().0 = Some(tensor),
                Key::B(layer, adapter) => pairs.entry((layer, adapter)).or_default().1 = Some(tensor),
                Key::Alpha(layer) => {
                    let alpha = tensor.values(&name)?.first().copied();
                    scaling.layers.extend(alpha.map(|alpha| (layer, f64::from(alpha))));
                }
                Key::Whole(name) => updates.push((name, Update::Replace(tensor))),
            }
        }
        // Whole layers come first: their adapters add to them.
        for ((layer, _), pair) in pairs {
            let layer = shown(&layer);
            let (Some(a), Some(b)) = pair else {
                return Err(Error::input(format!("LoRA of {layer} lacks lora_A or lora_B")));
            };
            let low_rank = LowRank::new(&layer, a, b, &scaling)?;
            updates.push((format!("{layer}.weight"), Update::Add(low_rank)));
        }
        Ok(Self { updates, file: path.to_owned() })
    }

    /// Number of tensors it changes or replaces.
    pub fn len(&self) -> usize {
        self.updates.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }

    pub(super) fn updates(&self) -> &[(String, Update)] {
        &self.updates
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

/// What a tensor of a LoRA file is, by its name.
enum Key {
    /// Layer and adapter.
    A(String, String),
    B(String, String),
    Alpha(String),
    Whole(String),
}

impl Key {
    fn parse(name: &str) -> Result<Self> {
        let plain = name.strip_prefix("base_model.model.").unwrap_or(name);
        let plain = match plain.split_once('.') {
            Some(("state_dict_unet", rest)) => format!("unet.{rest}"),
            Some(("state_dict_vae", rest)) => format!("vae.{rest}"),
            _ => plain.to_owned(),
        };
        let plain = old_names::modern(&plain);
        let unknown = || Error::input(format!("LoRA key {} is of no known kind", shown(name)));
        for (mark, make) in [(".lora_A.", Self::A as fn(_, _) -> _), (".lora_B.", Self::B)] {
            if let Some((layer, rest)) = plain.split_once(mark) {
                let adapter = rest.strip_suffix("weight").ok_or_else(unknown)?;
                return Ok(make(layer.to_owned(), adapter.to_owned()));
            }
        }
        if let Some(layer) = plain.strip_suffix(".alpha") {
            return Ok(Self::Alpha(layer.to_owned()));
        }
        if plain.contains("lora_") {
            return Err(unknown());
        }
        Ok(Self::Whole(plain.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")))
    }
}

/// The configuration that belongs to the LoRA at `path`.
fn beside(path: &Path) -> Option<PathBuf> {
    [path.with_extension("json"), path.with_file_name("adapter_config.json")]
        .into_iter()
        .find(|config| config.is_file())
}

/// The parts of peft's `adapter_config.json` that change the product.
#[derive(Clone, Debug, Deserialize)]
struct AdapterConfig {
    lora_alpha: f64,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
}

impl AdapterConfig {
    fn check(&self) -> Result<()> {
        if self.use_dora || self.fan_in_fan_out {
            return Err(Error::unsupported("LoRA with use_dora or fan_in_fan_out"));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
        match self.alpha_pattern.keys().find(|pattern| !pattern.chars().all(is_plain)) {
            None => Ok(()),
            Some(pattern) => Err(Error::unsupported(format!("LoRA alpha_pattern {}", shown(pattern)))),
        }
    }

    fn alpha(&self, layer: &str) -> f64 {
        let matches = |pattern: &str| {
            layer.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let special = self.alpha_pattern.iter().find(|(pattern, _)| matches(pattern));
        special.map_or(self.lora_alpha, |(_, alpha)| *alpha)
    }
}

/// Where the factor of a layer comes from.
struct Scaling {
    config: Option<AdapterConfig>,
    layers: BTreeMap<String, f64>,
    default: Option<f64>,
}

impl Scaling {
    /// alpha / r, or alpha / sqrt(r) where the configuration says rank-stabilised.
    fn scale(&self, layer: &str, rank: usize) -> Result<f32> {
        let alpha = self
            .layers
            .get(layer)
            .copied()
            .or_else(|| self.config.as_ref().map(|config| config.alpha(layer)))
            .or(self.default)
            .ok_or_else(|| {
                Error::input("LoRA that does not say its alpha")
                    .with_hint("put peft's adapter_config.json, with lora_alpha, beside the file")
            })?;
        let stabilised = self.config.as_ref().is_some_and(|config| config.use_rslora);
        let rank = rank as f64;
        let scale = alpha / if stabilised { rank.sqrt() } else { rank };
        if !scale.is_finite() {
            return Err(Error::input(format!("LoRA alpha of {layer} is {alpha}")));
        }
        Ok(scale as f32)
    }
}
