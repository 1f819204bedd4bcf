//! Pixels in other places.

use burn::backend::{
    Autodiff, Backend, Flex, TensorMetadata,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn_flex::FlexTensor;
use gendr_kernels::{
    channels_to_pixels, enlarge, enlarge_backward, overwritten, pixels_to_channels, transpose,
};

use super::{Dense, tensor};

/// Where pixels of `[n, c, h, w]` go.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) enum Rearrangement {
    /// Enlarged by nearest neighbour to this height and width, twice its own or one less.
    Enlarge([usize; 2]),
    /// `[n, c, h f, w f]` to `[n, c f², h, w]`.
    PixelsToChannels(usize),
    /// `[n, c f², h, w]` to `[n, c, h f, w f]`.
    ChannelsToPixels(usize),
    /// `[n, c, h, w]` to `[n, c, w, h]`.
    Transpose,
}

/// Rearrangements with gradients.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait RearrangementKernels: Backend {
    /// The pixels of `x` in other places.
    fn kernel_rearrange(x: FloatTensor<Self>, rearrangement: Rearrangement) -> FloatTensor<Self>;
}

impl RearrangementKernels for Flex {
    fn kernel_rearrange(x: FlexTensor, rearrangement: Rearrangement) -> FlexTensor {
        let from = x.shape();
        let from = [from[0], from[1], from[2], from[3]];
        let to = rearrangement.size(from);
        let x = Dense::new(x);
        let y = overwritten(to.iter().product(), |y| match rearrangement {
            Rearrangement::Enlarge(_) => enlarge((from[2], from[3]), (to[2], to[3]), x.values(), y),
            Rearrangement::PixelsToChannels(f) => pixels_to_channels(f, (from[2], from[3]), x.values(), y),
            Rearrangement::ChannelsToPixels(f) => channels_to_pixels(f, (to[2], to[3]), x.values(), y),
            Rearrangement::Transpose => transpose(from[2], from[3], x.values(), y),
        });
        tensor(y, to)
    }
}

impl Rearrangement {
    fn size(self, [n, c, h, w]: [usize; 4]) -> [usize; 4] {
        match self {
            Self::Enlarge([height, width]) => [n, c, height, width],
            Self::PixelsToChannels(f) => [n, c * f * f, h / f, w / f],
            Self::ChannelsToPixels(f) => [n, c / (f * f), h * f, w * f],
            Self::Transpose => [n, c, w, h],
        }
    }
}

impl<C: CheckpointStrategy> RearrangementKernels for Autodiff<Flex, C> {
    fn kernel_rearrange(x: FloatTensor<Self>, rearrangement: Rearrangement) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        let size = x.shape();
        match (RearrangementBackward { rearrangement }).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish([size[2], size[3]], Flex::kernel_rearrange(x, rearrangement))
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::kernel_rearrange(x, rearrangement)),
        }
    }
}

#[derive(Debug)]
struct RearrangementBackward {
    rearrangement: Rearrangement,
}

impl Backward<Flex, 1> for RearrangementBackward {
    /// Height and width before.
    type State = [usize; 2];

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let [Some(node)] = ops.parents else { return };
        let out = match self.rearrangement {
            Rearrangement::PixelsToChannels(f) => {
                Flex::kernel_rearrange(grad, Rearrangement::ChannelsToPixels(f))
            }
            Rearrangement::ChannelsToPixels(f) => {
                Flex::kernel_rearrange(grad, Rearrangement::PixelsToChannels(f))
            }
            Rearrangement::Transpose => Flex::kernel_rearrange(grad, Rearrangement::Transpose),
            Rearrangement::Enlarge([height, width]) => {
                let [h, w] = ops.state;
                let (large, grad) = (grad.shape(), Dense::new(grad));
                let out = overwritten(large[0] * large[1] * h * w, |out| {
                    enlarge_backward((h, w), (height, width), grad.values(), out);
                });
                tensor(out, [large[0], large[1], h, w])
            }
        };
        grads.register::<Flex>(node.id, out);
    }
}
