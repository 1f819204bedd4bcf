//! What a metric is, and the list of those that need no weights.

use gendr_image::{Error, Planes, Result};
use serde::{Serialize, Serializer};

use crate::{
    Niqe, Ssim, block_color_error, color_error, learned_metrics, low_resolution_psnr, ms_ssim, psnr,
    psnr::psnr_of_luma, sample::Sample, ssimulacra2,
};

/// Which values are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// The closer to zero the better.
    Zero,
}

impl Direction {
    /// The value as a loss: what is smaller is better.
    pub fn loss(self, value: f64) -> f64 {
        match self {
            Self::Higher => -value,
            Self::Lower => value,
            Self::Zero => value.abs(),
        }
    }
}

/// What a metric looks at beside the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Output,
    /// The reference, of the same size.
    Reference,
    /// The low-resolution input.
    Input,
    /// The references, all together: the metric scores whole sets.
    References,
}

/// All that a reader of a table has to know about a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricInfo {
    /// The name on the command line and in files, such as `psnr-y`.
    pub id: &'static str,
    /// The name in tables.
    pub name: &'static str,
    /// Definition in one sentence.
    pub definition: &'static str,
    /// The values it can take, with the unit.
    pub range: &'static str,
    /// Which of them are good.
    pub direction: Direction,
    /// Decimals in tables.
    pub decimals: usize,
    /// What it looks at.
    pub needs: Needs,
    /// Where it is defined.
    pub source: &'static str,
}

impl Serialize for MetricInfo {
    /// As its id.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id)
    }
}

/// A way to score a picture.
pub trait Metric: Send + Sync {
    /// What it is.
    fn info(&self) -> &MetricInfo;

    /// The score, a finite number.
    ///
    /// # Errors
    /// Where this picture has none; the message says why.
    fn score(&self, sample: &Sample) -> Result<f64>;

    /// How it scores whole sets, where a single picture has no score.
    fn of_sets(&self) -> Option<&dyn SetMetric> {
        None
    }
}

/// The Fréchet distance of the features of all outputs from those of all references.
pub trait SetMetric: Send + Sync {
    /// Length of a feature vector.
    fn width(&self) -> usize;

    /// The feature vectors of a picture, one after another.
    ///
    /// # Errors
    /// Where this picture has none; the message says why.
    fn features(&self, picture: &Planes) -> Result<Vec<f32>>;
}

/// A metric that is a plain function.
struct Plain {
    info: MetricInfo,
    score: fn(&Sample) -> Result<f64>,
}

impl Metric for &'static Plain {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn score(&self, sample: &Sample) -> Result<f64> {
        (self.score)(sample)
    }
}

impl Metric for Niqe {
    fn info(&self) -> &MetricInfo {
        &NIQE
    }

    fn score(&self, sample: &Sample) -> Result<f64> {
        Niqe::score(self, sample.output())
    }
}

/// The metrics that need no weights, in the order of tables.
pub fn built_in_metrics() -> Vec<MetricInfo> {
    let mut infos: Vec<MetricInfo> = PLAIN.iter().map(|metric| metric.info).collect();
    let after_ssim = infos.iter().take_while(|info| info.id != "ssimulacra2").count();
    infos.insert(after_ssim, NIQE);
    infos
}

/// The built-in metric of this id.
///
/// # Errors
/// An argument error, with the ids there are, where there is none of this name.
pub fn built_in_metric(id: &str) -> Result<Box<dyn Metric>> {
    if id == NIQE.id {
        return Ok(Box::new(Niqe::published()));
    }
    match PLAIN.iter().find(|metric| metric.info.id == id) {
        Some(metric) => Ok(Box::new(metric)),
        None => {
            let ids: Vec<&str> =
                built_in_metrics().iter().chain(&learned_metrics()).map(|info| info.id).collect();
            Err(Error::argument(format!("there is no metric {id}"))
                .with_hint(format!("known are {}", ids.join(", "))))
        }
    }
}

const NIQE: MetricInfo = MetricInfo {
    id: "niqe",
    name: "NIQE",
    definition: "Distance of the statistics of 96x96 blocks of rounded full-range luma from the published pristine model",
    range: "0 and up, good photographs 3 to 6",
    direction: Direction::Lower,
    decimals: 2,
    needs: Needs::Output,
    source: "Mittal, Soundararajan and Bovik 2013; as in pyiqa",
};

static PLAIN: [Plain; 13] = [
    Plain {
        info: MetricInfo {
            id: "psnr",
            name: "PSNR",
            definition: "10 log10(255^2 / MSE) over all pixels and channels",
            range: "0 to 100 dB, 100 for equal pictures",
            direction: Direction::Higher,
            decimals: 2,
            needs: Needs::Reference,
            source: "as in BasicSR",
        },
        score: |sample| psnr(sample.output(), sample.reference()?),
    },
    Plain {
        info: MetricInfo {
            id: "psnr-y",
            name: "PSNR-Y",
            definition: "PSNR on BT.601 studio-range luma, not rounded, peak 255",
            range: "0 to 100 dB, 100 for equal pictures",
            direction: Direction::Higher,
            decimals: 2,
            needs: Needs::Reference,
            source: "as in BasicSR and pyiqa",
        },
        score: |sample| Ok(psnr_of_luma(sample.output_luma()?, sample.reference_luma()?)),
    },
    Plain {
        info: MetricInfo {
            id: "ssim",
            name: "SSIM",
            definition: "Structural similarity of each channel, averaged; 11x11 Gaussian window of sigma 1.5",
            range: "-1 to 1, 1 for equal pictures",
            direction: Direction::Higher,
            decimals: 4,
            needs: Needs::Reference,
            source: "Wang, Bovik, Sheikh and Simoncelli 2004; as in BasicSR",
        },
        score: |sample| Ssim::RGB.score(sample.output(), sample.reference()?),
    },
    Plain {
        info: MetricInfo {
            id: "ssim-y",
            name: "SSIM-Y",
            definition: "SSIM on rounded BT.601 studio-range luma, negative structure counted as 0",
            range: "0 to 1, 1 for equal pictures",
            direction: Direction::Higher,
            decimals: 4,
            needs: Needs::Reference,
            source: "Wang, Bovik, Sheikh and Simoncelli 2004; as in pyiqa",
        },
        score: |sample| {
            let [output, reference] = [sample.output_luma()?, sample.reference_luma()?];
            Ssim::Y.score_levels(output, reference)
        },
    },
    Plain {
        info: MetricInfo {
            id: "ms-ssim",
            name: "MS-SSIM",
            definition: "SSIM over five scales on rounded full-range luma",
            range: "0 to 1, 1 for equal pictures",
            direction: Direction::Higher,
            decimals: 4,
            needs: Needs::Reference,
            source: "Wang, Simoncelli and Bovik 2003; as in pyiqa",
        },
        score: |sample| ms_ssim(sample.output(), sample.reference()?),
    },
    Plain {
        info: MetricInfo {
            id: "ssimulacra2",
            name: "SSIMULACRA2",
            definition: "Multi-scale similarity and edge errors in XYB colour, tuned on opinions of compressed pictures",
            range: "100 down without end, 100 for equal pictures",
            direction: Direction::Higher,
            decimals: 1,
            needs: Needs::Reference,
            source: "Cloudinary, version 2.1",
        },
        score: |sample| ssimulacra2(sample.output(), sample.reference()?),
    },
    Plain {
        info: MetricInfo {
            id: "dcor",
            name: "dcor",
            definition: "Cosine of the detail layers d(Y) = Y - up4(down4(Y)): is the added detail true?",
            range: "-1 to 1",
            direction: Direction::Higher,
            decimals: 3,
            needs: Needs::Reference,
            source: "this project",
        },
        score: |sample| Ok(sample.detail()?.dcor),
    },
    Plain {
        info: MetricInfo {
            id: "derr",
            name: "derr",
            definition: "Mean distance of the local strengths of the detail layers: is there as much as there should be?",
            range: "0 and up, octaves",
            direction: Direction::Lower,
            decimals: 3,
            needs: Needs::Reference,
            source: "this project",
        },
        score: |sample| Ok(sample.detail()?.derr),
    },
    Plain {
        info: MetricInfo {
            id: "d",
            name: "D",
            definition: "Detail score dcor - derr / 2",
            range: "1 down without end, 1 for equal pictures",
            direction: Direction::Higher,
            decimals: 3,
            needs: Needs::Reference,
            source: "this project",
        },
        score: |sample| Ok(sample.detail()?.d),
    },
    Plain {
        info: MetricInfo {
            id: "sharp",
            name: "sharp",
            definition: "log2 of the ratio of gradient energies: negative is blurrier than the reference, positive crisper",
            range: "any, octaves of energy",
            direction: Direction::Zero,
            decimals: 2,
            needs: Needs::Reference,
            source: "this project",
        },
        score: |sample| Ok(sample.detail()?.sharp),
    },
    Plain {
        info: MetricInfo {
            id: "de2000",
            name: "Delta E 2000",
            definition: "Mean colour difference CIEDE2000 over all pixels",
            range: "0 and up, about 1 is just visible",
            direction: Direction::Lower,
            decimals: 2,
            needs: Needs::Reference,
            source: "Luo, Cui and Rigg 2001; Sharma, Wu and Dalal 2005",
        },
        score: |sample| color_error(sample.output(), sample.reference()?),
    },
    Plain {
        info: MetricInfo {
            id: "de2000-block",
            name: "Delta E 2000, blocks",
            definition: "Mean CIEDE2000 between the mean colours of 16x16 squares: a drift of colour, whatever the texture",
            range: "0 and up, about 1 is just visible",
            direction: Direction::Lower,
            decimals: 2,
            needs: Needs::Reference,
            source: "this project, on CIEDE2000",
        },
        score: |sample| block_color_error(sample.output(), sample.reference()?),
    },
    Plain {
        info: MetricInfo {
            id: "lr-psnr",
            name: "LR-PSNR",
            definition: "PSNR of the output, shrunk by antialiased bicubic, against the low-resolution input",
            range: "0 to 100 dB",
            direction: Direction::Higher,
            decimals: 2,
            needs: Needs::Input,
            source: "NTIRE 2021 challenge on learning the super-resolution space",
        },
        score: |sample| low_resolution_psnr(sample.whole_output(), sample.input()?),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_found_by_its_id() {
        let infos = built_in_metrics();
        for info in &infos {
            assert_eq!(built_in_metric(info.id).unwrap().info(), info);
            assert_eq!(infos.iter().filter(|other| other.id == info.id).count(), 1);
        }
        assert!(
            built_in_metric("psnr-z")
                .is_err_and(|error| error.hint().is_some_and(|hint| hint.contains("psnr-y")))
        );
    }
}
