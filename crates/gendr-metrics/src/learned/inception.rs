//! Inception v3 as the authors of FID trained it, with the parameter names of pytorch-fid.

use gendr_image::{Planes, Result};

use super::{
    convolution::Convolution,
    pooling::{Pool, Pooling},
    weights::Weights,
};

/// Added to the variances of batch normalisation.
const EPSILON: f64 = 1e-3;

/// A part of a branch, as the tables below tell it.
#[derive(Clone, Copy)]
enum Step {
    /// A convolution that keeps the size.
    Same(&'static str),
    /// A convolution without padding, two pixels a step.
    Halving(&'static str),
    /// A pooling.
    Pool(Pooling),
    /// Two convolutions that keep the size, side by side.
    Both(&'static str, &'static str),
}

use Step::{Both, Halving, Pool as Pooled, Same};

type Branches = &'static [&'static [Step]];

const HALVED: Step = Pooled(Pooling::new(Pool::Greatest, 3, 2));
const MEAN: Step = Pooled(Pooling::padded(Pool::Mean, 3, 1));
/// Where the original takes a mean, the network behind FID takes a maximum.
const GREATEST: Step = Pooled(Pooling::padded(Pool::Greatest, 3, 1));

const A: Branches = &[
    &[Same("branch1x1")],
    &[Same("branch5x5_1"), Same("branch5x5_2")],
    &[Same("branch3x3dbl_1"), Same("branch3x3dbl_2"), Same("branch3x3dbl_3")],
    &[MEAN, Same("branch_pool")],
];
const B: Branches = &[
    &[Halving("branch3x3")],
    &[Same("branch3x3dbl_1"), Same("branch3x3dbl_2"), Halving("branch3x3dbl_3")],
    &[HALVED],
];
const C: Branches = &[
    &[Same("branch1x1")],
    &[Same("branch7x7_1"), Same("branch7x7_2"), Same("branch7x7_3")],
    &[
        Same("branch7x7dbl_1"),
        Same("branch7x7dbl_2"),
        Same("branch7x7dbl_3"),
        Same("branch7x7dbl_4"),
        Same("branch7x7dbl_5"),
    ],
    &[MEAN, Same("branch_pool")],
];
const D: Branches = &[
    &[Same("branch3x3_1"), Halving("branch3x3_2")],
    &[Same("branch7x7x3_1"), Same("branch7x7x3_2"), Same("branch7x7x3_3"), Halving("branch7x7x3_4")],
    &[HALVED],
];
const E_MEAN: Branches = &[
    &[Same("branch1x1")],
    &[Same("branch3x3_1"), Both("branch3x3_2a", "branch3x3_2b")],
    &[Same("branch3x3dbl_1"), Same("branch3x3dbl_2"), Both("branch3x3dbl_3a", "branch3x3dbl_3b")],
    &[MEAN, Same("branch_pool")],
];
const E_GREATEST: Branches = &[E_MEAN[0], E_MEAN[1], E_MEAN[2], &[GREATEST, Same("branch_pool")]];

const BLOCKS: [(&str, Branches); 11] = [
    ("Mixed_5b", A),
    ("Mixed_5c", A),
    ("Mixed_5d", A),
    ("Mixed_6a", B),
    ("Mixed_6b", C),
    ("Mixed_6c", C),
    ("Mixed_6d", C),
    ("Mixed_6e", C),
    ("Mixed_7a", D),
    ("Mixed_7b", E_MEAN),
    ("Mixed_7c", E_GREATEST),
];

/// A layer, or two whose results follow each other.
#[derive(Clone, Debug)]
enum Layer {
    Convolution(Convolution),
    Pooling(Pooling),
    Both(Convolution, Convolution),
}

/// The network up to its last maps (Szegedy et al. 2016).
#[derive(Clone, Debug)]
pub(super) struct Inception {
    stem: Vec<Layer>,
    blocks: Vec<Vec<Vec<Layer>>>,
    channels: usize,
}

impl Inception {
    pub(super) fn read(weights: &Weights) -> Result<Self> {
        let mut channels = 3;
        let mut stem = Vec::new();
        for (name, stride, padded) in [
            ("Conv2d_1a_3x3", 2, false),
            ("Conv2d_2a_3x3", 1, false),
            ("Conv2d_2b_3x3", 1, true),
            ("", 2, false),
            ("Conv2d_3b_1x1", 1, false),
            ("Conv2d_4a_3x3", 1, false),
            ("", 2, false),
        ] {
            stem.push(if name.is_empty() {
                Layer::Pooling(Pooling::new(Pool::Greatest, 3, stride))
            } else {
                let layer = convolution(weights, name, channels, stride, padded)?;
                channels = layer.out_channels();
                Layer::Convolution(layer)
            });
        }
        let mut blocks = Vec::new();
        for (name, branches) in BLOCKS {
            let mut block = Vec::new();
            let mut sum = 0;
            for branch in branches {
                let (layers, out) = read_branch(weights, name, branch, channels)?;
                block.push(layers);
                sum += out;
            }
            channels = sum;
            blocks.push(block);
        }
        Ok(Self { stem, blocks, channels })
    }

    /// Length of the features.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// The means of the last maps.
    ///
    /// # Errors
    /// An unsupported-picture error where the picture is under 75 pixels.
    pub(super) fn features(&self, input: &Planes) -> Result<Vec<f32>> {
        let mut maps = input.clone();
        for layer in &self.stem {
            maps = layer.forward(&maps)?;
        }
        for block in &self.blocks {
            let mut data = Vec::new();
            let mut size = (0, 0);
            for branch in block {
                let mut inner = maps.clone();
                for layer in branch {
                    inner = layer.forward(&inner)?;
                }
                size = (inner.height(), inner.width());
                data.extend(inner.into_vec());
            }
            maps = Planes::from_vec(data.len() / (size.0 * size.1).max(1), size.0, size.1, data)?;
        }
        let area = (maps.height() * maps.width()) as f64;
        let mean = |plane: &[f32]| plane.iter().map(|&value| f64::from(value)).sum::<f64>() / area;
        Ok((0..maps.channels()).map(|channel| mean(maps.plane(channel)) as f32).collect())
    }
}

fn read_branch(
    weights: &Weights,
    block: &str,
    branch: &[Step],
    in_channels: usize,
) -> Result<(Vec<Layer>, usize)> {
    let mut channels = in_channels;
    let mut layers = Vec::new();
    for step in branch {
        let read = |name: &str, stride: usize| {
            convolution(weights, &format!("{block}.{name}"), channels, stride, stride == 1)
        };
        let layer = match *step {
            Same(name) => Layer::Convolution(read(name, 1)?),
            Halving(name) => Layer::Convolution(read(name, 2)?),
            Pooled(pooling) => Layer::Pooling(pooling),
            Both(first, second) => Layer::Both(read(first, 1)?, read(second, 1)?),
        };
        channels = match &layer {
            Layer::Convolution(layer) => layer.out_channels(),
            Layer::Pooling(_) => channels,
            Layer::Both(first, second) => first.out_channels() + second.out_channels(),
        };
        layers.push(layer);
    }
    Ok((layers, channels))
}

fn convolution(
    weights: &Weights,
    name: &str,
    channels: usize,
    stride: usize,
    padded: bool,
) -> Result<Convolution> {
    let layer = Convolution::read(weights, &format!("{name}.conv"), channels, stride)?;
    let layer = if padded { layer.padded() } else { layer };
    Ok(layer.normalized(weights, &format!("{name}.bn"), EPSILON)?.rectified())
}

impl Layer {
    fn forward(&self, input: &Planes) -> Result<Planes> {
        match self {
            Self::Convolution(layer) => layer.forward(input),
            Self::Pooling(pooling) => Ok(pooling.forward(input)),
            Self::Both(first, second) => {
                let (first, second) = (first.forward(input)?, second.forward(input)?);
                let (height, width) = (first.height(), first.width());
                let channels = first.channels() + second.channels();
                let mut data = first.into_vec();
                data.extend(second.into_vec());
                Planes::from_vec(channels, height, width, data)
            }
        }
    }
}
