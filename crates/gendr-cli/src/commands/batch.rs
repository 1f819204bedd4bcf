//! One picture after the other: progress, messages and exit status are the same for every command that does so.

use std::time::Instant;

use gendr::{CancelFlag, ErrorKind, Job, Result};
use serde_json::json;

use crate::{
    args::TalkArgs,
    console::{Console, print_json},
    interrupt,
    status::Status,
};

/// What one picture came to.
pub(super) struct Report {
    /// Width and height of the result.
    pub(super) size: (usize, usize),
    /// What was dropped or changed.
    pub(super) notices: Vec<String>,
}

/// Runs `work` on each of `jobs`. A picture that fails is reported and does not stop the others. `work` gets the job's
/// number, the job, a place to tell the fraction done, and the flag that Ctrl-C sets.
pub(super) fn run(
    jobs: &[Job],
    talk: &TalkArgs,
    work: impl Fn(usize, &Job, &(dyn Fn(f64) + Sync), &CancelFlag) -> Result<Report>,
) -> Result<Status> {
    let cancel = interrupt::cancel_flag()?;
    let console = Console::new(talk.quiet, jobs.len());
    let mut failed = 0;
    for (index, job) in jobs.iter().enumerate() {
        let (input, output) = (job.input.to_string(), job.output.to_string());
        let start = Instant::now();
        let show = |fraction: f64| console.show(index, &input, fraction);
        show(0.0);
        let result = cancel.check().and_then(|()| work(index, job, &show, &cancel));
        let seconds = start.elapsed().as_secs_f64();
        let entry = match &result {
            Ok(report) => {
                let (width, height) = report.size;
                for notice in &report.notices {
                    console.warn(&format!("{notice}: {input}"));
                }
                if !talk.json {
                    console.say(&format!("{output}: {width}x{height} in {seconds:.1} s"));
                }
                json!({
                    "input": input, "output": output, "width": width, "height": height,
                    "seconds": seconds, "warnings": report.notices,
                })
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                console.finish();
                console.say("stopped");
                return Ok(Status::Interrupted);
            }
            Err(error) => {
                failed += 1;
                console.error(error);
                json!({ "input": input, "output": output, "error": error.to_string(), "hint": error.hint() })
            }
        };
        if talk.json {
            print_json(&entry)?;
        }
    }
    console.finish();
    if jobs.len() > 1 {
        console.say(&format!("{} of {} pictures done", jobs.len() - failed, jobs.len()));
    }
    Ok(if failed == 0 { Status::Done } else { Status::SomeFailed })
}
