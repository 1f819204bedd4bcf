//! The convolutional parts of AlexNet and VGG16, with the parameter names of torchvision.

use gendr_image::{Error, Result};
use gendr_kernels::{Activation, ConvShape, Padding, conv2d};

use super::weights::{Tensor, Weights};

/// Feature maps `[channels, height, width]`.
#[derive(Clone, Debug)]
pub(super) struct Maps {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) data: Vec<f32>,
}

impl Maps {
    /// The values of one channel.
    pub(super) fn channel(&self, channel: usize) -> &[f32] {
        let area = self.height * self.width;
        &self.data[channel * area..(channel + 1) * area]
    }
}

/// How maps are made smaller between the stages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pooling {
    /// Greatest value of squares of this side, two apart.
    Greatest(usize),
    /// Root of the Gaussian-like mean of squares, 3x3 Hann window, two apart (Hénaff and Simoncelli 2016).
    Hann,
}

/// Convolution with ReLU.
#[derive(Clone, Debug)]
struct Convolution {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
    padding: usize,
}

/// A network in stages; the maps after each are its features.
#[derive(Clone, Debug)]
pub(super) struct Backbone {
    /// The convolutions of each stage, and whether the maps are pooled before.
    stages: Vec<(bool, Vec<Convolution>)>,
    pooling: Pooling,
    /// The smallest side of a picture.
    pub(super) least_side: usize,
}

impl Backbone {
    /// AlexNet, with five stages of one convolution each.
    pub(super) fn alexnet(weights: &Weights) -> Result<Self> {
        let stages: [(bool, &[usize]); 5] =
            [(false, &[0]), (true, &[3]), (true, &[6]), (false, &[8]), (false, &[10])];
        let sizes = |layer| match layer {
            0 => (11, 4, 2),
            3 => (5, 1, 2),
            _ => (3, 1, 1),
        };
        Self::new(weights, &stages, sizes, Pooling::Greatest(3), 31)
    }

    /// VGG16, with five stages of two or three convolutions.
    pub(super) fn vgg16(weights: &Weights) -> Result<Self> {
        let stages: [(bool, &[usize]); 5] = [
            (false, &[0, 2]),
            (true, &[5, 7]),
            (true, &[10, 12, 14]),
            (true, &[17, 19, 21]),
            (true, &[24, 26, 28]),
        ];
        Self::new(weights, &stages, |_| (3, 1, 1), Pooling::Greatest(2), 16)
    }

    /// The same network with another way to make maps smaller.
    pub(super) fn with_pooling(self, pooling: Pooling) -> Self {
        Self { pooling, ..self }
    }

    /// Channels of each stage's maps.
    pub(super) fn channels(&self) -> Vec<usize> {
        let last = |stage: &(bool, Vec<Convolution>)| stage.1.last().map_or(0, |conv| conv.weight.shape[0]);
        self.stages.iter().map(last).collect()
    }

    fn new(
        weights: &Weights,
        stages: &[(bool, &[usize])],
        sizes: impl Fn(usize) -> (usize, usize, usize),
        pooling: Pooling,
        least_side: usize,
    ) -> Result<Self> {
        let mut channels = 3;
        let mut convolution = |layer: usize| -> Result<Convolution> {
            let (kernel, stride, padding) = sizes(layer);
            let name = |what: &str| vec![format!("features.{layer}.{what}")];
            let (weight, bias) = (weights.get(&name("weight"), 4)?, weights.get(&name("bias"), 1)?);
            let wanted = [weight.shape[0], channels, kernel, kernel];
            if weight.shape != wanted || bias.shape[0] != wanted[0] {
                return Err(Error::input(format!(
                    "features.{layer} has the shape {:?}, not {wanted:?}",
                    weight.shape
                )));
            }
            channels = wanted[0];
            Ok(Convolution { weight: weight.clone(), bias: bias.clone(), stride, padding })
        };
        let stages = stages
            .iter()
            .map(|(pooled, layers)| {
                Ok((*pooled, layers.iter().map(|&layer| convolution(layer)).collect::<Result<_>>()?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { stages, pooling, least_side })
    }

    /// The maps after each stage.
    ///
    /// # Errors
    /// An unsupported-picture error where the picture is too small.
    pub(super) fn walk(&self, input: &Maps) -> Result<Vec<Maps>> {
        let mut features: Vec<Maps> = Vec::with_capacity(self.stages.len());
        for (pooled, convolutions) in &self.stages {
            let before = features.last().unwrap_or(input);
            let mut maps = if *pooled { pool(before, self.pooling) } else { before.clone() };
            for convolution in convolutions {
                maps = convolution.forward(&maps)?;
            }
            features.push(maps);
        }
        Ok(features)
    }
}

impl Convolution {
    fn forward(&self, input: &Maps) -> Result<Maps> {
        let shape = ConvShape {
            batch: 1,
            in_channels: input.channels,
            out_channels: self.weight.shape[0],
            height: input.height,
            width: input.width,
            kernel: self.weight.shape[2],
            stride: self.stride,
            padding: Padding::all(self.padding),
        };
        let shape =
            shape.checked().map_err(|error| Error::unsupported(error.to_string()).with_source(error))?;
        let side = |length: usize| (length + 2 * self.padding - shape.kernel) / self.stride + 1;
        let (height, width) = (side(input.height), side(input.width));
        let mut data = vec![0.0; shape.out_channels * height * width];
        let relu = Activation::LeakyRelu(0.0);
        conv2d(&shape, &input.data, &self.weight.data, Some(&self.bias.data), relu, &mut data);
        Ok(Maps { channels: shape.out_channels, height, width, data })
    }
}

fn pool(input: &Maps, pooling: Pooling) -> Maps {
    let side = |length: usize| match pooling {
        Pooling::Greatest(square) => (length - square) / 2 + 1,
        Pooling::Hann => (length - 1) / 2 + 1,
    };
    let (height, width) = (side(input.height), side(input.width));
    let mut data = Vec::with_capacity(input.channels * height * width);
    for channel in 0..input.channels {
        let map = input.channel(channel);
        for index in 0..height * width {
            let (x, y) = (index % width * 2, index / width * 2);
            data.push(match pooling {
                Pooling::Greatest(square) => greatest(map, input.width, x, y, square),
                Pooling::Hann => hann(map, input.width, x, y),
            });
        }
    }
    Maps { channels: input.channels, height, width, data }
}

fn greatest(map: &[f32], width: usize, x: usize, y: usize, square: usize) -> f32 {
    let rows = (y..y + square).map(|y| &map[y * width + x..y * width + x + square]);
    rows.flatten().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Around the pixel, zeros outside the map.
fn hann(map: &[f32], width: usize, x: usize, y: usize) -> f32 {
    const TAPS: [f32; 3] = [0.25, 0.5, 0.25];
    let height = map.len() / width;
    let mut sum = 0.0;
    for (dy, row) in TAPS.iter().enumerate() {
        for (dx, column) in TAPS.iter().enumerate() {
            if let (Some(y), Some(x)) = ((y + dy).checked_sub(1), (x + dx).checked_sub(1))
                && y < height
                && x < width
            {
                let value = map[y * width + x];
                sum += row * column * value * value;
            }
        }
    }
    (sum + 1e-12).sqrt()
}
