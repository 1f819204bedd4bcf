//! Which parts of a picture look real: the patch discriminator of latent diffusion, smaller.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use gendr_model::{Conv2d, GroupNorm, ops};

const WIDTH: usize = 32;
const GROUPS: usize = 8;

/// Three halving convolutions and one to a logit; each logit sees 23 pixels a side.
#[derive(Module, Debug)]
pub(crate) struct PatchDiscriminator {
    conv_1: Conv2d,
    conv_2: Conv2d,
    norm_2: GroupNorm,
    conv_3: Conv2d,
    norm_3: GroupNorm,
    conv_out: Conv2d,
}

impl PatchDiscriminator {
    /// The network, without weights yet, for pictures of so many channels.
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        let norm = |width| GroupNorm::new(GROUPS, width, 1e-5, device);
        Self {
            conv_1: Conv2d::halving(channels, WIDTH, 3, device),
            conv_2: Conv2d::halving(WIDTH, 2 * WIDTH, 3, device),
            norm_2: norm(2 * WIDTH),
            conv_3: Conv2d::halving(2 * WIDTH, 4 * WIDTH, 3, device),
            norm_3: norm(4 * WIDTH),
            conv_out: Conv2d::new(4 * WIDTH, 1, 3, device),
        }
    }

    /// Pictures `[n, channels, h, w]` in `[-1, 1]` to logits `[n, 1, h / 8, w / 8]`.
    pub(crate) fn forward(&self, picture: Tensor<4>) -> Tensor<4> {
        let x = ops::silu(self.conv_1.forward(picture));
        let x = self.norm_2.forward_silu(self.conv_2.forward(x));
        let x = self.norm_3.forward_silu(self.conv_3.forward(x));
        self.conv_out.forward(x)
    }
}
