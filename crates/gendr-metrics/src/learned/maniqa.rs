//! MANIQA: multi-dimension attention network.

use gendr_image::{Error, Planes, Resampling, Resize, Result};

use super::{
    HALVES,
    attention::attend,
    check_size,
    convolution::Convolution,
    layers::{Linear, Tokens, sigmoid, transposed},
    swin::Swin,
    vision_transformer::VisionTransformer,
    weights::Weights,
};
use crate::levels::check_picture;

/// Side of the squares that are looked at, in pixels.
const SQUARE: usize = 224;
/// How many squares of a picture.
const SQUARES: usize = 20;
/// The blocks of the transformer whose tokens are used.
const BLOCKS: std::ops::Range<usize> = 6..10;

/// MANIQA (Yang et al. 2022), a score without a reference.
///
/// About 0 to 1, higher is better. Twenty squares of 224x224 pixels, spread evenly over the picture, go through a vision
/// transformer, attention among channels and windowed attention; smaller pictures are enlarged first.
#[derive(Clone, Debug)]
pub struct Maniqa {
    transformer: VisionTransformer,
    stages: [Stage; 2],
    score: [Linear; 2],
    weight: [Linear; 2],
}

impl Maniqa {
    /// With the parameter names of pyiqa; `scale` is that of the windowed layers: 0.8 for the weights trained on
    /// KonIQ-10k or KADID-10k, 0.13 for those trained on PIPAL.
    ///
    /// # Errors
    /// An input error that names the tensor that is missing or has the wrong shape.
    pub fn new(weights: &Weights, scale: f32) -> Result<Self> {
        let transformer = VisionTransformer::read(weights, "vit.", SQUARE, BLOCKS.end)?;
        let (width, side) = (transformer.width(), transformer.side());
        let first = Stage::read(weights, 1, width * BLOCKS.len(), side, scale)?;
        let second = Stage::read(weights, 2, first.width(), side, scale)?;
        let head = |name: &str| -> Result<[Linear; 2]> {
            let inner = Linear::read(weights, &format!("{name}.0"), second.width())?;
            let name = format!("{name}.3");
            let outer = Linear::read(weights, &name, inner.out_features())?.giving(1, &name)?;
            Ok([inner, outer])
        };
        let (score, weight) = (head("fc_score")?, head("fc_weight")?);
        Ok(Self { transformer, stages: [first, second], score, weight })
    }

    /// Scores a picture.
    ///
    /// # Errors
    /// Where the picture is neither grey nor colour, holds values that are not finite or has more than 2^24 pixels.
    pub fn score(&self, picture: &Planes) -> Result<f64> {
        check_picture(picture)?;
        check_size(picture, 8, "MANIQA")?;
        let input = enlarged(HALVES.input(picture))?;
        let per_side = (SQUARES as f64).sqrt();
        let step = |length: usize| (length - SQUARE) / per_side as usize;
        let columns = per_side.ceil() as usize;
        let (mut sum, mut weights) = (0.0, 0.0);
        for index in 0..SQUARES {
            let (y, x) = (index / columns * step(input.height()), index % columns * step(input.width()));
            let (scores, shares) = self.square(&input.crop(x, y, SQUARE, SQUARE)?)?;
            for (score, share) in scores.into_iter().zip(shares) {
                sum += f64::from(score) * f64::from(share);
                weights += f64::from(share);
            }
        }
        Ok(sum / (weights + 1e-8))
    }

    /// Score and weight of each patch of a square.
    fn square(&self, square: &Planes) -> Result<(Vec<f32>, Vec<f32>)> {
        let features = self.transformer.walk(square)?;
        let patches = self.transformer.side().pow(2);
        // Channels as rows, without the class.
        let mut rows = Vec::new();
        for tokens in &features[BLOCKS] {
            rows.extend(transposed(&tokens.data[tokens.width..], tokens.width));
        }
        let mut channels = Tokens { width: patches, data: rows };
        let mut pixels = channels.clone();
        for stage in &self.stages {
            pixels = stage.forward(channels)?;
            channels = Tokens { width: patches, data: transposed(&pixels.data, pixels.width) };
        }
        let head = |[inner, outer]: &[Linear; 2]| {
            outer.forward(&inner.forward(&pixels).mapped(|value| value.max(0.0)))
        };
        let score = head(&self.score).mapped(|value| value.max(0.0));
        Ok((score.data, head(&self.weight).mapped(sigmoid).data))
    }
}

/// The picture with both sides over [`SQUARE`], as torch's bilinear interpolation by a factor makes it.
fn enlarged(picture: Planes) -> Result<Planes> {
    let (width, height) = (picture.width(), picture.height());
    let least = width.min(height);
    if least > SQUARE {
        return Ok(picture);
    }
    let factor = (SQUARE + 1) as f64 / least as f64;
    let length = |old: usize| (old as f64 * factor).floor() as usize;
    Resize::by_factor((width, height), (length(width), length(height)), factor, Resampling::TORCH_BILINEAR)?
        .apply(&picture)
}

/// Attention among channels, a change of their number, attention in windows.
#[derive(Clone, Debug)]
struct Stage {
    channels: Vec<ChannelAttention>,
    conv: Convolution,
    windows: Swin,
    side: usize,
}

impl Stage {
    fn read(weights: &Weights, number: usize, in_channels: usize, side: usize, scale: f32) -> Result<Self> {
        let name = |block: usize| format!("tablock{number}.{block}.");
        let count = weights.count(|block| name(block) + "c_q.weight");
        let block = |index: usize| ChannelAttention::read(weights, &name(index), side * side);
        let conv = Convolution::read(weights, &format!("conv{number}"), in_channels, 1)?;
        if conv.kernel() != Some(1) {
            return Err(Error::input(format!("conv{number} does not work pixel by pixel")));
        }
        let windows =
            Swin::read(weights, &format!("swintransformer{number}"), conv.out_channels(), side, scale)?;
        Ok(Self { channels: (0..count).map(block).collect::<Result<_>>()?, conv, windows, side })
    }

    fn width(&self) -> usize {
        self.conv.out_channels()
    }

    /// From channels as rows to pixels as rows.
    fn forward(&self, channels: Tokens) -> Result<Tokens> {
        let channels = self.channels.iter().fold(channels, |channels, block| block.forward(channels));
        let maps = Planes::from_vec(channels.count(), self.side, self.side, channels.data)?;
        self.windows.forward(Tokens::of_pixels(&self.conv.forward(&maps)?))
    }
}

/// Attention in which every channel asks all channels.
#[derive(Clone, Debug)]
struct ChannelAttention {
    query: Linear,
    key: Linear,
    value: Linear,
}

impl ChannelAttention {
    fn read(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        let read = |what: &str| -> Result<Linear> {
            let name = format!("{name}{what}");
            Linear::read(weights, &name, width)?.giving(width, &name)
        };
        Ok(Self { query: read("c_q")?, key: read("c_k")?, value: read("c_v")? })
    }

    fn forward(&self, channels: Tokens) -> Tokens {
        let (query, key) = (self.query.forward(&channels), self.key.forward(&channels));
        let attended = attend(&query, &key, &self.value.forward(&channels), 1);
        // The published network turns the result before it reads it as channels again; weights are trained for that.
        let turned = Tokens { width: channels.width, data: transposed(&attended.data, attended.width) };
        channels.plus(&turned)
    }
}
