//! The convolutional parts of AlexNet and VGG16, with the parameter names of torchvision.

use gendr_image::{Error, Planes, Result};

use super::{
    convolution::Convolution,
    pooling::{Pool, Pooling},
    weights::Weights,
};

/// A network whose maps after each stage are looked at.
#[derive(Clone, Debug)]
pub(super) struct Backbone {
    /// Whether the maps get smaller before a stage, and the stage's convolutions.
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
        Self::new(weights, &stages, sizes, Pooling::new(Pool::Greatest, 3, 2), 31)
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
        Self::new(weights, &stages, |_| (3, 1, 1), Pooling::new(Pool::Greatest, 2, 2), 16)
    }

    /// The same network with another way to make maps smaller.
    pub(super) fn with_pooling(self, pooling: Pooling) -> Self {
        Self { pooling, ..self }
    }

    /// Channels of each stage's maps.
    pub(super) fn channels(&self) -> Vec<usize> {
        let last = |stage: &(bool, Vec<Convolution>)| stage.1.last().map_or(0, Convolution::out_channels);
        self.stages.iter().map(last).collect()
    }

    /// `sizes` gives the kernel, stride and padding of a layer.
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
            let name = format!("features.{layer}");
            let convolution = Convolution::read(weights, &name, channels, stride)?;
            if convolution.kernel() != Some(kernel) {
                return Err(Error::input(format!("{name} has no kernel of {kernel}x{kernel}")));
            }
            channels = convolution.out_channels();
            Ok(convolution.with_padding(gendr_kernels::Padding::all(padding)).rectified())
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
    pub(super) fn walk(&self, input: &Planes) -> Result<Vec<Planes>> {
        let mut features: Vec<Planes> = Vec::with_capacity(self.stages.len());
        for (pooled, convolutions) in &self.stages {
            let before = features.last().unwrap_or(input);
            let mut maps = if *pooled { self.pooling.forward(before) } else { before.clone() };
            for convolution in convolutions {
                maps = convolution.forward(&maps)?;
            }
            features.push(maps);
        }
        Ok(features)
    }
}
