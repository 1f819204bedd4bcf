//! ResNet-50 and its like: as timm has it, and as CLIP changed it.

use gendr_image::{Error, Planes, Result};

use super::{
    convolution::Convolution,
    pooling::{Pool, Pooling},
    weights::Weights,
};

/// Added to the variances of batch normalisation.
const EPSILON: f64 = 1e-5;

/// A residual network of bottleneck blocks (He, Zhang, Ren and Sun 2016); the numbers of blocks and channels come from the
/// weights.
#[derive(Clone, Debug)]
pub(super) struct ResidualNetwork {
    stem: Vec<Convolution>,
    pooling: Pooling,
    stages: Vec<Vec<Bottleneck>>,
}

impl ResidualNetwork {
    /// As in torchvision and timm: one convolution of 7x7, then a maximum; the middle convolution of a block has the stride.
    pub(super) fn plain(weights: &Weights, prefix: &str) -> Result<Self> {
        let stem = vec![block_convolution(weights, prefix, "conv1", "bn1", 3, 2)?.rectified()];
        Self::with_stem(weights, prefix, stem, Pooling::padded(Pool::Greatest, 3, 2), false)
    }

    /// As in CLIP: three convolutions of 3x3 and a mean; blocks take a mean before the convolution that had the stride.
    pub(super) fn of_clip(weights: &Weights, prefix: &str) -> Result<Self> {
        let mut channels = 3;
        let mut stem = Vec::new();
        for (conv, norm, stride) in [("conv1", "bn1", 2), ("conv2", "bn2", 1), ("conv3", "bn3", 1)] {
            let layer = block_convolution(weights, prefix, conv, norm, channels, stride)?.rectified();
            channels = layer.out_channels();
            stem.push(layer);
        }
        Self::with_stem(weights, prefix, stem, Pooling::new(Pool::Mean, 2, 2), true)
    }

    fn with_stem(
        weights: &Weights,
        prefix: &str,
        stem: Vec<Convolution>,
        pooling: Pooling,
        antialiased: bool,
    ) -> Result<Self> {
        let mut channels = stem.last().map_or(3, Convolution::out_channels);
        let mut stages = Vec::new();
        for (index, stride) in [1, 2, 2, 2].into_iter().enumerate() {
            let name = |block| format!("{prefix}layer{}.{block}.", index + 1);
            let count = weights.count(|block| name(block) + "conv1.weight");
            let mut blocks = Vec::new();
            for block in 0..count {
                let stride = if block == 0 { stride } else { 1 };
                let block = Bottleneck::read(weights, &name(block), channels, stride, antialiased)?;
                channels = block.out_channels();
                blocks.push(block);
            }
            if blocks.is_empty() {
                return Err(Error::input(format!("the weights lack {}conv1.weight", name(0))));
            }
            stages.push(blocks);
        }
        Ok(Self { stem, pooling, stages })
    }

    /// Channels of the maps that [`ResidualNetwork::walk`] gives.
    pub(super) fn channels(&self) -> Vec<usize> {
        let stem = self.stem.last().map_or(0, Convolution::out_channels);
        let stages = self.stages.iter().filter_map(|blocks| blocks.last().map(Bottleneck::out_channels));
        std::iter::once(stem).chain(stages).collect()
    }

    /// The maps of the stem, before they are pooled, and after each of the four stages.
    ///
    /// # Errors
    /// An unsupported-picture error where the picture is too small.
    pub(super) fn walk(&self, input: &Planes) -> Result<Vec<Planes>> {
        let mut maps = input.clone();
        for layer in &self.stem {
            maps = layer.forward(&maps)?;
        }
        let mut features = vec![maps];
        for (index, blocks) in self.stages.iter().enumerate() {
            let mut maps = match index {
                0 => self.pooling.forward(&features[0]),
                _ => features[index].clone(),
            };
            for block in blocks {
                maps = block.forward(&maps)?;
            }
            features.push(maps);
        }
        Ok(features)
    }
}

/// Three convolutions beside a shortcut.
#[derive(Clone, Debug)]
struct Bottleneck {
    first: [Convolution; 2],
    last: Convolution,
    /// Taken before the last convolution and before the shortcut.
    pooling: Option<Pooling>,
    shortcut: Option<Convolution>,
}

impl Bottleneck {
    fn read(
        weights: &Weights,
        name: &str,
        in_channels: usize,
        stride: usize,
        antialiased: bool,
    ) -> Result<Self> {
        let step = if antialiased { 1 } else { stride };
        let layer = |conv: &str, norm: &str, channels: usize, stride: usize| {
            block_convolution(weights, name, conv, norm, channels, stride)
        };
        let first = layer("conv1", "bn1", in_channels, 1)?.rectified();
        let second = layer("conv2", "bn2", first.out_channels(), step)?.rectified();
        let last = layer("conv3", "bn3", second.out_channels(), 1)?;
        let shortcut = weights
            .has(&format!("{name}downsample.0.weight"))
            .then(|| layer("downsample.0", "downsample.1", in_channels, step))
            .transpose()?;
        let beside = shortcut.as_ref().map_or(in_channels, Convolution::out_channels);
        if beside != last.out_channels() {
            return Err(Error::input(format!(
                "the shortcut of {name} has {beside} channels, not {}",
                last.out_channels()
            )));
        }
        let pooling = (antialiased && stride > 1).then_some(Pooling::new(Pool::Mean, stride, stride));
        Ok(Self { first: [first, second], last, pooling, shortcut })
    }

    fn out_channels(&self) -> usize {
        self.last.out_channels()
    }

    fn forward(&self, input: &Planes) -> Result<Planes> {
        let [first, second] = &self.first;
        let mut maps = second.forward(&first.forward(input)?)?;
        let pooled = self.pooling.map(|pooling| pooling.forward(input));
        if let Some(pooling) = self.pooling {
            maps = pooling.forward(&maps);
        }
        maps = self.last.forward(&maps)?;
        let beside = pooled.as_ref().unwrap_or(input);
        match &self.shortcut {
            Some(shortcut) => add_rectified(&mut maps, &shortcut.forward(beside)?),
            None => add_rectified(&mut maps, beside),
        }
        Ok(maps)
    }
}

/// Convolution and batch normalisation, padded to keep the size at stride 1.
fn block_convolution(
    weights: &Weights,
    prefix: &str,
    conv: &str,
    norm: &str,
    in_channels: usize,
    stride: usize,
) -> Result<Convolution> {
    let layer = Convolution::read(weights, &format!("{prefix}{conv}"), in_channels, stride)?.padded();
    layer.normalized(weights, &format!("{prefix}{norm}"), EPSILON)
}

/// Adds maps of the same shape and cuts what is negative.
pub(super) fn add_rectified(maps: &mut Planes, other: &Planes) {
    for (value, other) in maps.data_mut().iter_mut().zip(other.data()) {
        *value = (*value + other).max(0.0);
    }
}
