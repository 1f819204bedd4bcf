//! Where the scores go: standard output, a table, a page.

use gendr::{Error, Result};
use gendr_metrics::{
    Comparison, Evaluation, MetricInfo, ReportMethod, ReportOptions, compare, json_total, markdown_table,
    text_table, write_csv, write_report,
};

use super::{Method, score::unprintable};
use crate::{args::ResultArgs, console::print_data};

pub(super) fn publish(methods: &[Method], evaluations: &[Evaluation], results: &ResultArgs) -> Result<()> {
    let named: Vec<(&str, &Evaluation)> = methods
        .iter()
        .zip(evaluations)
        .map(|(method, evaluation)| (method.name.as_str(), evaluation))
        .collect();
    let metrics: &[MetricInfo] = evaluations.first().map_or(&[], |evaluation| &evaluation.metrics);
    if let Some(path) = &results.csv {
        let mut bytes = Vec::new();
        write_csv(&named, &mut bytes).map_err(unprintable)?;
        gendr::write_atomic(path, &bytes, &[])?;
    }
    if let Some(folder) = &results.report {
        report(folder, methods, evaluations, results)?;
    }
    let text = if results.json {
        json(&named, metrics)?
    } else if results.markdown {
        markdown_table(&named, metrics)
    } else {
        text_table(&named, metrics)
    };
    print_data(&text)
}

/// The means of each method, then the comparisons.
fn json(methods: &[(&str, &Evaluation)], metrics: &[MetricInfo]) -> Result<String> {
    let several = methods.len() > 1;
    let mut text = String::new();
    for (name, evaluation) in methods {
        text += &json_total(several.then_some(*name), evaluation).map_err(unprintable)?;
        text.push('\n');
    }
    if several {
        let comparisons: Vec<Comparison> = metrics.iter().filter_map(|info| compare(methods, info)).collect();
        for comparison in comparisons {
            text += &serde_json::to_string(&comparison).map_err(|error| unprintable(error.into()))?;
            text.push('\n');
        }
    }
    Ok(text)
}

fn report(
    folder: &std::path::Path,
    methods: &[Method],
    evaluations: &[Evaluation],
    results: &ResultArgs,
) -> Result<()> {
    let shown: Vec<ReportMethod<'_>> = methods
        .iter()
        .zip(evaluations)
        .map(|(method, evaluation)| ReportMethod {
            name: &method.name,
            evaluation,
            pairs: &method.pairing.pairs,
        })
        .collect();
    let options = ReportOptions { ranked_by: results.rank_by.clone(), ..ReportOptions::default() };
    write_report(folder, &shown, &options).map_err(Error::from)?;
    Ok(())
}
