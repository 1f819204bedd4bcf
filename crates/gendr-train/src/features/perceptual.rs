//! Distances of pictures in the features of a network (LPIPS, Zhang et al. 2018).

use super::{Backbone, ConvolutionalFeatures, weights::Named};
use crate::{Error, Result};
use burn::tensor::{Device, Tensor};
use std::path::Path;

/// Added to the length that a feature is divided by.
const LEAST_LENGTH: f64 = 1e-10;

/// The distance of pictures in the features of VGG16 or AlexNet.
///
/// With the linear layers of LPIPS among the weights it is LPIPS (version 0.1); without them every channel counts alike.
#[derive(Clone, Debug)]
pub struct PerceptualDistance {
    features: ConvolutionalFeatures,
    /// Weights of the channels of each level.
    linear: Vec<Option<Tensor<1>>>,
}

impl PerceptualDistance {
    /// From files of any kind that the model loader reads: the network under torchvision's names (`features.0.weight`), and,
    /// if they are to count, LPIPS's linear layers (`lin0.model.1.weight` or `lin0.weight`).
    ///
    /// # Errors
    /// An I/O error, or an input error that names the tensor that is missing or has another shape.
    pub fn open(backbone: Backbone, files: &[impl AsRef<Path>], device: &Device) -> Result<Self> {
        let weights = Named::open(files, &[Backbone::KNOWN])?;
        let features = ConvolutionalFeatures::new(backbone, &weights, device)?;
        let linear = features.channels().into_iter().enumerate().map(|(level, channels)| {
            let names = [format!("lin{level}.model.1.weight"), format!("lin{level}.weight")];
            let name = names.iter().find(|name| weights.has(name));
            name.map(|name| weights.list(name, channels, device)).transpose()
        });
        let linear = linear.collect::<Result<Vec<_>>>()?;
        if linear.iter().any(Option::is_some) && linear.iter().any(Option::is_none) {
            return Err(Error::input("some of the linear layers of LPIPS are there and some are not"));
        }
        Ok(Self { features, linear })
    }

    /// Whether the linear layers of LPIPS are among the weights.
    pub fn is_calibrated(&self) -> bool {
        self.linear.iter().all(Option::is_some)
    }

    /// The distance of pictures `[n, 3, h, w]` in `[-1, 1]`, mean over the batch.
    pub fn forward(&self, output: Tensor<4>, reference: Tensor<4>) -> Tensor<1> {
        let (a, b) = (self.features.forward(output), self.features.forward(reference));
        let layers = a.into_iter().zip(b).zip(&self.linear);
        let distances = layers.map(|((a, b), weights)| feature_distance(a, b, weights.clone()));
        distances.reduce(|sum, layer| sum + layer).unwrap_or_else(|| Tensor::zeros([1], &Device::flex()))
    }
}

/// The squared difference of features `[n, c, h, w]`, each divided by its length over the channels: sum over channels weighted
/// by `weights` `[c]`, or by one, mean over places and samples.
pub fn feature_distance(a: Tensor<4>, b: Tensor<4>, weights: Option<Tensor<1>>) -> Tensor<1> {
    let [n, c, h, w] = a.dims();
    let squares = (unit(a) - unit(b)).powi_scalar(2);
    let squares = match weights {
        Some(weights) => squares * weights.reshape([1, c, 1, 1]),
        None => squares,
    };
    squares.sum() * (1.0 / (n * h * w) as f64)
}

/// Divided by the length over the channels, which is never zero: its gradient stays finite where all features are zero.
fn unit(x: Tensor<4>) -> Tensor<4> {
    let squares = x.clone().powi_scalar(2).sum_dim(1) + LEAST_LENGTH * LEAST_LENGTH;
    x / (squares.sqrt() + LEAST_LENGTH)
}
