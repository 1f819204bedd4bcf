//! One picture after the other, for commands whose pictures need no network.

use std::time::Instant;

use gendr::{ErrorKind, Job, Result};

use super::reports::{Report, Reports};
use crate::{args::TalkArgs, console::Console, interrupt, status::Status};

/// Runs `work` on each of `jobs` and their numbers. A picture that fails is reported and does not stop the others. `work`
/// gives the size of the result and what was dropped or changed.
pub(super) fn run(
    jobs: &[Job],
    talk: &TalkArgs,
    work: impl Fn(usize, &Job) -> Result<((usize, usize), Vec<String>)>,
) -> Result<Status> {
    let cancel = interrupt::cancel_flag()?;
    let console = Console::new(talk.quiet, jobs.len());
    let mut reports = Reports::new(&console, talk, jobs.len());
    for (index, job) in jobs.iter().enumerate() {
        let start = Instant::now();
        console.show(index, &job.input.to_string(), 0.0);
        match cancel.check().and_then(|()| work(index, job)) {
            Ok((size, notices)) => {
                let seconds = start.elapsed().as_secs_f64();
                reports.done(job, Report { size, seconds, notices, more: serde_json::Map::new() });
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                console.finish();
                console.say("stopped");
                return Ok(Status::Interrupted);
            }
            Err(error) => reports.failed(job, &error, false),
        }
    }
    reports.end()
}
