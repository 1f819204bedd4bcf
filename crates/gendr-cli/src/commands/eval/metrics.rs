//! Which metrics are computed.

use std::path::Path;

use gendr::{Error, Result};
use gendr_metrics::{
    Direction, Luma, Metric, MetricInfo, Needs, Niqe, NiqeModel, built_in_metric, built_in_metrics,
    learned_metric, learned_metrics,
};

use crate::console::print_data;

/// The metrics of an evaluation.
pub(super) struct Chosen {
    /// In the order of tables.
    pub(super) metrics: Vec<Box<dyn Metric>>,
    /// Whether they were asked for by name, so that a missing score is a failure.
    pub(super) by_name: bool,
    /// Metrics that cannot be computed for want of weights.
    pub(super) refused: Vec<Error>,
}

/// What there is to compute metrics from.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) reference: bool,
    pub(super) input: bool,
    /// Folder of the weights of learned metrics.
    pub(super) weights: Option<&'a Path>,
    /// Folder of pristine pictures, or the file of a model.
    pub(super) niqe_model: Option<&'a Path>,
}

impl Given<'_> {
    fn allows(self, info: &MetricInfo) -> bool {
        match info.needs {
            Needs::Output => true,
            Needs::Reference | Needs::References => self.reference,
            Needs::Input => self.input,
        }
    }

    fn built_in(self, id: &str) -> Result<Box<dyn Metric>> {
        match self.niqe_model {
            Some(path) if id == "niqe" => {
                Ok(Box::new(Niqe::new(NiqeModel::open(path, Luma::FullRange)?, Luma::FullRange)))
            }
            _ => Ok(built_in_metric(id)?),
        }
    }

    fn check(self, info: &MetricInfo) -> Result<()> {
        if self.allows(info) {
            return Ok(());
        }
        let (what, hint) = match info.needs {
            Needs::Input => ("the low-resolution pictures", "give their folder with `--input`"),
            _ => ("a reference", "give its folder after the pictures, or with `--reference`"),
        };
        Err(Error::argument(format!("{} needs {what}", info.id)).with_hint(hint))
    }
}

/// The metrics called `names`, or all that need nothing but the pictures there are. A learned metric whose weights are missing
/// or wrong is set aside; where nothing else is left, that is the error.
pub(super) fn choose(names: &[String], given: Given<'_>) -> Result<Chosen> {
    let by_name = !names.is_empty();
    let mut chosen = Chosen { metrics: Vec::new(), by_name, refused: Vec::new() };
    if !by_name {
        let ids = built_in_metrics().into_iter().filter(|info| given.allows(info)).map(|info| info.id);
        chosen.metrics = ids.map(|id| given.built_in(id)).collect::<Result<_>>()?;
        return Ok(chosen);
    }
    for name in names.iter().map(|name| name.trim().to_lowercase()) {
        if chosen.metrics.iter().any(|known| known.info().id == name) {
            continue;
        }
        if let Some(info) = learned_metrics().iter().find(|info| info.id == name) {
            given.check(info)?;
            match learned_metric(info.id, given.weights) {
                Ok(metric) => chosen.metrics.push(metric),
                Err(error) => chosen.refused.push(error.into()),
            }
        } else {
            let metric = given.built_in(&name)?;
            given.check(metric.info())?;
            chosen.metrics.push(metric);
        }
    }
    match chosen.refused.pop() {
        Some(error) if chosen.metrics.is_empty() => Err(error),
        last => {
            chosen.refused.extend(last);
            Ok(chosen)
        }
    }
}

/// Tells what the metrics are.
pub(super) fn list() -> Result<()> {
    let blocks: Vec<String> = built_in_metrics()
        .iter()
        .map(|info| describe(info, false))
        .chain(learned_metrics().iter().map(|info| describe(info, true)))
        .collect();
    print_data(&blocks.join("\n"))
}

fn describe(info: &MetricInfo, learned: bool) -> String {
    let better = match info.direction {
        Direction::Higher => "higher is better",
        Direction::Lower => "lower is better",
        Direction::Zero => "zero is best",
    };
    let needs = match info.needs {
        Needs::Output => "nothing but the picture",
        Needs::Reference => "a reference",
        Needs::References => "references",
        Needs::Input => "the low-resolution input",
    };
    let weights = if learned { ", and weights: `--weights`" } else { "" };
    format!(
        "{}\n  {}.\n  Range: {}; {better}.\n  Needs {needs}{weights}.\n  Source: {}.\n",
        info.id, info.definition, info.range, info.source
    )
}
