//! The scores of one method, told as they come.

use std::{collections::BTreeMap, ops::ControlFlow};

use gendr::{CancelFlag, Error, Result};
use gendr_metrics::{EvaluateOptions, Evaluation, Row, evaluate, json_row};

use super::{Method, metrics::Chosen};
use crate::console::{Console, print_data};

/// Scores a method's pictures; `shown` is its name where there are several. Also tells whether every picture has
/// the scores that were asked for.
pub(super) fn score(
    method: &Method,
    shown: Option<&str>,
    chosen: &Chosen,
    options: &EvaluateOptions,
    json: bool,
    console: &Console,
    cancel: &CancelFlag,
) -> Result<(Evaluation, bool)> {
    let mut printed = Ok(());
    let mut done = 0;
    let evaluation = evaluate(&method.pairing.pairs, &chosen.metrics, options, |row| {
        done += 1;
        console.show(done, &row.name, 0.0);
        if json && printed.is_ok() {
            printed = json_row(shown, row).map_err(unprintable).and_then(|line| print_data(&(line + "\n")));
        }
        if cancel.is_cancelled() || printed.is_err() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    printed?;
    let complete = tell_missing_scores(&evaluation, shown, chosen.by_name, console);
    Ok((evaluation, complete))
}

pub(super) fn unprintable(error: std::io::Error) -> Error {
    Error::new(gendr::ErrorKind::Input, "scores that cannot be written").with_source(error)
}

/// Reports pictures without scores one by one, and what else is missing or was changed once for each reason.
fn tell_missing_scores(
    evaluation: &Evaluation,
    shown: Option<&str>,
    by_name: bool,
    console: &Console,
) -> bool {
    let of = shown.map_or_else(String::new, |name| format!(" of {name}"));
    for row in evaluation.failed() {
        let reason = row.notes.last().map_or("it has no score", String::as_str);
        console.error(&Error::input(format!("no score for {}{of}: {reason}", row.name)));
    }
    let mut reasons: BTreeMap<&str, (usize, &Row, &str)> = BTreeMap::new();
    let scored = || evaluation.rows.iter().filter(|row| !row.metrics.is_empty());
    for row in scored() {
        for note in &row.notes {
            let subject = note.split(':').next().unwrap_or(note);
            reasons.entry(subject).or_insert((0, row, note)).0 += 1;
        }
    }
    for (count, row, note) in reasons.values() {
        let total = evaluation.rows.len();
        console.warn(&format!("{count} of {total} pictures{of}, such as {}: {note}", row.name));
    }
    let lacks = |row: &Row| evaluation.metrics.iter().any(|info| row.metrics.get(info.id).is_none());
    evaluation.failed().next().is_none() && !(by_name && scored().any(lacks))
}

/// Reports pictures without partners; false where there is one.
pub(super) fn tell_unmatched(method: &Method, several: bool, console: &Console) -> bool {
    let of = if several { format!(" of {}", method.name) } else { String::new() };
    for path in &method.pairing.unmatched_outputs {
        console
            .error(&Error::input(format!("a picture{of} has no partner of the same name")).with_path(path));
    }
    for path in &method.pairing.unmatched_references {
        console.error(
            &Error::input(format!("the reference has no picture{of} of the same name")).with_path(path),
        );
    }
    method.pairing.unmatched_outputs.is_empty() && method.pairing.unmatched_references.is_empty()
}
