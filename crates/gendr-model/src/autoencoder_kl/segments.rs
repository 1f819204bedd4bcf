//! Encoder and decoder in parts.

use burn::tensor::Tensor;

use super::{
    AutoencoderKl,
    blocks::{Decoder, DownBlock, Encoder, MidBlock, UpBlock},
};
use crate::{
    pass::Pass,
    segments::{Segment, Segmented, Skip},
};

/// Pictures to moments, as [`AutoencoderKl::moments`].
pub struct EncoderParts<'a>(pub &'a AutoencoderKl);

/// Latents to pictures, as [`AutoencoderKl::decode`].
pub struct DecoderParts<'a>(pub &'a AutoencoderKl);

/// Where in one half a part lies.
#[derive(Clone, Copy)]
enum Place {
    In,
    Layer { block: usize, layer: usize },
    Resize { block: usize },
    Middle { layer: usize },
    Out,
}

impl EncoderParts<'_> {
    fn encoder(&self) -> &Encoder {
        &self.0.encoder
    }

    fn places(&self) -> Vec<Place> {
        let sizes = |block: &DownBlock| [block.resnets.len(), block.downsamplers.len()];
        let blocks = places(self.encoder().down_blocks.iter().map(sizes));
        let middle = middle(&self.encoder().mid_block);
        [vec![Place::In], blocks, middle, vec![Place::Out]].concat()
    }
}

impl DecoderParts<'_> {
    fn decoder(&self) -> &Decoder {
        &self.0.decoder
    }

    fn places(&self) -> Vec<Place> {
        let sizes = |block: &UpBlock| [block.resnets.len(), block.upsamplers.len()];
        let blocks = places(self.decoder().up_blocks.iter().map(sizes));
        let middle = middle(&self.decoder().mid_block);
        [vec![Place::In], middle, blocks, vec![Place::Out]].concat()
    }
}

/// The parts of blocks with so many residual blocks and resizing layers.
fn places(blocks: impl Iterator<Item = [usize; 2]>) -> Vec<Place> {
    let block = |(block, [layers, resizing]): (usize, [usize; 2])| {
        let layers = (0..layers).map(move |layer| Place::Layer { block, layer });
        layers.chain((0..resizing).map(move |_| Place::Resize { block }))
    };
    blocks.enumerate().flat_map(block).collect()
}

fn middle(block: &MidBlock) -> Vec<Place> {
    (0..block.resnets.len()).map(|layer| Place::Middle { layer }).collect()
}

fn segments(places: &[Place]) -> Vec<Segment> {
    places.iter().map(|_| Segment::new(Skip::None)).collect()
}

impl Segmented for EncoderParts<'_> {
    fn segments(&self) -> Vec<Segment> {
        segments(&self.places())
    }

    fn forward_segment(
        &self,
        index: usize,
        x: Tensor<4>,
        _skipped: Option<Tensor<4>>,
        _below: Option<[usize; 2]>,
    ) -> Tensor<4> {
        let (encoder, pass) = (self.encoder(), &mut Pass::whole());
        match self.places()[index] {
            Place::In => pass.conv(x, &encoder.conv_in),
            Place::Layer { block, layer } => encoder.down_blocks[block].resnets[layer].forward(x, None, pass),
            Place::Resize { block } => pass.downsample(x, &encoder.down_blocks[block].downsamplers[0].conv),
            Place::Middle { layer } => encoder.mid_block.layer(layer, x, pass),
            Place::Out => {
                let x = pass.last(x, &encoder.conv_norm_out, &encoder.conv_out, "encoder.conv_norm_out");
                self.0.quant_conv.iter().fold(x, |x, conv| pass.conv(x, conv))
            }
        }
    }
}

impl Segmented for DecoderParts<'_> {
    fn segments(&self) -> Vec<Segment> {
        segments(&self.places())
    }

    fn forward_segment(
        &self,
        index: usize,
        x: Tensor<4>,
        _skipped: Option<Tensor<4>>,
        _below: Option<[usize; 2]>,
    ) -> Tensor<4> {
        let (decoder, pass) = (self.decoder(), &mut Pass::whole());
        match self.places()[index] {
            Place::In => {
                let x = self.0.post_quant_conv.iter().fold(x, |x, conv| pass.conv(x, conv));
                pass.conv(x, &decoder.conv_in)
            }
            Place::Layer { block, layer } => decoder.up_blocks[block].resnets[layer].forward(x, None, pass),
            Place::Resize { block } => {
                let [_, _, h, w] = x.dims();
                pass.upsample(x, [2 * h, 2 * w], &decoder.up_blocks[block].upsamplers[0].conv)
            }
            Place::Middle { layer } => decoder.mid_block.layer(layer, x, pass),
            Place::Out => pass.last(x, &decoder.conv_norm_out, &decoder.conv_out, "decoder.conv_norm_out"),
        }
    }
}
