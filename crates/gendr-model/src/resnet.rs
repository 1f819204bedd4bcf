//! The residual block that the UNet and the autoencoder share.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use crate::{
    layers::{Conv2d, GroupNorm, Linear},
    pass::Pass,
};

/// Norm, SiLU and convolution twice, plus the input; a 1x1 convolution brings the input to another width.
#[derive(Module, Debug)]
pub(crate) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

/// Widths of a [`ResnetBlock`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResnetConfig {
    /// Channels in.
    pub(crate) in_channels: usize,
    /// Channels out.
    pub(crate) out_channels: usize,
    /// Width of the time embedding; `None` for a block without time.
    pub(crate) time_channels: Option<usize>,
    /// Groups of both norms.
    pub(crate) norm_groups: usize,
    /// Epsilon of both norms.
    pub(crate) norm_epsilon: f64,
}

impl ResnetConfig {
    /// The block, without weights yet.
    pub(crate) fn init(self, device: &Device) -> ResnetBlock {
        let Self { in_channels, out_channels, time_channels, norm_groups, norm_epsilon } = self;
        ResnetBlock {
            norm1: GroupNorm::new(norm_groups, in_channels, norm_epsilon, device),
            conv1: Conv2d::new(in_channels, out_channels, 3, device),
            time_emb_proj: time_channels.map(|channels| Linear::new(channels, out_channels, device)),
            norm2: GroupNorm::new(norm_groups, out_channels, norm_epsilon, device),
            conv2: Conv2d::new(out_channels, out_channels, 3, device),
            conv_shortcut: (in_channels != out_channels)
                .then(|| Conv2d::new(in_channels, out_channels, 1, device)),
        }
    }
}

impl ResnetBlock {
    /// What the block adds for a time embedding `[n, time_channels]` that went through SiLU: `[n, out, 1, 1]`.
    pub(crate) fn time_shift(&self, activated_embedding: &Tensor<2>) -> Option<Tensor<4>> {
        let projection = self.time_emb_proj.as_ref()?;
        Some(projection.forward(activated_embedding.clone()).unsqueeze_dims(&[2, 3]))
    }

    /// `[n, in, h, w]` to `[n, out, h, w]`.
    pub(crate) fn forward(&self, x: Tensor<4>, time_shift: Option<&Tensor<4>>, pass: &mut Pass) -> Tensor<4> {
        let folded = time_shift.filter(|shift| shift.dims()[0] == 1 && !x.device().is_autodiff());
        let conv1 = folded.map(|shift| self.conv1.shifted(shift.clone()));
        let mut hidden = pass.norm_silu_conv(x.clone(), &self.norm1, conv1.as_ref().unwrap_or(&self.conv1));
        if let Some(shift) = time_shift.filter(|_| conv1.is_none()) {
            hidden = hidden + shift.clone();
        }
        // The shortcut comes first, to let go of the input before the second convolution.
        let shortcut = match &self.conv_shortcut {
            Some(conv) => pass.conv(x, conv),
            None => x,
        };
        pass.norm_silu_conv_added(hidden, &self.norm2, &self.conv2, shortcut)
    }

    /// Multiply-adds on `positions` pixels, the time projection included.
    pub(crate) fn multiply_adds(&self, positions: usize) -> u64 {
        let time = self.time_emb_proj.as_ref().map_or(0, |projection| projection.multiply_adds(1));
        let shortcut = self.conv_shortcut.as_ref().map_or(0, |conv| conv.multiply_adds(positions));
        self.conv1.multiply_adds(positions) + self.conv2.multiply_adds(positions) + time + shortcut
    }
}

/// Halves the size with a strided 3x3 convolution (key `downsamplers.0.conv`).
#[derive(Module, Debug)]
pub(crate) struct Downsampler {
    pub(crate) conv: Conv2d,
}

impl Downsampler {
    /// A downsampler that keeps the number of channels.
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        Self { conv: Conv2d::halving(channels, channels, 3, device) }
    }
}

/// Doubles the size by nearest neighbour, then convolves (key `upsamplers.0.conv`).
#[derive(Module, Debug)]
pub(crate) struct Upsampler {
    pub(crate) conv: Conv2d,
}

impl Upsampler {
    /// An upsampler that keeps the number of channels.
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        Self { conv: Conv2d::new(channels, channels, 3, device) }
    }
}
