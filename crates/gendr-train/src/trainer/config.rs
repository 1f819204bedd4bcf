//! Settings that the stages share.

use crate::{Error, Result, degradations::Degradations, photos::PhotosConfig, same_size::SameSizeConfig};
use burn::tensor::Device;
use gendr_degrade::DegradationConfig;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// Where a run takes place: its folders, and the device that computes.
#[derive(Clone, Debug)]
pub struct Paths {
    /// What the paths of the configuration are relative to.
    pub data: PathBuf,
    /// Where training pairs are kept between runs.
    pub cache: PathBuf,
    /// Where the log, the checkpoints and the result go.
    pub run: PathBuf,
    /// What computes, without gradients.
    pub device: Device,
}

/// Photographs and their degradation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// How many pairs are made.
    pub pairs: usize,
    /// How sharp crops go bad.
    pub preset: Presets,
    /// How much larger the result is than the input.
    pub scale: usize,
    /// Most memory, in MiB, for pairs that are read ahead of their use; it does not change the result.
    #[serde(default = "default_memory_mib", skip_serializing)]
    pub memory_mib: u64,
    /// Keep latents and features of all pairs on disk instead of computing them in every step; pairs are not turned then.
    /// For `base` and `distill`.
    #[serde(default)]
    pub cache_latents: bool,
    /// Inputs that have the size of the result, among the pairs to learn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_size: Option<SameSizeConfig>,
    /// Where the sharp crops come from.
    pub photos: PhotosConfig,
}

/// A degradation preset, or several with the share of pairs that each makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Presets {
    /// The name of one.
    One(String),
    /// Shares by name, relative to each other.
    Mixed(BTreeMap<String, f64>),
}

/// How long a stage trains, and on how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepsConfig {
    /// Steps in all.
    pub steps: u64,
    /// Pictures that go through the networks at once.
    pub batch: usize,
    /// How many such batches make one step.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// Steps of the rise to the full learning rate; a half cosine down to zero follows.
    pub warmup: u64,
}

fn default_memory_mib() -> u64 {
    1024
}

pub(crate) fn one() -> usize {
    1
}

/// Scores on held-out photographs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Steps between two validations.
    pub every: u64,
    /// How many pairs are scored.
    pub pairs: usize,
}

/// States to resume from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between two checkpoints.
    pub every: u64,
    /// How many are kept.
    pub keep: usize,
}

/// A rule in words, and whether it holds.
pub(crate) type Rule = (&'static str, bool);

/// An argument error for the first rule that does not hold.
pub(crate) fn check_rules(rules: &[Rule]) -> Result<()> {
    match rules.iter().find(|(_, holds)| !holds) {
        Some((rule, _)) => Err(Error::argument(*rule)),
        None => Ok(()),
    }
}

impl Presets {
    /// The degradations with their shares, at least one. `name` is what the setting is called.
    pub(crate) fn read(&self, name: &str, scale: usize) -> Result<Degradations> {
        let read = |preset: &str, share: f64| Ok((share, DegradationConfig::preset(preset, scale)?));
        let found: Vec<_> = match self {
            Self::One(preset) => vec![read(preset, 1.0)?],
            Self::Mixed(shares) => {
                shares.iter().map(|(preset, &share)| read(preset, share)).collect::<Result<_>>()?
            }
        };
        let positive = found.iter().all(|&(share, _)| share.is_finite() && share > 0.0);
        match positive && !found.is_empty() {
            true => Ok(Degradations::new(found)),
            false => Err(Error::argument(format!("{name} must be a name or names with shares above 0"))),
        }
    }
}

impl DataConfig {
    /// Most bytes of pairs in memory.
    pub(crate) fn memory(&self) -> u64 {
        self.memory_mib << 20
    }

    /// The degradations with their shares, at least one.
    pub(crate) fn degradations(&self) -> Result<Degradations> {
        self.preset.read("data.preset", self.scale)
    }

    /// What holds for all stages; the crop must be a multiple of `factor`, too.
    pub(crate) fn rules(&self, factor: usize) -> [Rule; 4] {
        let crop = self.photos.crop;
        let divides = |side: usize| side > 0 && crop.is_multiple_of(side);
        let share = self.same_size.as_ref().map_or(0.0, |same_size| same_size.share);
        [
            ("data.same_size.share must be 0 to 1", (0.0..=1.0).contains(&share)),
            ("data.memory_mib must be 1 to 1048576", (1..=1 << 20).contains(&self.memory_mib)),
            ("data.pairs must be 1 to 1000000", (1..=1_000_000).contains(&self.pairs)),
            (
                "data.photos.crop must be 16 to 1024 and a multiple of scale, of 8 and of the network's factor",
                (16..=1024).contains(&crop) && [8, self.scale, factor].into_iter().all(divides),
            ),
        ]
    }
}

impl StepsConfig {
    pub(crate) fn rules(&self) -> [Rule; 2] {
        [
            ("training.batch must be 1 to 4096", (1..=4096).contains(&self.batch)),
            ("training.accumulation must be 1 to 4096", (1..=4096).contains(&self.accumulation)),
        ]
    }
}

impl CheckpointConfig {
    pub(crate) fn rules(&self, validation: &ValidationConfig) -> [Rule; 2] {
        [
            (
                "validation.every and checkpoints.every must be at least 1",
                validation.every > 0 && self.every > 0,
            ),
            ("checkpoints.keep must be at least 1", self.keep > 0),
        ]
    }
}
