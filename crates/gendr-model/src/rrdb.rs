//! RRDBNet, the generator of ESRGAN (arXiv 1809.00219) and Real-ESRGAN: dense blocks in residual blocks, four times larger.

use burn::{module::Module, tensor::Device, tensor::Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    config::{MAX_DEPTH, MAX_WIDTH},
    error::{Error, Result},
    layers::Conv2d,
    ops::{Activation, DenseFeatures},
};

/// The rectifier after every inner convolution.
const LEAKY: Activation<'_> = Activation::LeakyRelu { slope: SLOPE };
/// Its slope below zero.
const SLOPE: f64 = 0.2;
/// Share of a block's result that is added to its input.
const RESIDUAL: f64 = 0.2;

/// Sizes of an RRDBNet; the defaults are those of Real-ESRGAN x4plus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RrdbConfig {
    /// Channels of the trunk.
    pub features: usize,
    /// Residual blocks of three dense blocks each.
    pub blocks: usize,
    /// Channels that each convolution adds inside a dense block.
    pub growth: usize,
}

impl Default for RrdbConfig {
    fn default() -> Self {
        Self { features: 64, blocks: 23, growth: 32 }
    }
}

impl RrdbConfig {
    /// The network, its weights not yet created.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) for absurd sizes.
    pub fn init(&self, device: &Device) -> Result<RrdbNet> {
        let sizes =
            [(self.features, MAX_WIDTH), (self.blocks, MAX_DEPTH * MAX_DEPTH), (self.growth, MAX_WIDTH)];
        if sizes.iter().any(|&(size, max)| size == 0 || size > max) {
            return Err(Error::limit(format!("an RRDBNet of sizes {self:?}")));
        }
        let conv = |from, to| Conv2d::new(from, to, 3, device);
        let features = self.features;
        Ok(RrdbNet {
            conv_first: conv(3, features),
            body: (0..self.blocks).map(|_| ResidualInResidual::new(self, device)).collect(),
            conv_body: conv(features, features),
            conv_up1: conv(features, features),
            conv_up2: conv(features, features),
            conv_hr: conv(features, features),
            conv_last: conv(features, 3),
        })
    }
}

/// The network; fields are named as in the published weight files.
#[derive(Module, Debug)]
pub struct RrdbNet {
    conv_first: Conv2d,
    body: Vec<ResidualInResidual>,
    conv_body: Conv2d,
    conv_up1: Conv2d,
    conv_up2: Conv2d,
    conv_hr: Conv2d,
    conv_last: Conv2d,
}

impl RrdbNet {
    /// Enlargement.
    pub const SCALE: usize = 4;

    /// A picture `[n, 3, h, w]` in `[0, 1]` to one of `[n, 3, 4h, 4w]`, not clamped.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let first = self.conv_first.forward(x);
        let body = self.body.iter().fold(first.clone(), |x, block| block.forward(x));
        let x = self.conv_body.forward_added(body, 1.0, first);
        let x = twice(x, &self.conv_up1);
        let x = twice(x, &self.conv_up2);
        self.conv_last.forward(self.conv_hr.forward_activated(x, LEAKY))
    }

    /// Multiply-adds for an input of `height` x `width`.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        let area = height * width;
        let dense =
            |block: &ResidualDense| block.convolutions().map(|conv| conv.multiply_adds(area)).sum::<u64>();
        let body = self
            .body
            .iter()
            .map(|block| [&block.rdb1, &block.rdb2, &block.rdb3].map(dense).iter().sum::<u64>());
        self.conv_first.multiply_adds(area)
            + body.sum::<u64>()
            + self.conv_body.multiply_adds(area)
            + self.conv_up1.multiply_adds(4 * area)
            + [&self.conv_up2, &self.conv_hr, &self.conv_last]
                .map(|conv| conv.multiply_adds(16 * area))
                .iter()
                .sum::<u64>()
    }
}

fn twice(x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    conv.forward_upsampled(x, [2 * height, 2 * width], Some(LEAKY))
}

#[derive(Module, Debug)]
struct ResidualInResidual {
    rdb1: ResidualDense,
    rdb2: ResidualDense,
    rdb3: ResidualDense,
}

impl ResidualInResidual {
    fn new(config: &RrdbConfig, device: &Device) -> Self {
        let dense = || ResidualDense::new(config, device);
        Self { rdb1: dense(), rdb2: dense(), rdb3: dense() }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.rdb3.forward(self.rdb2.forward(self.rdb1.forward(x.clone())));
        y.mul_scalar(RESIDUAL) + x
    }
}

#[derive(Module, Debug)]
struct ResidualDense {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    conv4: Conv2d,
    conv5: Conv2d,
}

impl ResidualDense {
    fn new(config: &RrdbConfig, device: &Device) -> Self {
        let &RrdbConfig { features, growth, .. } = config;
        let conv = |grown, to| Conv2d::new(features + grown * growth, to, 3, device);
        Self {
            conv1: conv(0, growth),
            conv2: conv(1, growth),
            conv3: conv(2, growth),
            conv4: conv(3, growth),
            conv5: conv(4, features),
        }
    }

    fn convolutions(&self) -> impl Iterator<Item = &Conv2d> {
        [&self.conv1, &self.conv2, &self.conv3, &self.conv4, &self.conv5].into_iter()
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let most = self.conv5.in_channels();
        let features = [&self.conv1, &self.conv2, &self.conv3, &self.conv4]
            .into_iter()
            .fold(DenseFeatures::new(x.clone(), most), |features, conv| conv.grow(features, SLOPE));
        self.conv5.forward_added(features.into_tensor(), RESIDUAL, x)
    }
}
