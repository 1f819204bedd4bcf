//! Which metrics are computed.

use gendr::{Error, Result};
use gendr_metrics::{Direction, Metric, MetricInfo, Needs, built_in_metric, built_in_metrics};

use crate::console::print_data;

/// The metrics of an evaluation.
pub(super) struct Chosen {
    /// In the order of tables.
    pub(super) metrics: Vec<Box<dyn Metric>>,
    /// Whether they were asked for by name, so that a missing score is a failure.
    pub(super) by_name: bool,
}

/// The metrics called `names`, or all that need nothing but the pictures there are.
pub(super) fn choose(names: &[String], has_reference: bool, has_input: bool) -> Result<Chosen> {
    let allowed = |info: &MetricInfo| match info.needs {
        Needs::Output => true,
        Needs::Reference => has_reference,
        Needs::Input => has_input,
    };
    let by_name = !names.is_empty();
    if !by_name {
        let ids = built_in_metrics().into_iter().filter(allowed).map(|info| info.id);
        let metrics = ids.map(built_in_metric).collect::<Result<_, _>>()?;
        return Ok(Chosen { metrics, by_name });
    }
    let mut metrics: Vec<Box<dyn Metric>> = Vec::new();
    for name in names.iter().map(|name| name.trim().to_lowercase()) {
        let metric = built_in_metric(&name)?;
        let info = metric.info();
        if !allowed(info) {
            let (what, hint) = match info.needs {
                Needs::Input => ("the low-resolution pictures", "give their folder with `--input`"),
                _ => ("a reference", "give its folder after the pictures, or with `--reference`"),
            };
            return Err(Error::argument(format!("{name} needs {what}")).with_hint(hint));
        }
        if metrics.iter().all(|known| known.info().id != info.id) {
            metrics.push(metric);
        }
    }
    Ok(Chosen { metrics, by_name })
}

/// Tells what the metrics are.
pub(super) fn list() -> Result<()> {
    let blocks: Vec<String> = built_in_metrics().iter().map(describe).collect();
    print_data(&blocks.join("\n"))
}

fn describe(info: &MetricInfo) -> String {
    let better = match info.direction {
        Direction::Higher => "higher is better",
        Direction::Lower => "lower is better",
        Direction::Zero => "zero is best",
    };
    let needs = match info.needs {
        Needs::Output => "nothing but the picture",
        Needs::Reference => "a reference",
        Needs::Input => "the low-resolution input",
    };
    format!(
        "{}\n  {}.\n  Range: {}; {better}.\n  Needs {needs}.\n  Source: {}.\n",
        info.id, info.definition, info.range, info.source
    )
}
