//! The learned metrics there are, and the files they need.

use std::path::Path;

use gendr_image::{Error, Result};

use super::{ClipIqa, Dists, Fid, Lpips, Maniqa, Musiq, Topiq, Weights};
use crate::{
    metric::{Direction, Metric, MetricInfo, Needs, SetMetric},
    sample::Sample,
};

/// A weight file: the names it may have, without the ending and the best first, and where to get it.
struct WeightFile {
    names: &'static [&'static str],
    from: &'static str,
}

/// A learned metric: what it is, its files, and how it is opened.
struct Learned {
    info: MetricInfo,
    files: &'static [WeightFile],
    open: fn(&Weights) -> Result<Network>,
}

/// Scores a picture.
type Score = dyn Fn(&Sample) -> Result<f64> + Send + Sync;

/// An opened network.
enum Network {
    /// Scores a picture alone or against its reference.
    Single(Box<Score>),
    /// Scores a set.
    Set(Fid),
}

impl Network {
    fn single(score: impl Fn(&Sample) -> Result<f64> + Send + Sync + 'static) -> Self {
        Self::Single(Box::new(score))
    }
}

const ALEXNET: WeightFile = WeightFile {
    names: &["alexnet", "alexnet-owt-7be5be79", "alexnet-owt-4df8aa71"],
    from: "torchvision's AlexNet (alexnet-owt-7be5be79.pth)",
};
const VGG16: WeightFile =
    WeightFile { names: &["vgg16", "vgg16-397923af"], from: "torchvision's VGG16 (vgg16-397923af.pth)" };
const INCEPTION: WeightFile = WeightFile {
    names: &["inception", "pt_inception-2015-12-05-6726825d"],
    from: "pytorch-fid's Inception v3 (pt_inception-2015-12-05-6726825d.pth)",
};
const PYIQA: &str = "chaofengc/IQA-PyTorch-Weights on Hugging Face";

static LEARNED: [Learned; 11] = [
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
        files: &[
            ALEXNET,
            WeightFile {
                names: &["lpips-alex", "LPIPS_v0.1_alex-df73285e", "alex"],
                from: "lpips/weights/v0.1/alex.pth of richzhang/PerceptualSimilarity",
            },
        ],
        open: |weights| {
            let lpips = Lpips::alex(weights)?;
            Ok(Network::single(move |sample| lpips.score(sample.output(), sample.reference()?)))
        },
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
        files: &[
            VGG16,
            WeightFile {
                names: &["lpips-vgg", "LPIPS_v0.1_vgg-a78928a0", "vgg"],
                from: "lpips/weights/v0.1/vgg.pth of richzhang/PerceptualSimilarity",
            },
        ],
        open: |weights| {
            let lpips = Lpips::vgg(weights)?;
            Ok(Network::single(move |sample| lpips.score(sample.output(), sample.reference()?)))
        },
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
        files: &[
            VGG16,
            WeightFile {
                names: &["dists", "DISTS_weights-f5e65c96", "weights"],
                from: "DISTS_pytorch/weights.pt of dingkeyan93/DISTS",
            },
        ],
        open: |weights| {
            let dists = Dists::new(weights)?;
            Ok(Network::single(move |sample| dists.score(sample.output(), sample.reference()?)))
        },
    },
    Learned {
        info: MetricInfo {
            id: "topiq-fr",
            name: "TOPIQ-FR",
            definition: "Quality against the reference by the features of a ResNet-50, deep ones asking shallow ones",
            range: "about 0 to 1",
            direction: Direction::Higher,
            decimals: 4,
            needs: Needs::Reference,
            source: "Chen et al. 2024, trained on KADID-10k; as in pyiqa",
        },
        files: &[WeightFile {
            names: &["topiq-fr", "cfanet_fr_kadid_res50-2c4cc61d"],
            from: "cfanet_fr_kadid_res50-2c4cc61d.pth",
        }],
        open: |weights| {
            let topiq = Topiq::with_reference(weights)?;
            Ok(Network::single(move |sample| topiq.score_pair(sample.output(), sample.reference()?)))
        },
    },
    Learned {
        info: MetricInfo {
            id: "topiq-nr",
            name: "TOPIQ-NR",
            definition: "Quality by the features of a ResNet-50, deep ones asking shallow ones",
            range: "about 0 to 1",
            direction: Direction::Higher,
            decimals: 4,
            needs: Needs::Output,
            source: "Chen et al. 2024, trained on KonIQ-10k; as in pyiqa",
        },
        files: &[WeightFile {
            names: &["topiq-nr", "cfanet_nr_koniq_res50-9a73138b"],
            from: "cfanet_nr_koniq_res50-9a73138b.pth",
        }],
        open: |weights| {
            let topiq = Topiq::without_reference(weights)?;
            Ok(Network::single(move |sample| topiq.score(sample.output())))
        },
    },
    Learned {
        info: MetricInfo {
            id: "musiq",
            name: "MUSIQ",
            definition: "Quality by a transformer over patches of the picture and of two smaller copies",
            range: "about 0 to 100",
            direction: Direction::Higher,
            decimals: 2,
            needs: Needs::Output,
            source: "Ke, Wang, Wang, Milanfar and Yang 2021, trained on KonIQ-10k; as in pyiqa",
        },
        files: &[WeightFile {
            names: &["musiq", "musiq_koniq_ckpt-e95806b9"],
            from: "musiq_koniq_ckpt-e95806b9.pth",
        }],
        open: |weights| {
            let musiq = Musiq::new(weights)?;
            Ok(Network::single(move |sample| musiq.score(sample.output())))
        },
    },
    Learned {
        info: MetricInfo {
            id: "maniqa",
            name: "MANIQA",
            definition: "Quality by a vision transformer and attention among channels and in windows, over 20 squares of the picture",
            range: "about 0 to 1",
            direction: Direction::Higher,
            decimals: 4,
            needs: Needs::Output,
            source: "Yang et al. 2022, trained on KonIQ-10k; as in pyiqa",
        },
        files: &[WeightFile { names: &["maniqa", "ckpt_koniq10k"], from: "ckpt_koniq10k.pt" }],
        open: |weights| {
            let maniqa = Maniqa::new(weights, 0.8)?;
            Ok(Network::single(move |sample| maniqa.score(sample.output())))
        },
    },
    Learned {
        info: MetricInfo {
            id: "maniqa-pipal",
            name: "MANIQA (PIPAL)",
            definition: "MANIQA trained on the results of restorers",
            range: "about 0 to 1",
            direction: Direction::Higher,
            decimals: 4,
            needs: Needs::Output,
            source: "Yang et al. 2022, trained on PIPAL; as in pyiqa",
        },
        files: &[WeightFile {
            names: &["maniqa-pipal", "MANIQA_PIPAL-ae6d356b"],
            from: "MANIQA_PIPAL-ae6d356b.pth",
        }],
        open: |weights| {
            let maniqa = Maniqa::new(weights, 0.13)?;
            Ok(Network::single(move |sample| maniqa.score(sample.output())))
        },
    },
    Learned {
        info: MetricInfo {
            id: "clipiqa",
            name: "CLIP-IQA",
            definition: "How much more the picture resembles five good words than their opposites, by CLIP's ResNet-50",
            range: "0 to 1",
            direction: Direction::Higher,
            decimals: 4,
            needs: Needs::Output,
            source: "Wang, Chan and Loy 2023; with the words of pyiqa",
        },
        files: &[WeightFile { names: &["clip-rn50", "RN50"], from: "RN50.pt of openai/CLIP" }],
        open: |weights| {
            let clip = ClipIqa::new(weights)?;
            Ok(Network::single(move |sample| clip.score(sample.output())))
        },
    },
    Learned {
        info: MetricInfo {
            id: "fid",
            name: "FID",
            definition: "Distance of the distributions of Inception's features over all outputs and over all references",
            range: "0 and up; comparable between sets of equal size, 10,000 pictures are usual",
            direction: Direction::Lower,
            decimals: 2,
            needs: Needs::References,
            source: "Heusel et al. 2017; resized as in clean-fid (Parmar, Zhang and Zhu 2022)",
        },
        files: &[INCEPTION],
        open: |weights| Ok(Network::Set(Fid::new(weights)?)),
    },
    Learned {
        info: MetricInfo {
            id: "patch-fid",
            name: "patch-FID",
            definition: "FID of patches of 256x256 pixels, on a grid and on that grid moved by 128 pixels",
            range: "0 and up; comparable between sets of equal size",
            direction: Direction::Lower,
            decimals: 2,
            needs: Needs::References,
            source: "Mentzer, Toderici, Tschannen and Agustsson 2020",
        },
        files: &[INCEPTION],
        open: |weights| Ok(Network::Set(Fid::of_patches(weights)?)),
    },
];

/// The metrics that need weights, in the order of tables.
pub fn learned_metrics() -> Vec<MetricInfo> {
    LEARNED.iter().map(|learned| learned.info).collect()
}

/// Opens the learned metric of this id with the weights in `folder`, safetensors or what `torch.save` wrote, under the
/// published names or the shorter ones that the hint of the error tells. Tensors have the names of the published files; those
/// of a metric with two files may lie in one.
///
/// # Errors
/// An argument error for an unknown id; an input error that names the metric where weights are missing, damaged or of the
/// wrong shape, with a hint what to get.
pub fn learned_metric(id: &str, folder: Option<&Path>) -> Result<Box<dyn Metric>> {
    let Some(learned) = LEARNED.iter().find(|learned| learned.info.id == id) else {
        return Err(Error::argument(format!("there is no learned metric {id}")));
    };
    let refuse = |error: Error| {
        Error::input(format!("{id} cannot be computed: {error}"))
            .with_hint(learned.what_to_get())
            .with_source(error)
    };
    let Some(folder) = folder else { return Err(refuse(Error::argument("no folder of weights was given"))) };
    let names: Vec<&[&str]> = learned.files.iter().map(|file| file.names).collect();
    let network = Weights::open(folder, &names).and_then(|weights| (learned.open)(&weights));
    Ok(Box::new(Opened { info: learned.info, network: network.map_err(refuse)? }))
}

impl Learned {
    fn what_to_get(&self) -> String {
        let files: Vec<String> = self
            .files
            .iter()
            .map(|file| {
                let place = if file.from.contains(' ') { String::new() } else { format!(" of {PYIQA}") };
                format!("{}{place} as {}.pth or .safetensors", file.from, file.names[0])
            })
            .collect();
        format!("give `--weights` a folder with {}; published names are found too", files.join(" and "))
    }
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
        match &self.network {
            Network::Single(score) => score(sample),
            Network::Set(_) => {
                Err(Error::argument(format!("{} has no score of a single picture", self.info.id)))
            }
        }
    }

    fn of_sets(&self) -> Option<&dyn SetMetric> {
        match &self.network {
            Network::Single(_) => None,
            Network::Set(fid) => Some(fid),
        }
    }
}

impl SetMetric for Fid {
    fn width(&self) -> usize {
        Fid::width(self)
    }

    fn features(&self, picture: &gendr_image::Planes) -> Result<Vec<f32>> {
        Fid::features(self, picture)
    }
}
