//! The layers of the full-size model (UNet of SD2.1 with 16 latent channels, 16-channel VAE) at 512x512 pixels.

use std::fmt;

use gendr_kernels::{AttentionShape, ConvShape, GroupNormShape, LayerNormShape, LinearShape};

/// One shape of one kernel, and how often a restoration calls it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelCase {
    /// The network and the layer.
    pub part: Part,
    /// What is computed.
    pub work: Work,
    /// Calls in one restoration.
    pub calls: usize,
}

/// A network of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Part {
    Encoder,
    Unet,
    Decoder,
}

/// A kernel and its shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Convolution.
    Conv(ConvShape),
    /// Linear layer.
    Linear(LinearShape),
    /// Linear layer to twice its features, then the gate of GEGLU.
    Geglu(LinearShape),
    /// Attention.
    Attention(AttentionShape),
    /// Group normalisation, with SiLU or without.
    GroupNorm(GroupNormShape),
    /// Layer normalisation.
    LayerNorm(LayerNormShape),
}

impl Work {
    /// Floating-point operations of the plain sums, a multiply-add being two; for norms none are counted.
    pub fn operations(&self) -> usize {
        match self {
            Self::Conv(shape) => shape.flops(),
            Self::Linear(shape) => 2 * shape.rows * shape.in_features * shape.out_features,
            Self::Geglu(shape) => 4 * shape.rows * shape.in_features * shape.out_features,
            Self::Attention(shape) => shape.flops(),
            Self::GroupNorm(_) | Self::LayerNorm(_) => 0,
        }
    }

    /// Bytes that must be read and written once at least.
    pub fn bytes(&self) -> usize {
        let floats = match self {
            Self::Conv(shape) => shape.input_len() + shape.weight_len() + shape.output_len(),
            Self::Linear(LinearShape { rows, in_features, out_features }) => {
                rows * (in_features + out_features) + in_features * out_features
            }
            Self::Geglu(LinearShape { rows, in_features, out_features }) => {
                rows * (in_features + out_features) + 2 * in_features * out_features
            }
            Self::Attention(shape) => 2 * (shape.query_len() + shape.key_len()),
            Self::GroupNorm(shape) => 2 * shape.len(),
            Self::LayerNorm(shape) => 2 * shape.rows * shape.features,
        };
        4 * floats
    }
}

impl fmt::Display for KernelCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Encoder => "encoder",
            Part::Unet => "unet",
            Part::Decoder => "decoder",
        };
        write!(f, "{part} ")?;
        match self.work {
            Work::Conv(shape) => {
                let ConvShape { in_channels, out_channels, height, kernel, stride, enlarged, .. } = shape;
                let kind = if enlarged { "enlarge+conv" } else { "conv" };
                write!(f, "{kind} {kernel}x{kernel}/{stride} {in_channels}>{out_channels} @{height}")
            }
            Work::Linear(LinearShape { rows, in_features, out_features }) => {
                write!(f, "linear {in_features}>{out_features} x{rows}")
            }
            Work::Geglu(LinearShape { rows, in_features, out_features }) => {
                write!(f, "geglu {in_features}>{out_features} x{rows}")
            }
            Work::Attention(AttentionShape { heads, queries, keys, head_size, .. }) => {
                write!(f, "attention {heads}x{head_size} {queries}x{keys}")
            }
            Work::GroupNorm(GroupNormShape { channels, pixels, silu, .. }) => {
                let kind = if silu { "group norm+silu" } else { "group norm" };
                write!(f, "{kind} {channels} @{}", pixels.isqrt())
            }
            Work::LayerNorm(LayerNormShape { rows, features, .. }) => {
                write!(f, "layer norm {features} x{rows}")
            }
        }
    }
}

/// All kernels of one restoration to 512x512 pixels, equal ones together.
pub fn full_size_cases() -> Vec<KernelCase> {
    let mut list = List { part: Part::Encoder, cases: Vec::new() };
    encoder(&mut list);
    list.part = Part::Unet;
    unet(&mut list);
    list.part = Part::Decoder;
    decoder(&mut list);
    list.cases
}

/// Collects the calls of a network.
struct List {
    part: Part,
    cases: Vec<KernelCase>,
}

impl List {
    fn add(&mut self, work: Work) {
        let part = self.part;
        match self.cases.iter_mut().find(|case| case.part == part && case.work == work) {
            Some(case) => case.calls += 1,
            None => self.cases.push(KernelCase { part, work, calls: 1 }),
        }
    }

    fn conv(&mut self, from: usize, to: usize, side: usize, kernel: usize) {
        self.add(Work::Conv(ConvShape::same(1, from, to, side, side, kernel)));
    }

    /// Half the size, from `side`.
    fn halve(&mut self, channels: usize, side: usize) {
        self.add(Work::Conv(ConvShape {
            stride: 2,
            ..ConvShape::same(1, channels, channels, side, side, 3)
        }));
    }

    /// Twice the size, to `side`.
    fn enlarge(&mut self, channels: usize, side: usize) {
        let shape = ConvShape::same(1, channels, channels, side, side, 3);
        self.add(Work::Conv(ConvShape { enlarged: true, ..shape }));
    }

    fn group_norm(&mut self, channels: usize, side: usize, silu: bool) {
        let shape =
            GroupNormShape { batch: 1, channels, pixels: side * side, groups: 32, epsilon: 1e-5, silu };
        self.add(Work::GroupNorm(shape));
    }

    fn linear(&mut self, rows: usize, in_features: usize, out_features: usize) {
        self.add(Work::Linear(LinearShape { rows, in_features, out_features }));
    }

    fn attention(&mut self, heads: usize, head_size: usize, queries: usize, keys: usize) {
        self.add(Work::Attention(AttentionShape { batch: 1, heads, queries, keys, head_size }));
    }

    /// A residual block.
    fn resnet(&mut self, from: usize, to: usize, side: usize) {
        self.group_norm(from, side, true);
        self.conv(from, to, side, 3);
        self.group_norm(to, side, true);
        self.conv(to, to, side, 3);
        if from != to {
            self.conv(from, to, side, 1);
        }
    }

    /// The end of a network.
    fn last(&mut self, channels: usize, to: usize, side: usize) {
        self.group_norm(channels, side, true);
        self.conv(channels, to, side, 3);
    }

    /// A transformer of the UNet; the prompt's keys and values are computed beforehand.
    fn transformer(&mut self, channels: usize, side: usize) {
        let tokens = side * side;
        self.group_norm(channels, side, false);
        self.linear(tokens, channels, channels);
        let norm = LayerNormShape { rows: tokens, features: channels, epsilon: 1e-5 };
        for keys in [tokens, 77] {
            self.add(Work::LayerNorm(norm));
            let of_pixels = if keys == tokens { 4 } else { 2 };
            (0..of_pixels).for_each(|_| self.linear(tokens, channels, channels));
            self.attention(channels / 64, 64, tokens, keys);
        }
        self.add(Work::LayerNorm(norm));
        self.add(Work::Geglu(LinearShape {
            rows: tokens,
            in_features: channels,
            out_features: 4 * channels,
        }));
        self.linear(tokens, 4 * channels, channels);
        self.linear(tokens, channels, channels);
    }

    /// The innermost level of the autoencoder.
    fn middle(&mut self) {
        self.resnet(512, 512, 64);
        self.group_norm(512, 64, false);
        (0..4).for_each(|_| self.linear(4096, 512, 512));
        self.attention(1, 512, 4096, 4096);
        self.resnet(512, 512, 64);
    }
}

fn encoder(list: &mut List) {
    list.conv(3, 128, 512, 3);
    for (from, to, side) in [(128, 128, 512), (128, 128, 256), (128, 256, 128), (256, 512, 64)] {
        list.resnet(from, to, side);
        list.resnet(to, to, side);
        if side > 64 {
            list.halve(to, side);
        }
    }
    list.middle();
    list.last(512, 32, 64);
    list.conv(32, 32, 64, 1);
}

fn decoder(list: &mut List) {
    list.conv(16, 16, 64, 1);
    list.conv(16, 512, 64, 3);
    list.middle();
    for (from, to, side) in [(512, 512, 64), (512, 256, 128), (256, 128, 256), (128, 128, 512)] {
        list.resnet(from, to, side);
        list.resnet(to, to, side);
        list.resnet(to, to, side);
        if side < 512 {
            list.enlarge(to, 2 * side);
        }
    }
    list.last(128, 3, 512);
}

fn unet(list: &mut List) {
    const LEVELS: [(usize, usize); 4] = [(320, 64), (640, 32), (1280, 16), (1280, 8)];
    list.conv(16, 320, 64, 3);
    let mut skips = vec![320];
    let mut width = 320;
    for (channels, side) in LEVELS {
        for _ in 0..2 {
            list.resnet(width, channels, side);
            width = channels;
            skips.push(width);
            if side > 8 {
                list.transformer(channels, side);
            }
        }
        if side > 8 {
            list.halve(channels, side);
            skips.push(width);
        }
    }
    list.resnet(1280, 1280, 8);
    list.transformer(1280, 8);
    list.resnet(1280, 1280, 8);
    for (channels, side) in LEVELS.into_iter().rev() {
        for _ in 0..3 {
            list.resnet(width + skips.pop().unwrap_or(0), channels, side);
            width = channels;
            if side > 8 {
                list.transformer(channels, side);
            }
        }
        if side < 64 {
            list.enlarge(channels, 2 * side);
        }
    }
    list.last(320, 16, 64);
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use gendr_model::Description;

    use super::*;

    #[test]
    fn the_cases_are_all_of_the_model() {
        let cases = full_size_cases();
        let counted = |part| -> f64 {
            let cases = cases.iter().filter(|case| case.part == part);
            cases.map(|case| (case.calls * case.work.operations()) as f64 / 2.0).sum()
        };
        let description = Description::preset("sd21-vae16").unwrap();
        let device = Device::flex();
        let vae = description.vae.unwrap().init(&device).unwrap();
        let unet = description.unet.unwrap().init(&device).unwrap();
        for (part, want) in [
            (Part::Encoder, vae.encode_multiply_adds(512, 512)),
            // The network's own count has the time embedding and the prompt's keys too.
            (Part::Unet, unet.multiply_adds(64, 64, 77)),
            (Part::Decoder, vae.decode_multiply_adds(512, 512)),
        ] {
            let ratio = counted(part) / want as f64;
            assert!((0.99..1.001).contains(&ratio), "{part:?}: {ratio}");
        }
    }
}
