//! `gendr restore`: plans all results, opens the model once, then restores one picture after the other.

use gendr::{Observer, Progress, Result};

use super::batch::{self, Report};
use crate::{args::RestoreArgs, status::Status};

pub(crate) fn run(args: &RestoreArgs) -> Result<Status> {
    let options = args.options();
    options.validate()?;
    let files = args.file_options();
    files.validate()?;
    let jobs = gendr::plan(&args.inputs, &args.naming())?;
    let restorer = args.network.open()?;
    restorer.check(&options)?;
    batch::run(&jobs, &args.talk, |_, job, show, cancel| {
        let restored = restorer.restore_file(job, &options, &files, &Fraction(show), cancel)?;
        Ok(Report {
            size: (restored.picture.width(), restored.picture.height()),
            notices: restored.notices.iter().map(ToString::to_string).collect(),
        })
    })
}

/// Passes on how much of a picture is done.
struct Fraction<'a>(&'a (dyn Fn(f64) + Sync));

impl Observer for Fraction<'_> {
    fn progress(&self, progress: Progress) {
        (self.0)(progress.fraction);
    }
}
