//! Metrics that need weights: read from files that the user gives.
//!
//! The networks only judge and are never trained, so they are plain forward passes on gendr-kernels; the rest of the crate
//! stays free of a tensor library.

mod dists;
mod features;
mod lpips;
mod weights;

use std::path::Path;

use gendr_image::{Error, Planes, Result};

use crate::{
    metric::{Direction, Metric, MetricInfo, Needs},
    sample::Sample,
};
pub use dists::Dists;
use features::Backbone;
pub use lpips::Lpips;
pub use weights::Weights;

/// Most pixels of a picture that a network looks at: VGG's first features of more take over 8 GB.
const MAX_PIXELS: usize = 1 << 24;

/// A learned metric: what it is, the backbone's file, its own file, and where to get them.
struct Learned {
    info: MetricInfo,
    files: [&'static str; 2],
    get: &'static str,
    open: fn(&Weights) -> Result<Network>,
}

/// An opened network.
enum Network {
    Lpips(Lpips),
    Dists(Dists),
}

static LEARNED: [Learned; 3] = [
    Learned {
        info: MetricInfo {
            id: "lpips-alex",
            name: "LPIPS (Alex)",
            definition: "Distance of the features of AlexNet, weighted to agree with people",
            range: "0 and up, rarely over 1; 0 for equal pictures",
            direction: Direction::Lower,
            decimals: 4,
            needs: Needs::Reference,
            source: "Zhang, Isola, Efros, Shechtman and Wang 2018, version 0.1",
        },
        files: ["alexnet.safetensors", "lpips-alex.safetensors"],
        get: "torchvision's AlexNet (alexnet-owt-7be5be79.pth) and lpips/weights/v0.1/alex.pth of richzhang/PerceptualSimilarity",
        open: |weights| Ok(Network::Lpips(Lpips::new(Backbone::alexnet(weights)?, weights)?)),
    },
    Learned {
        info: MetricInfo {
            id: "lpips-vgg",
            name: "LPIPS (VGG)",
            definition: "Distance of the features of VGG16, weighted to agree with people",
            range: "0 and up, rarely over 1; 0 for equal pictures",
            direction: Direction::Lower,
            decimals: 4,
            needs: Needs::Reference,
            source: "Zhang, Isola, Efros, Shechtman and Wang 2018, version 0.1",
        },
        files: ["vgg16.safetensors", "lpips-vgg.safetensors"],
        get: "torchvision's VGG16 (vgg16-397923af.pth) and lpips/weights/v0.1/vgg.pth of richzhang/PerceptualSimilarity",
        open: |weights| Ok(Network::Lpips(Lpips::new(Backbone::vgg16(weights)?, weights)?)),
    },
    Learned {
        info: MetricInfo {
            id: "dists",
            name: "DISTS",
            definition: "Dissimilarity of the means and of the correlations of the features of VGG16: tolerant to texture resampled",
            range: "0 to about 1, 0 for equal pictures",
            direction: Direction::Lower,
            decimals: 4,
            needs: Needs::Reference,
            source: "Ding, Ma, Wang and Simoncelli 2020; pictures at their own size, as in pyiqa",
        },
        files: ["vgg16.safetensors", "dists.safetensors"],
        get: "torchvision's VGG16 (vgg16-397923af.pth) and DISTS_pytorch/weights.pt of dingkeyan93/DISTS",
        open: |weights| Ok(Network::Dists(Dists::new(weights)?)),
    },
];

/// The metrics that need weights, in the order of tables.
pub fn learned_metrics() -> Vec<MetricInfo> {
    LEARNED.iter().map(|learned| learned.info).collect()
}

/// Opens the learned metric of this id with the weights in `folder`: one safetensors file that holds everything, or the
/// backbone and the metric's own weights in a file each, under the names of the tensors in the published files.
///
/// # Errors
/// An argument error for an unknown id; an input error that names the metric where weights are missing, damaged or of the
/// wrong shape, with a hint what to get.
pub fn learned_metric(id: &str, folder: Option<&Path>) -> Result<Box<dyn Metric>> {
    let Some(learned) = LEARNED.iter().find(|learned| learned.info.id == id) else {
        return Err(Error::argument(format!("there is no learned metric {id}")));
    };
    let refuse = |error: Error| {
        let [backbone, own] = learned.files;
        Error::input(format!("{id} cannot be computed: {error}"))
            .with_hint(format!(
                "give a folder with {backbone} and {own}: {}, saved as safetensors",
                learned.get
            ))
            .with_source(error)
    };
    let Some(folder) = folder else { return Err(refuse(Error::argument("no folder of weights was given"))) };
    let network = Weights::open(folder, &learned.files).and_then(|weights| (learned.open)(&weights));
    Ok(Box::new(Opened { info: learned.info, network: network.map_err(refuse)? }))
}

/// A learned metric, ready.
struct Opened {
    info: MetricInfo,
    network: Network,
}

impl Metric for Opened {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn score(&self, sample: &Sample) -> Result<f64> {
        let (output, reference) = (sample.output(), sample.reference()?);
        match &self.network {
            Network::Lpips(lpips) => lpips.score(output, reference),
            Network::Dists(dists) => dists.score(output, reference),
        }
    }
}

/// Colour in `0..=1`, channel by channel, grey three times; `scale` and `shift` of each channel applied.
fn network_input(picture: &Planes, normalize: impl Fn(usize, f32) -> f32) -> Vec<f32> {
    let plane = |channel: usize| picture.plane(channel.min(picture.channels() - 1));
    (0..3)
        .flat_map(|channel| plane(channel).iter().map(move |&value| (channel, value.clamp(0.0, 1.0))))
        .map(|(c, v)| normalize(c, v))
        .collect()
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
