//! Metrics that need weights: read from files that the user gives.
//!
//! The networks only judge and are never trained, so they are plain forward passes on gendr-kernels; the rest of the crate
//! stays free of a tensor library.

mod attention;
mod catalog;
mod clip_iqa;
mod convolution;
mod dists;
mod features;
mod fid;
mod inception;
mod layers;
mod lpips;
mod maniqa;
mod musiq;
mod pooling;
mod residual;
mod swin;
mod topiq;
mod vision_transformer;
mod weights;

use gendr_image::{Error, Planes, Result};

pub use catalog::{learned_metric, learned_metrics};
pub use clip_iqa::ClipIqa;
pub use dists::Dists;
pub use fid::Fid;
pub use lpips::Lpips;
pub use maniqa::Maniqa;
pub use musiq::Musiq;
pub use topiq::Topiq;
pub use weights::Weights;

/// Most pixels of a picture that a network looks at: VGG's first features of more take over 8 GB.
const MAX_PIXELS: usize = 1 << 24;

/// How a network wants its colours.
#[derive(Clone, Copy)]
struct Normalization {
    mean: [f32; 3],
    deviation: [f32; 3],
}

/// The mean and deviation of ImageNet.
const IMAGENET: Normalization =
    Normalization { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };
/// Those of CLIP's pictures.
const CLIP: Normalization = Normalization {
    mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
    deviation: [0.268_629_54, 0.261_302_6, 0.275_777_1],
};
/// From -1 to 1.
const HALVES: Normalization = Normalization { mean: [0.5; 3], deviation: [0.5; 3] };

impl Normalization {
    fn input(self, picture: &Planes) -> Planes {
        network_input(picture, |channel, value| (value - self.mean[channel]) / self.deviation[channel])
    }
}

/// Colour in `0..=1`, grey three times, each value changed by its channel.
fn network_input(picture: &Planes, change: impl Fn(usize, f32) -> f32) -> Planes {
    let mut input = Planes::filled(3, picture.height(), picture.width(), 0.0);
    for channel in 0..3 {
        let source = picture.plane(channel.min(picture.channels() - 1));
        for (value, &level) in input.plane_mut(channel).iter_mut().zip(source) {
            *value = change(channel, level.clamp(0.0, 1.0));
        }
    }
    input
}

/// Refuses pictures too small or too large for a network.
fn check_size(picture: &Planes, least: usize, metric: &str) -> Result<()> {
    let (width, height) = (picture.width(), picture.height());
    if width.min(height) < least {
        let message =
            format!("{metric} needs sides of at least {least} pixels, this picture is {width}x{height}");
        return Err(Error::unsupported(message));
    }
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(Error::limit(format!(
            "{metric} takes at most {MAX_PIXELS} pixels, this picture is {width}x{height}"
        )));
    }
    Ok(())
}
