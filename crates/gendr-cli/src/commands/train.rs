//! `gendr train`: reads the settings, trains, tells how it goes.

use std::path::Path;

use gendr::{Error, ErrorKind, Result};
use gendr_train::{
    Event, Paths, PhotosConfig, Progress, Report, base, distill, pack_crops, pix, plot, read_config, regress,
    vae,
};
use serde::de::DeserializeOwned;

use crate::{
    args::{CropsArgs, StageArgs, TrainArgs, TrainCommand},
    console::Console,
    interrupt,
    status::Status,
};

pub(crate) fn run(args: &TrainArgs) -> Result<Status> {
    match &args.command {
        TrainCommand::Regress(args) => train(args, regress::run),
        TrainCommand::Vae(args) => train(args, vae::run),
        TrainCommand::Base(args) => train(args, base::run),
        TrainCommand::Distill(args) => train(args, distill::run),
        TrainCommand::Pix(args) => train(args, pix::run),
        TrainCommand::Crops(args) => crops(args),
        TrainCommand::Plot { run } => {
            let path = plot(run).map_err(from_train)?;
            Console::new(false, 1).say(&format!("wrote {}", path.display()));
            Ok(Status::Done)
        }
    }
}

fn crops(args: &CropsArgs) -> Result<Status> {
    let photos = PhotosConfig { folders: args.photos.clone(), crop: args.crop.into(), candidates: 2 };
    let console = Console::new(false, 1);
    let place = (&photos, Path::new("."));
    pack_crops(place, (args.seed, args.count), args.quality, &args.output, &Talk(&console))
        .map_err(from_train)?;
    console.finish();
    Ok(Status::Done)
}

/// What each stage of the training crate offers.
type Stage<C> = fn(&C, &Paths, &dyn Progress, &dyn Fn() -> bool) -> gendr_train::Result<Report>;

fn train<C: DeserializeOwned>(args: &StageArgs, stage: Stage<C>) -> Result<Status> {
    let config: C = read_config(&args.config).map_err(from_train)?;
    let started = args.run.join("log.jsonl").exists();
    if started && !args.resume {
        return Err(Error::argument("the folder holds a run already")
            .with_hint("`--resume` goes on with it")
            .with_path(&args.run));
    }
    let cache = args.cache.clone().unwrap_or_else(|| args.run.join("cache"));
    let device = gendr_train::device(&args.device).map_err(from_train)?;
    let paths = Paths { data: args.data.clone(), cache, run: args.run.clone(), device };
    let cancel = interrupt::cancel_flag()?;
    let console = Console::new(false, 1);
    let report = stage(&config, &paths, &Talk(&console), &|| cancel.is_cancelled()).map_err(from_train)?;
    console.finish();
    Ok(if report.cancelled { Status::Interrupted } else { Status::Done })
}

struct Talk<'a>(&'a Console);

impl Progress for Talk<'_> {
    fn report(&self, event: Event<'_>) {
        match event {
            Event::Skipped(reason) => self.0.warn(reason),
            Event::Note(text) => self.0.say(text),
            Event::Pairs { done, total } => self.0.show(0, "pairs", done as f64 / total.max(1) as f64),
            Event::Step { step, steps, loss, .. } => {
                self.0.show(0, &format!("step {step}, loss {loss:.4}"), step as f64 / steps.max(1) as f64);
            }
            Event::Validated { step, scores } => {
                let scores: Vec<_> =
                    scores.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
                self.0.say(&format!("step {step}: {}", scores.join(", ")));
            }
            Event::Saved(path) => self.0.say(&format!("wrote {}", path.display())),
        }
    }
}

/// The training crate's error with its kind and hint.
fn from_train(error: gendr_train::Error) -> Error {
    use gendr_train::ErrorKind as Train;
    let kind = match error.kind() {
        Train::Input => ErrorKind::Input,
        Train::Argument => ErrorKind::Argument,
        Train::Limit => ErrorKind::Limit,
        Train::Unsupported => ErrorKind::Unsupported,
        Train::Resource => ErrorKind::Resource,
        Train::Io => ErrorKind::Io,
        Train::Cancelled => ErrorKind::Cancelled,
    };
    let own = Error::new(kind, error.to_string());
    let own = match error.hint() {
        Some(hint) => own.with_hint(hint),
        None => own,
    };
    own.with_source(error)
}
