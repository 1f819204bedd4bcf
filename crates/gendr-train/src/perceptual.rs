//! The perceptual term of the stages, and where its features come from.

use crate::{
    Error, Result,
    features::{Backbone, PerceptualDistance, feature_distance},
    progress::{Event, Progress},
    trainer::Rule,
};
use burn::tensor::{Device, Tensor};
use gendr_model::{AutoencoderKl, Pass};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A distance of pictures in the features of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PerceptualConfig {
    /// Weight of the term; without weight nothing is loaded.
    pub weight: f64,
    /// Which network.
    pub network: Backbone,
    /// Its weights under torchvision's names, and LPIPS's linear layers if they are to count; files relative to the data folder.
    /// Without any, the features are those of the autoencoder's own encoder.
    pub weights: Vec<PathBuf>,
}

impl PerceptualConfig {
    pub(crate) fn rules(&self, crop: usize) -> [Rule; 2] {
        [
            ("perceptual.weight must be a number from 0", self.weight.is_finite() && self.weight >= 0.0),
            ("data.photos.crop must be at least 31 for AlexNet", {
                self.weight == 0.0 || self.weights.is_empty() || crop >= self.network.least_side()
            }),
        ]
    }

    /// The term, if it has weight; says which features it looks at.
    pub(crate) fn open(
        &self,
        data: &Path,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<Option<Perceptual>> {
        if self.weight == 0.0 {
            return Ok(None);
        }
        let files: Vec<PathBuf> = self.weights.iter().map(|file| data.join(file)).collect();
        let network = match files.is_empty() {
            true => None,
            false => Some(PerceptualDistance::open(self.network, &files, device)?),
        };
        progress.report(Event::Note(match &network {
            None => "perceptual term: features of the autoencoder's own encoder, for want of weight files",
            Some(network) if network.is_calibrated() => "perceptual term: LPIPS from weight files",
            Some(_) => "perceptual term: features from weight files, every channel alike",
        }));
        Ok(Some(Perceptual { weight: self.weight, network }))
    }
}

/// The term, ready to use.
#[derive(Clone, Debug)]
pub(crate) struct Perceptual {
    pub(crate) weight: f64,
    /// None where the autoencoder's own encoder serves.
    network: Option<PerceptualDistance>,
}

impl Perceptual {
    /// The distance of pictures `[n, 3, h, w]` in `[-1, 1]`, mean over the batch. `own` is a fixed autoencoder, if there is one.
    pub(crate) fn distance(
        &self,
        own: Option<&AutoencoderKl>,
        output: Tensor<4>,
        reference: Tensor<4>,
    ) -> Result<Tensor<1>> {
        if let Some(network) = &self.network {
            return Ok(network.forward(output, reference));
        }
        let own = own.ok_or_else(|| {
            Error::argument("a perceptual term without an encoder")
                .with_hint("name weight files in perceptual.weights")
        })?;
        let (a, b) = (encoder_features(own, output), encoder_features(own, reference));
        let distances = a.into_iter().zip(b).map(|(a, b)| feature_distance(a, b, None));
        distances
            .reduce(|sum, level| sum + level)
            .ok_or_else(|| Error::unsupported("an encoder without levels"))
    }
}

/// The output of every level of the encoder.
fn encoder_features(network: &AutoencoderKl, picture: Tensor<4>) -> Vec<Tensor<4>> {
    let mut features = Vec::new();
    let mut observe = |name: &str, x: &Tensor<4>| {
        if name.starts_with("encoder.down_blocks.") {
            features.push(x.clone());
        }
    };
    network.moments(picture, &mut Pass::whole().observed(&mut observe));
    features
}
