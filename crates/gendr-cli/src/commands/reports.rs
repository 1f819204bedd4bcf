//! What becomes of each picture, told the same way by every command that works through many.

use gendr::{Error, Job, Result};
use serde_json::{Map, Value, json};

use crate::{
    args::TalkArgs,
    console::{Console, print_json},
    status::Status,
};

/// What one picture came to.
pub(super) struct Report {
    /// Width and height of the result.
    pub(super) size: (usize, usize),
    /// How long it took.
    pub(super) seconds: f64,
    /// What was dropped or changed.
    pub(super) notices: Vec<String>,
    /// What else the JSON says.
    pub(super) more: Map<String, Value>,
}

/// Tells of pictures as they are finished, and of all in the end.
pub(super) struct Reports<'a> {
    console: &'a Console,
    json: bool,
    pictures: usize,
    finished: usize,
    kept: usize,
    failures: Vec<String>,
    broken: Option<Error>,
}

impl<'a> Reports<'a> {
    pub(super) fn new(console: &'a Console, talk: &TalkArgs, pictures: usize) -> Self {
        Self { console, json: talk.json, pictures, finished: 0, kept: 0, failures: Vec::new(), broken: None }
    }

    /// A picture is done.
    pub(super) fn done(&mut self, job: &Job, report: Report) {
        let Report { size: (width, height), seconds, notices, more } = report;
        for notice in &notices {
            self.console.warn(&format!("{notice}: {}", job.input));
        }
        if !self.json {
            self.console.say(&format!("{}: {width}x{height} in {seconds:.1} s", job.output));
        }
        let mut entry = json!({ "width": width, "height": height, "seconds": seconds, "warnings": notices });
        if let Some(entry) = entry.as_object_mut() {
            entry.extend(more);
        }
        self.tell(job, entry);
        self.finished += 1;
    }

    /// A picture was done before.
    pub(super) fn kept(&mut self, job: &Job, width: usize, height: usize) {
        self.tell(job, json!({ "width": width, "height": height, "kept": true }));
        self.kept += 1;
    }

    /// A picture failed now, or in a former run.
    pub(super) fn failed(&mut self, job: &Job, error: &Error, before: bool) {
        if before {
            self.console.say(&format!("failed before: {error}"));
        } else {
            self.console.error(error);
        }
        self.tell(job, json!({ "error": error.to_string(), "hint": error.hint(), "before": before }));
        self.failures.push(error.to_string());
    }

    fn tell(&mut self, job: &Job, mut entry: Value) {
        if !self.json {
            return;
        }
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("input".to_owned(), job.input.to_string().into());
            entry.insert("output".to_owned(), job.output.to_string().into());
        }
        if let Err(error) = print_json(&entry) {
            self.broken.get_or_insert(error);
        }
    }

    /// Tells of all.
    ///
    /// # Errors
    /// Where standard output could not be written.
    pub(super) fn end(self) -> Result<Status> {
        self.console.finish();
        if self.pictures > 1 {
            let before =
                if self.kept > 0 { format!(", {} of them before", self.kept) } else { String::new() };
            let done = self.finished + self.kept;
            self.console.say(&format!("{done} of {} pictures done{before}", self.pictures));
            if !self.failures.is_empty() {
                let list: Vec<String> = self.failures.iter().map(|failure| format!("  {failure}")).collect();
                self.console.say(&format!("{} failed:\n{}", self.failures.len(), list.join("\n")));
            }
        }
        match self.broken {
            Some(error) => Err(error),
            None if self.failures.is_empty() => Ok(Status::Done),
            None => Ok(Status::SomeFailed),
        }
    }
}
