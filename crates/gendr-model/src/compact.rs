//! SRVGGNetCompact, the small network of Real-ESRGAN for video and animation: plain convolutions at the size of the
//! input, enlarged at the very end.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use serde::{Deserialize, Serialize};

use crate::{
    config::{MAX_DEPTH, MAX_WIDTH},
    error::{Error, Result},
    layers::{Conv2d, PRelu},
    ops::{self, Activation},
};

/// Sizes of a compact network; the defaults are those of realesr-animevideov3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompactConfig {
    /// Channels of every inner convolution.
    pub features: usize,
    /// Convolutions between the first and the last.
    pub convolutions: usize,
    /// Enlargement, 1 to 8.
    pub scale: usize,
}

impl Default for CompactConfig {
    fn default() -> Self {
        Self { features: 64, convolutions: 16, scale: 4 }
    }
}

impl CompactConfig {
    /// The network, without weights yet.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) for absurd sizes.
    pub fn init(&self, device: &Device) -> Result<SrvggNetCompact> {
        let &Self { features, convolutions, scale } = self;
        let sizes = [(features, MAX_WIDTH), (convolutions, MAX_DEPTH * MAX_DEPTH), (scale, 8)];
        if sizes.iter().any(|&(size, max)| size == 0 || size > max) {
            return Err(Error::limit(format!("a compact network of sizes {self:?}")));
        }
        let conv = |from, to| Layer::Conv(Conv2d::new(from, to, 3, device));
        let mut body = vec![conv(3, features)];
        for _ in 0..convolutions {
            body.push(Layer::Slopes(PRelu::new(features, device)));
            body.push(conv(features, features));
        }
        body.push(Layer::Slopes(PRelu::new(features, device)));
        body.push(conv(features, 3 * scale * scale));
        Ok(SrvggNetCompact { body, scale })
    }
}

/// The network. Its layers are numbered through, as in the published weight files.
#[derive(Module, Debug)]
pub struct SrvggNetCompact {
    body: Vec<Layer>,
    scale: usize,
}

#[derive(Module, Debug)]
enum Layer {
    Conv(Conv2d),
    Slopes(PRelu),
}

impl SrvggNetCompact {
    /// A picture `[n, 3, h, w]` in [0, 1] to one of `[n, 3, s·h, s·w]`, not clamped.
    pub fn forward(&self, picture: Tensor<4>) -> Tensor<4> {
        let mut x = picture.clone();
        let mut layers = self.body.iter().peekable();
        while let Some(layer) = layers.next() {
            let Layer::Conv(conv) = layer else { continue };
            x = match layers.peek() {
                Some(Layer::Slopes(prelu)) => {
                    conv.forward_activated(x, Activation::PRelu { slopes: &prelu.weight.val() })
                }
                _ => conv.forward(x),
            };
        }
        let [n, c, h, w] = picture.dims();
        let s = self.scale;
        let nearest = picture.reshape([n, c, h, 1, w, 1]).expand([n, c, h, s, w, s]);
        ops::pixel_shuffle(x, s) + nearest.reshape([n, c, s * h, s * w])
    }

    /// Enlargement.
    pub fn scale(&self) -> usize {
        self.scale
    }

    /// Multiply-adds for an input of `height` x `width`.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        let convolutions = self.body.iter().filter_map(|layer| match layer {
            Layer::Conv(conv) => Some(conv.multiply_adds(height * width)),
            Layer::Slopes(_) => None,
        });
        convolutions.sum()
    }
}
