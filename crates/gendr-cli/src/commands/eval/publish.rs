//! Where the scores go: standard output, a table, a page.

use std::path::Path;

use gendr::{Error, Result};
use gendr_metrics::{
    Comparison, Evaluation, MetricInfo, ReportMethod, ReportOptions, compare, json_total, markdown_table,
    text_table, write_csv, write_report,
};

use super::{Method, score::unprintable};
use crate::{args::ResultArgs, console::print_data};

pub(super) fn publish(methods: &[Method], evaluations: &[Evaluation], results: &ResultArgs) -> Result<()> {
    let named = named(methods, evaluations);
    let metrics: &[MetricInfo] = evaluations.first().map_or(&[], |evaluation| &evaluation.metrics);
    let text = if results.json {
        json(&named, metrics)?
    } else if results.markdown {
        markdown_table(&named, metrics)
    } else {
        text_table(&named, metrics)
    };
    // Standard output first: a full disk must not cost the scores.
    print_data(&text)?;
    if let Some(path) = &results.csv {
        write_scores(path, &named)?;
    }
    if let Some(folder) = &results.report {
        report(folder, methods, evaluations, results)?;
    }
    Ok(())
}

/// Writes the tables of a restored set: `table.md` with the means, `scores.csv` with every picture.
pub(super) fn write_tables(folder: &Path, methods: &[Method], evaluations: &[Evaluation]) -> Result<()> {
    let named = named(methods, evaluations);
    let metrics: &[MetricInfo] = evaluations.first().map_or(&[], |evaluation| &evaluation.metrics);
    gendr::write_atomic(&folder.join("table.md"), markdown_table(&named, metrics).as_bytes(), &[])?;
    write_scores(&folder.join("scores.csv"), &named)
}

fn write_scores(path: &Path, methods: &[(&str, &Evaluation)]) -> Result<()> {
    let mut bytes = Vec::new();
    write_csv(methods, &mut bytes).map_err(unprintable)?;
    Ok(gendr::write_atomic(path, &bytes, &[])?)
}

fn named<'a>(methods: &'a [Method], evaluations: &'a [Evaluation]) -> Vec<(&'a str, &'a Evaluation)> {
    methods.iter().zip(evaluations).map(|(method, evaluation)| (method.name.as_str(), evaluation)).collect()
}

/// Refuses a table that could not be written, before any picture is scored.
pub(super) fn check(results: &ResultArgs) -> Result<()> {
    let folder = results.csv.as_deref().and_then(Path::parent);
    match folder.filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => Err(Error::argument("no such folder for the table").with_path(folder)),
        None => Ok(()),
    }
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

fn report(folder: &Path, methods: &[Method], evaluations: &[Evaluation], results: &ResultArgs) -> Result<()> {
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
