//! `gendr restore`: plans all results, opens the model once, then works through the batch.

use std::sync::{Mutex, PoisonError};

use gendr::{BatchObserver, Cutting, Error, ErrorKind, Job, Outcome, Progress, Recipe, RestoredFile, Result};
use serde_json::{Map, Value, json};

use super::{
    forecast,
    pace::Pace,
    reports::{Report, Reports},
};
use crate::{args::RestoreArgs, console::Console, interrupt, status::Status};

pub(crate) fn run(args: &RestoreArgs) -> Result<Status> {
    let mut options = args.options();
    options.validate()?;
    let mut files = args.file_options();
    files.validate()?;
    let like = args.like.as_deref().map(Recipe::read).transpose()?;
    let mut jobs = gendr::plan(&args.inputs, &args.naming(like.as_ref())?)?;
    if let Some(shard) = args.batch.shard {
        jobs.retain(|job| shard.holds(job));
    }
    let restorer = args.network.open()?;
    let console = Console::new(args.talk.quiet, jobs.len());
    if let Some(notice) = args.network.notice(&restorer) {
        console.warn(notice);
    }
    if let Some(recipe) = &like {
        recipe.apply(&restorer, &mut options, &mut files)?;
        if !recipe.is_of_this_version() {
            console.warn(&format!(
                "the recipe is of gendr {}, this version may make other pixels",
                recipe.version
            ));
        }
    }
    restorer.check(&options)?;
    if args.batch.dry_run {
        return forecast::run(&restorer, &jobs, &options, &files, &console, args.talk.json);
    }
    let cancel = interrupt::cancel_flag()?;
    let watch = Watch {
        console: &console,
        pace: Mutex::new(Pace::new()),
        reports: Mutex::new(Reports::new(&console, &args.talk, jobs.len())),
        like: like.as_ref().map(|recipe| recipe.cutting),
    };
    match restorer.restore_batch(&jobs, &options, &files, &args.batch_options(), &watch, &cancel) {
        Ok(_) => watch.reports.into_inner().unwrap_or_else(PoisonError::into_inner).end(),
        Err(error) if error.kind() == ErrorKind::Cancelled => {
            console.finish();
            console.say("stopped");
            if jobs.len() > 1 {
                console.say("hint: the same command with `--resume` goes on from here");
            }
            Ok(Status::Interrupted)
        }
        Err(error) => {
            console.finish();
            Err(error)
        }
    }
}

/// Shows a batch on the console.
struct Watch<'a> {
    console: &'a Console,
    pace: Mutex<Pace>,
    reports: Mutex<Reports<'a>>,
    /// How the recipe that is followed cuts pictures.
    like: Option<Cutting>,
}

impl BatchObserver for Watch<'_> {
    fn begun(&self, index: usize, _job: &Job, size: (usize, usize)) {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).begun(index, size);
    }

    fn progress(&self, index: usize, job: &Job, progress: Progress) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.at(index, progress.fraction);
        let tile = match progress.total {
            0 | 1 => String::new(),
            total => format!(", tile {} of {total}", (progress.done + 1).min(total)),
        };
        self.console.show_all(
            pace.pictures(),
            format!("{}{tile}, {:.2} MP/s", job.input, pace.megapixels_a_second()),
        );
    }

    fn finished(&self, index: usize, job: &Job, outcome: Outcome) {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).finished(index);
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Done(file, seconds) => reports.done(job, report(&file, seconds, self.like)),
            Outcome::Kept { width, height } => reports.kept(job, width, height),
            Outcome::FailedBefore(why) => reports.failed(job, &Error::input(why), true),
            Outcome::Failed(error) => reports.failed(job, &error, false),
        }
    }
}

fn report(file: &RestoredFile, seconds: f64, like: Option<Cutting>) -> Report {
    let mut more = Map::new();
    if let Some(drift) = file.drift {
        more.insert("drift".to_owned(), json!({ "mean": drift.mean, "worst": drift.worst }));
    }
    more.insert("blake3".to_owned(), Value::from(file.blake3.as_str()));
    let mut notices: Vec<String> = file.notices.iter().map(ToString::to_string).collect();
    let both_cut = like.filter(|like| like.tiles > 1 && file.cutting.tiles > 1);
    if both_cut.is_some_and(|like| (like.side, like.overlap) != (file.cutting.side, file.cutting.overlap)) {
        notices.push("the memory does not allow the tiles of the recipe: pixels may differ".to_owned());
    }
    Report { size: (file.width, file.height), seconds, notices, more }
}
