//! The loop that all stages run in: steps, log, checkpoints, validation.

use super::{CheckpointConfig, Paths, State, ValidationConfig};
use crate::{
    Error, Result, files,
    progress::{Event, Progress},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

/// Steps between two lines of the log.
const LOG_EVERY: u64 = 20;

/// Named numbers, the most important first.
pub(crate) type Scores = Vec<(&'static str, f64)>;

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Steps taken in all, also by earlier runs.
    pub steps: u64,
    /// Whether the caller stopped it before the end.
    pub cancelled: bool,
    /// What was trained: a model or a network, a safetensors file.
    pub result: PathBuf,
}

/// A stage of the method: what one step does.
pub(crate) trait Stage {
    /// The networks in training.
    fn state(&mut self) -> &mut State;

    /// Takes one step from the present state and returns the losses before it. The loop counts the steps.
    fn step(&mut self) -> Result<Scores>;

    /// Scores on pictures that are not learnt from; some of what it makes of them goes into the folder of the run.
    fn validate(&mut self, run: &Path) -> Result<Scores>;

    /// Writes what the run is for into its folder.
    fn export(&mut self, run: &Path) -> Result<PathBuf>;
}

/// How far a run goes and what it leaves on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) steps: u64,
    pub(crate) validate_every: u64,
    pub(crate) checkpoints: CheckpointConfig,
    /// Where it takes place.
    pub(crate) paths: &'a Paths,
    /// What fixes the run: a checkpoint of other settings is refused.
    pub(crate) settings: &'a str,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(
        steps: u64,
        validation: ValidationConfig,
        checkpoints: CheckpointConfig,
        paths: &'a Paths,
        settings: &'a str,
    ) -> Self {
        Self { steps, validate_every: validation.every, checkpoints, paths, settings }
    }
}

/// The settings that fix a run, as they are kept in its checkpoints.
pub(crate) fn settings_text(config: &impl Serialize) -> Result<String> {
    serde_json::to_string(config)
        .map_err(|error| Error::argument("settings that cannot be stored").with_source(error))
}

/// Trains until the planned number of steps or until `cancelled` says so. The result depends on the configuration alone,
/// however often the run was stopped.
///
/// # Errors
/// Those of the stage; I/O errors; an input error where a gradient is no longer finite: the state that the step started
/// from is saved apart first, and the checkpoints stay as they are.
pub(crate) fn train(
    stage: &mut dyn Stage,
    plan: &Plan<'_>,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Report> {
    let Plan { steps, validate_every, checkpoints, paths: Paths { run, device, .. }, settings } = *plan;
    stage.state().reside_on(device);
    let first = stage.state().step;
    let started = Instant::now();
    while stage.state().step < steps && !cancelled() {
        let losses = match stage.step() {
            Ok(losses) => losses,
            Err(error) if error.is_divergence() => return Err(offending(stage, plan, &error)?),
            Err(error) => return Err(error),
        };
        stage.state().step += 1;
        let step = stage.state().step;
        if step.is_multiple_of(LOG_EVERY) || step == steps {
            let rate = started.elapsed().as_secs_f64() / (step - first) as f64;
            log(run, step, &losses, Some(rate))?;
            let loss = losses.first().map_or(0.0, |(_, loss)| *loss);
            progress.report(Event::Step { step, steps, loss, seconds_left: rate * (steps - step) as f64 });
        }
        if step.is_multiple_of(checkpoints.every) {
            progress.report(Event::Saved(&stage.state().save(run, settings, checkpoints.keep)?));
        }
        if step.is_multiple_of(validate_every) {
            let scores = stage.validate(run)?;
            log(run, step, &scores, None)?;
            progress.report(Event::Validated { step, scores: &scores });
        }
    }
    stage.state().save(run, settings, checkpoints.keep)?;
    let result = stage.export(run)?;
    progress.report(Event::Saved(&result));
    let taken = stage.state().step;
    Ok(Report { steps: taken, cancelled: taken < steps, result })
}

/// Keeps the state of a step that went wrong.
fn offending(stage: &mut dyn Stage, plan: &Plan<'_>, error: &Error) -> Result<Error> {
    let step = stage.state().step;
    let path = stage.state().save_offending(&plan.paths.run, plan.settings)?;
    let told = Error::diverged(format!("step {}: {error}: {}", step + 1, path.display()));
    Ok(told.with_hint("lower the learning rate; the checkpoints are from before this step"))
}

/// Adds a line to `log.jsonl`.
fn log(run: &Path, step: u64, scores: &Scores, seconds_a_step: Option<f64>) -> Result<()> {
    let mut line = Map::from_iter([("step".to_owned(), json!(step))]);
    line.extend(scores.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    line.extend(seconds_a_step.map(|seconds| ("seconds_a_step".to_owned(), json!(seconds))));
    let path = run.join("log.jsonl");
    let file = fs::OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| writeln!(file, "{}", Value::Object(line)))
        .map_err(|error| files::with_path("cannot write", &path, error))
}
