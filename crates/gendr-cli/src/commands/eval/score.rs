//! The scores of one method, told as they come.

use std::{collections::BTreeMap, ops::ControlFlow};

use gendr::{CancelFlag, Error, Result};
use gendr_metrics::{EvaluateOptions, Evaluation, Needs, Row, evaluate, json_row};

use super::{Method, metrics::Chosen};
use crate::console::{Console, print_data};

/// How scores are told.
pub(super) struct Talk {
    pub(super) console: Console,
    /// Whether methods have to be told apart.
    pub(super) several: bool,
    pub(super) json: bool,
}

/// Scores a method's pictures. Also tells whether every picture has the scores that were asked for.
pub(super) fn score(
    method: &Method,
    chosen: &Chosen,
    options: &EvaluateOptions,
    talk: &Talk,
    cancel: &CancelFlag,
) -> Result<(Evaluation, bool)> {
    let shown = talk.several.then_some(method.name.as_str());
    let mut printed = Ok(());
    let mut done = 0;
    let evaluation = evaluate(&method.pairing.pairs, &chosen.metrics, options, |row| {
        done += 1;
        talk.console.show(done, &row.name, 0.0);
        if talk.json {
            printed = json_row(shown, row).map_err(unprintable).and_then(|line| print_data(&(line + "\n")));
        }
        if cancel.is_cancelled() || printed.is_err() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    printed?;
    let complete = talk.tell_missing_scores(method, &evaluation, chosen.by_name);
    Ok((evaluation, complete))
}

pub(super) fn unprintable(error: std::io::Error) -> Error {
    Error::new(gendr::ErrorKind::Input, "scores that cannot be written").with_source(error)
}

impl Talk {
    /// ` of NAME` where methods have to be told apart.
    fn of(&self, method: &Method) -> String {
        if self.several { format!(" of {}", method.name) } else { String::new() }
    }

    /// Reports pictures without scores one by one, and what else is missing or was changed once for each reason.
    fn tell_missing_scores(&self, method: &Method, evaluation: &Evaluation, by_name: bool) -> bool {
        let of = self.of(method);
        for row in evaluation.failed() {
            let reason = row.notes.last().map_or("it has no score", String::as_str);
            self.console.error(&Error::input(format!("no score for {}{of}: {reason}", row.name)));
        }
        let scored = || evaluation.rows.iter().filter(|row| row.in_set || !row.metrics.is_empty());
        let mut reasons: BTreeMap<&str, (usize, &Row, &str)> = BTreeMap::new();
        for row in scored() {
            for note in &row.notes {
                let subject = note.split(':').next().unwrap_or(note);
                reasons.entry(subject).or_insert((0, row, note)).0 += 1;
            }
        }
        for (count, row, note) in reasons.values() {
            let total = evaluation.rows.len();
            self.console.warn(&format!("{count} of {total} pictures{of}, such as {}: {note}", row.name));
        }
        for note in &evaluation.notes {
            self.console.error(&Error::input(format!("no score{of} for {note}")));
        }
        let single = || evaluation.metrics.iter().filter(|info| info.needs != Needs::References);
        let lacks = |row: &Row| single().any(|info| row.metrics.get(info.id).is_none());
        evaluation.notes.is_empty()
            && evaluation.failed().next().is_none()
            && !(by_name && scored().any(lacks))
    }

    /// Reports pictures without partners; false where there is one.
    pub(super) fn tell_unmatched(&self, method: &Method) -> bool {
        let (pairing, of) = (&method.pairing, self.of(method));
        for path in &pairing.unmatched_outputs {
            let message = format!("a picture{of} has no partner of the same name");
            self.console.error(&Error::input(message).with_path(path));
        }
        for path in &pairing.unmatched_references {
            let message = format!("the reference has no picture{of} of the same name");
            self.console.error(&Error::input(message).with_path(path));
        }
        pairing.unmatched_outputs.is_empty() && pairing.unmatched_references.is_empty()
    }
}
