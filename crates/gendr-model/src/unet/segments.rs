//! The UNet in parts.

use burn::tensor::Tensor;

use super::{
    Unet,
    blocks::{DownBlock, MidBlock, UpBlock},
    conditioning::Conditioning,
    transformer::Transformer2d,
};
use crate::{
    error::Result,
    pass::Pass,
    resnet::ResnetBlock,
    segments::{Segment, Segmented, Skip},
};

/// A UNet with what it is told, cut after every layer. Each part computes its own share of the conditioning, so that the
/// gradients of a part lead to all parameters that it depends on.
pub struct UnetParts<'a> {
    unet: &'a Unet,
    timesteps: &'a [f32],
    prompt: &'a dyn Fn() -> Option<Tensor<3>>,
    places: Vec<Place>,
}

/// Where in the network a part lies.
#[derive(Clone, Copy)]
enum Place {
    ConvIn,
    Down { block: usize, layer: usize },
    Downsample { block: usize },
    Middle { layer: usize },
    Up { block: usize, layer: usize },
    Upsample { block: usize },
    Out,
}

impl Unet {
    /// The network in parts, told `timesteps` and what `prompt` returns, as [`Unet::condition`] takes them.
    ///
    /// # Errors
    /// As [`Unet::condition`].
    pub fn parts<'a>(
        &'a self,
        timesteps: &'a [f32],
        prompt: &'a dyn Fn() -> Option<Tensor<3>>,
    ) -> Result<UnetParts<'a>> {
        self.check_told(timesteps, prompt().as_ref())?;
        let mut places = vec![Place::ConvIn];
        for (block, down) in self.down_blocks.iter().enumerate() {
            places.extend((0..down.resnets.len()).map(|layer| Place::Down { block, layer }));
            places.extend(down.downsamplers.iter().map(|_| Place::Downsample { block }));
        }
        let middle = self.mid_block.iter().flat_map(|middle| 0..middle.resnets.len());
        places.extend(middle.map(|layer| Place::Middle { layer }));
        for (block, up) in self.up_blocks.iter().enumerate() {
            places.extend((0..up.resnets.len()).map(|layer| Place::Up { block, layer }));
            places.extend(up.upsamplers.iter().map(|_| Place::Upsample { block }));
        }
        places.push(Place::Out);
        Ok(UnetParts { unet: self, timesteps, prompt, places })
    }
}

impl UnetParts<'_> {
    fn down(&self, block: usize) -> &DownBlock {
        &self.unet.down_blocks[block]
    }

    fn up(&self, block: usize) -> &UpBlock {
        &self.unet.up_blocks[block]
    }

    fn middle(&self) -> Option<&MidBlock> {
        self.unet.mid_block.as_ref()
    }

    /// One residual block and its transformer, with their own share of the conditioning.
    fn layer(
        &self,
        x: Tensor<4>,
        resnets: &[ResnetBlock],
        attentions: &[Transformer2d],
        layer: usize,
    ) -> Tensor<4> {
        let mut conditioning = Conditioning::new(self.unet.embed_time(self.timesteps), (self.prompt)());
        conditioning.add(&resnets[layer], attentions.get(layer));
        conditioning.iter().layer(x, &resnets[layer], attentions.get(layer), &mut Pass::whole())
    }
}

impl Segmented for UnetParts<'_> {
    fn segments(&self) -> Vec<Segment> {
        let segment = |place: &Place| match *place {
            Place::ConvIn => Segment::new(Skip::Push).named("conv_in"),
            Place::Down { block, layer } => {
                let down = self.down(block);
                let last = down.downsamplers.is_empty() && layer + 1 == down.resnets.len();
                let segment = Segment::new(Skip::Push);
                if last { segment.named(format!("down_blocks.{block}")) } else { segment }
            }
            Place::Downsample { block } => Segment::new(Skip::Push).named(format!("down_blocks.{block}")),
            Place::Middle { layer } => {
                let last = self.middle().is_some_and(|middle| layer + 1 == middle.resnets.len());
                if last { Segment::new(Skip::None).named("mid_block") } else { Segment::new(Skip::None) }
            }
            Place::Up { block, layer } => {
                let up = self.up(block);
                let last = up.upsamplers.is_empty() && layer + 1 == up.resnets.len();
                let segment = Segment::new(Skip::Pop);
                if last { segment.named(format!("up_blocks.{block}")) } else { segment }
            }
            Place::Upsample { block } => Segment::new(Skip::None).named(format!("up_blocks.{block}")),
            Place::Out => Segment::new(Skip::None),
        };
        self.places.iter().map(segment).collect()
    }

    fn forward_segment(
        &self,
        index: usize,
        x: Tensor<4>,
        skipped: Option<Tensor<4>>,
        below: Option<[usize; 2]>,
    ) -> Tensor<4> {
        match self.places[index] {
            Place::ConvIn => self.unet.conv_in.forward(x),
            Place::Down { block, layer } => {
                let block = self.down(block);
                self.layer(x, &block.resnets, &block.attentions, layer)
            }
            Place::Downsample { block } => self.down(block).downsamplers[0].conv.forward(x),
            Place::Middle { layer } => match self.middle() {
                Some(block) => self.layer(x, &block.resnets, &block.attentions, layer),
                None => x,
            },
            Place::Up { block, layer } => {
                let block = self.up(block);
                let x = match skipped {
                    Some(skipped) => Tensor::cat(vec![x, skipped], 1),
                    None => x,
                };
                self.layer(x, &block.resnets, &block.attentions, layer)
            }
            Place::Upsample { block } => {
                let [_, _, h, w] = x.dims();
                let size = below.unwrap_or([2 * h, 2 * w]);
                self.up(block).upsamplers[0].conv.forward_upsampled(x, size, None)
            }
            Place::Out => {
                let Unet { conv_norm_out, conv_out, .. } = self.unet;
                Pass::whole().last(x, conv_norm_out, conv_out, "conv_norm_out")
            }
        }
    }
}
