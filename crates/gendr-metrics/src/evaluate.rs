//! Scores of a folder of pictures, a few in memory at a time.

use std::{ops::ControlFlow, path::Path};

use gendr_image::{Error, Limits, Planes, Result};
use rayon::prelude::*;
use serde::Serialize;

use crate::{
    frechet::Distribution,
    metric::{Metric, MetricInfo, Needs, SetMetric},
    pairing::Pair,
    sample::Sample,
    scores::Scores,
    statistics::Summary,
};

/// A reference that is larger than the output by at most this many pixels a side loses them at the right and at the bottom:
/// what remains when a picture is cut to a multiple of the scale before it is made small.
pub const REFERENCE_MARGIN: usize = 7;

/// How to score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Pixels cut from every side of the output and the reference before scoring; usually the scale.
    pub border: usize,
    /// What one picture may cost.
    pub limits: Limits,
}

/// The scores of one picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// The picture's name.
    pub name: String,
    /// The metrics it has a score for.
    pub metrics: Scores,
    /// Why scores are missing, and what was done to the pictures before scoring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether it counts in a metric of whole sets.
    #[serde(skip)]
    pub in_set: bool,
}

/// The scores of a folder.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// The metrics, in the order of tables.
    pub metrics: Vec<MetricInfo>,
    /// One for each picture, in the order of the pairs.
    pub rows: Vec<Row>,
    /// The metrics of whole sets.
    pub set_scores: Scores,
    /// Why scores of the whole set are missing.
    pub notes: Vec<String>,
}

impl Evaluation {
    /// The scores of one metric, in the order of the rows that have it.
    pub fn scores(&self, id: &str) -> Vec<f64> {
        self.rows.iter().filter_map(|row| row.metrics.get(id)).collect()
    }

    /// The distribution of one metric; `None` where no picture has a score.
    pub fn summary(&self, id: &str) -> Option<Summary> {
        Summary::of(&self.scores(id))
    }

    /// The pictures that count in no score; their notes say why.
    pub fn failed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.metrics.is_empty() && !row.in_set)
    }

    /// The mean of each metric that has any score; the score itself of metrics of whole sets.
    pub fn means(&self) -> Scores {
        let mean = |info: &MetricInfo| {
            if let Some(score) = self.set_scores.get(info.id) {
                return Some((info.id, score));
            }
            let scores = self.scores(info.id);
            (!scores.is_empty()).then(|| (info.id, scores.iter().sum::<f64>() / scores.len() as f64))
        };
        self.metrics.iter().filter_map(mean).collect()
    }
}

/// Scores every pair with every metric that its files allow. Pictures are decoded as they are needed, about two for each
/// thread of the current rayon pool at a time. A picture that cannot be read or scored has a row that says why. Metrics of whole
/// sets keep the mean and covariance of the features alone.
///
/// `progress` sees each row, in order, and may stop the evaluation, which then ends with the rows so far.
pub fn evaluate(
    pairs: &[Pair],
    metrics: &[Box<dyn Metric>],
    options: &EvaluateOptions,
    mut progress: impl FnMut(&Row) -> ControlFlow<()>,
) -> Evaluation {
    let infos = metrics.iter().map(|metric| *metric.info()).collect();
    let mut evaluation = Evaluation { metrics: infos, ..Evaluation::default() };
    let mut sets: Vec<Sets<'_>> = metrics.iter().filter_map(|metric| Sets::new(metric.as_ref())).collect();
    // Batches bound the memory: a waiting thread may take up another picture, but only of its batch.
    for batch in pairs.chunks(2 * rayon::current_num_threads()) {
        let measured: Vec<(Row, Vec<Features>)> = batch
            .par_iter()
            .with_max_len(1)
            .map(|pair| {
                let mut row = Row { name: pair.name.clone(), ..Row::default() };
                let features = measure(pair, metrics, options, &mut row);
                (row, features)
            })
            .collect();
        for (row, features) in measured {
            for (set, features) in sets.iter_mut().zip(features) {
                set.add(features);
            }
            let flow = progress(&row);
            evaluation.rows.push(row);
            if flow.is_break() {
                return evaluation;
            }
        }
    }
    for set in sets {
        match set.output.distance(&set.reference) {
            Ok(score) => evaluation.set_scores.push(set.id, score),
            Err(error) => evaluation.notes.push(format!("{}: {error}", set.id)),
        }
    }
    evaluation
}

/// The feature vectors of an output and of its reference, for one metric of sets.
type Features = [Vec<f32>; 2];

/// What a metric of whole sets has seen.
struct Sets<'a> {
    id: &'a str,
    output: Distribution,
    reference: Distribution,
}

impl<'a> Sets<'a> {
    fn new(metric: &'a dyn Metric) -> Option<Self> {
        let width = metric.of_sets()?.width();
        let nothing = || Distribution::new(width);
        Some(Self { id: metric.info().id, output: nothing(), reference: nothing() })
    }

    fn add(&mut self, [output, reference]: Features) {
        self.output.add(&output);
        self.reference.add(&reference);
    }
}

/// Scores one pair and gives its features for the metrics of sets, empty where it has none.
fn measure(
    pair: &Pair,
    metrics: &[Box<dyn Metric>],
    options: &EvaluateOptions,
    row: &mut Row,
) -> Vec<Features> {
    let of_sets = metrics.iter().filter(|metric| metric.of_sets().is_some()).count();
    let mut features = vec![Features::default(); of_sets];
    let mut places = features.iter_mut();
    let sample = match load(pair, options, &mut row.notes) {
        Ok(sample) => sample,
        Err(error) => {
            row.notes.push(error.to_string());
            return features;
        }
    };
    for metric in metrics {
        let info = metric.info();
        let has_files = match info.needs {
            Needs::Output => true,
            Needs::Reference | Needs::References => pair.reference.is_some(),
            Needs::Input => pair.input.is_some(),
        };
        if !has_files {
            continue;
        }
        if let Some(set) = metric.of_sets() {
            match (places.next(), features_of(set, &sample)) {
                (Some(place), Ok(found)) => (*place, row.in_set) = (found, true),
                (_, Err(error)) => row.notes.push(format!("{}: {error}", info.id)),
                (None, Ok(_)) => {}
            }
            continue;
        }
        match metric.score(&sample) {
            Ok(score) if score.is_finite() => row.metrics.push(info.id, score),
            Ok(_) => row.notes.push(format!("{}: not a finite number", info.id)),
            Err(error) => row.notes.push(format!("{}: {error}", info.id)),
        }
    }
    features
}

fn features_of(metric: &dyn SetMetric, sample: &Sample) -> Result<Features> {
    Ok([metric.features(sample.output())?, metric.features(sample.reference()?)?])
}

fn load(pair: &Pair, options: &EvaluateOptions, notes: &mut Vec<String>) -> Result<Sample> {
    let mut read = |path: &Path| -> Result<Planes> {
        let picture = gendr_image::read(path, &options.limits)?;
        if picture.alpha.is_some() {
            notes.push(format!("opacity is not scored: {}", path.display()));
        }
        Ok(picture.color)
    };
    let output = read(&pair.output)?;
    let reference = pair.reference.as_deref().map(&mut read).transpose()?;
    let input = pair.input.as_deref().map(&mut read).transpose()?;
    let reference = match reference {
        Some(reference) => Some(fit(reference, &output, notes)?),
        None => None,
    };
    Sample::new(output, reference, input, options.border)
}

/// Cuts a reference that is a little too large.
fn fit(reference: Planes, output: &Planes, notes: &mut Vec<String>) -> Result<Planes> {
    let (width, height) = (output.width(), output.height());
    if (reference.width(), reference.height()) == (width, height) {
        return Ok(reference);
    }
    let fits = |reference: usize, output: usize| (output..=output + REFERENCE_MARGIN).contains(&reference);
    let sizes = format!("{width}x{height} and {}x{}", reference.width(), reference.height());
    if !fits(reference.width(), width) || !fits(reference.height(), height) {
        return Err(Error::input(format!("output and reference differ in size: {sizes}")));
    }
    notes.push(format!("the reference was cut to the output's size: {sizes}"));
    reference.crop(0, 0, width, height)
}
