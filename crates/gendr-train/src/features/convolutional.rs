//! The convolutional parts of VGG16 and AlexNet, under the names of torchvision.

use super::weights::Named;
use crate::Result;
use burn::tensor::{Device, Tensor, activation::relu, module::max_pool2d, ops::MaxPoolOptions};
use gendr_model::ops::{self, Padding};
use serde::{Deserialize, Serialize};

/// Mean and deviation of the pictures that the networks know, for values in `[-1, 1]` (LPIPS).
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];

/// Which network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backbone {
    /// VGG16 (Simonyan and Zisserman 2014), the usual one for training.
    #[default]
    Vgg16,
    /// AlexNet (Krizhevsky et al. 2012).
    Alexnet,
}

/// A convolution with ReLU.
#[derive(Clone, Debug)]
struct Convolution {
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: usize,
}

/// Maps that are pooled by squares of a side first, if any, and then go through convolutions.
#[derive(Clone, Debug)]
struct Level {
    pool: Option<usize>,
    convolutions: Vec<Convolution>,
}

/// A network in five levels; the maps after each are its features.
#[derive(Clone, Debug)]
pub struct ConvolutionalFeatures {
    levels: Vec<Level>,
}

impl Backbone {
    /// The first convolution's weight.
    pub(super) const KNOWN: &'static str = "features.0.weight";

    /// Side of the smallest picture.
    pub(crate) fn least_side(self) -> usize {
        match self {
            Self::Vgg16 => 16,
            Self::Alexnet => 31,
        }
    }

    /// The side of the squares that maps are pooled by, and which layers of torchvision are a level's convolutions.
    fn levels(self) -> [(Option<usize>, &'static [usize]); 5] {
        let (two, three) = (Some(2), Some(3));
        match self {
            Self::Vgg16 => [
                (None, &[0, 2]),
                (two, &[5, 7]),
                (two, &[10, 12, 14]),
                (two, &[17, 19, 21]),
                (two, &[24, 26, 28]),
            ],
            Self::Alexnet => [(None, &[0]), (three, &[3]), (three, &[6]), (None, &[8]), (None, &[10])],
        }
    }

    /// Kernel, stride and padding of a layer.
    fn geometry(self, layer: usize) -> (i64, usize, usize) {
        match (self, layer) {
            (Self::Alexnet, 0) => (11, 4, 2),
            (Self::Alexnet, 3) => (5, 1, 2),
            _ => (3, 1, 1),
        }
    }
}

impl ConvolutionalFeatures {
    pub(super) fn new(backbone: Backbone, weights: &Named, device: &Device) -> Result<Self> {
        let mut channels = 3;
        let mut convolution = |layer: usize| -> Result<Convolution> {
            let (kernel, stride, padding) = backbone.geometry(layer);
            let wanted = [-1, channels, kernel, kernel];
            let weight = weights.tensor(&format!("features.{layer}.weight"), wanted, device)?;
            channels = weight.dims()[0] as i64;
            let bias = weights.list(&format!("features.{layer}.bias"), weight.dims()[0], device)?;
            Ok(Convolution { weight, bias, stride, padding })
        };
        let level = |(pool, layers): (Option<usize>, &[usize])| {
            let convolutions = layers.iter().map(|&layer| convolution(layer)).collect::<Result<_>>()?;
            Ok(Level { pool, convolutions })
        };
        Ok(Self { levels: backbone.levels().into_iter().map(level).collect::<Result<_>>()? })
    }

    /// Channels of the features of each level.
    pub(super) fn channels(&self) -> Vec<usize> {
        let last = |level: &Level| level.convolutions.last().map_or(0, |conv| conv.weight.dims()[0]);
        self.levels.iter().map(last).collect()
    }

    /// The features of each level of pictures `[n, 3, h, w]` in `[-1, 1]`, outermost first.
    pub fn forward(&self, picture: Tensor<4>) -> Vec<Tensor<4>> {
        let device = picture.device();
        let row = |values: [f32; 3]| Tensor::<1>::from_floats(values, &device).reshape([1, 3, 1, 1]);
        let mut x = (picture - row(SHIFT)) / row(SCALE);
        let mut features = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            if let Some(side) = level.pool {
                x = max_pool2d(x, MaxPoolOptions::new([side; 2]).with_stride([2, 2]));
            }
            for Convolution { weight, bias, stride, padding } in &level.convolutions {
                let (weight, bias) = (weight.clone(), Some(bias.clone()));
                x = relu(ops::conv2d(x, weight, bias, *stride, Padding::all(*padding), None));
            }
            features.push(x.clone());
        }
        features
    }
}
