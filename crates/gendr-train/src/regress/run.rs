//! What one step of `regress` does, and what comes of it.

use super::{RegressConfig, losses::loss, student::Student};
use crate::{
    Error, Result, Schedule,
    batches::{picks, read_taught},
    pairs::Pairs,
    parameters::Parameters,
    progress::Progress,
    trainer::{Part, PartConfig, Paths, Plan, Report, Scores, Stage, State, settings_text, train},
    validation::picture_scores,
};
use burn::tensor::{Device, Tensor};
use gendr_model::{Description, Precision, StoredModel, Weights};
use std::path::{Path, PathBuf};

/// The network in training.
const STUDENT: &str = "student";

/// Trains until the configured number of steps or until `cancelled` says so, from the newest checkpoint of the run's
/// folder if there is one. The result depends on the configuration alone, however often the run was stopped; it is a
/// model file of averaged weights in f16, for `gendr restore`.
///
/// # Errors
/// Argument errors of the configuration, of pictures that cannot be found or of a checkpoint of another run; I/O errors;
/// an input error where a gradient is no longer finite (the state is saved apart first).
pub fn run(
    config: &RegressConfig,
    paths: &Paths,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Report> {
    config.check()?;
    crate::files::create_folder(&paths.run)?;
    let settings = settings_text(config)?;
    let mut stage = Regress::new(config, paths, &settings, progress, cancelled)?;
    let (every, checkpoints) = (config.validation, config.checkpoints);
    let plan = Plan::new(config.training.steps, every, checkpoints, paths, &settings);
    train(&mut stage, &plan, progress, cancelled)
}

struct Regress<'a> {
    config: &'a RegressConfig,
    device: Device,
    /// Without weights.
    template: Student,
    state: State,
    pairs: Pairs,
    validation: Pairs,
}

impl<'a> Regress<'a> {
    fn new(
        config: &'a RegressConfig,
        paths: &'a Paths,
        settings: &str,
        progress: &dyn Progress,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self> {
        let (source, held_out) = ((config.seed, &config.data), config.validation.pairs);
        let (pairs, validation) =
            read_taught(source, held_out, config.teacher.as_ref(), paths, progress, cancelled)?;
        let device = paths.device.clone().autodiff();
        let template = config.model.init(config.seed, &device)?;
        let parameters = match &config.start {
            Some(start) => weights_of(&paths.data.join(start), config, template.clone())?,
            None => config.model.start(config.seed, &device)?,
        };
        let training = &config.training;
        let part = PartConfig {
            learning_rate: training.learning_rate,
            max_gradient_norm: training.max_gradient_norm,
            average_decay: Some(training.average_decay),
            optimizer: training.optimizer,
        };
        let state = State::new(vec![Part::of(STUDENT, parameters, part)]).resume(&paths.run, settings)?;
        Ok(Self { config, device, template, state, pairs, validation })
    }

    /// The network with averaged weights, not tracked.
    fn averaged(&mut self) -> Result<Student> {
        let student = self.config.model.init(self.config.seed, &self.device.clone().without_autodiff())?;
        self.state.part(STUDENT)?.load_average(student)
    }
}

impl Stage for Regress<'_> {
    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn step(&mut self) -> Result<Scores> {
        let (training, model) = (&self.config.training, &self.config.model);
        let count = training.batch * training.accumulation;
        let picks = picks(self.config.seed, self.state.step, count, &self.pairs);
        let share = 1.0 / training.accumulation as f64;
        let student = self.state.part(STUDENT)?.load(self.template.clone())?;
        let mut value = 0.0;
        for picks in picks.chunks(training.batch) {
            let enlarged = self.pairs.enlarged(picks, &self.device)?;
            let target = self.pairs.targets(picks, self.config.teacher.as_ref(), &self.device)?;
            let output = student.restore(model, enlarged)?;
            let loss = loss(&self.config.loss, model.factor(), &to_unit(output), &to_unit(target));
            value += share * f64::from(loss.clone().into_scalar::<f32>());
            self.state.part(STUDENT)?.add_gradients(&student, &mut loss.backward(), share)?;
        }
        let schedule = Schedule::Cosine { warmup: training.warmup, steps: training.steps };
        let factor = schedule.factor(self.state.step);
        let norm = self.state.part(STUDENT)?.update(factor)?;
        Ok(vec![("loss", value), ("gradient_norm", norm)])
    }

    fn validate(&mut self, run: &Path) -> Result<Scores> {
        let (student, device) = (self.averaged()?, self.device.clone().without_autodiff());
        picture_scores(&self.validation, (run, self.state.step), |pick| {
            student.restore(&self.config.model, self.validation.enlarged(&[pick], &device)?)
        })
    }

    fn export(&mut self, run: &Path) -> Result<PathBuf> {
        let weights = Weights::from_module(&self.averaged()?)?;
        let description = Description {
            name: run.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            scale: self.config.data.scale,
            origin: format!("gendr train regress, {} steps", self.state.step),
            ..self.config.model.description()
        };
        let path = run.join("model.safetensors");
        StoredModel::new(description, weights)?.save(&path, Precision::F16)?;
        Ok(path)
    }
}

/// The weights of a stored model of the same shape as `student`.
fn weights_of(path: &Path, config: &RegressConfig, student: Student) -> Result<Parameters> {
    let model = StoredModel::open(path)?;
    let (about, wanted) = (model.description(), config.model.description());
    let other = || {
        Error::argument(format!("{} is not of the shape that [model] says", path.display()))
            .with_hint("`gendr model info` shows its shape; leave out `start` to begin anew")
    };
    if (about.family, about.pix) != (wanted.family, wanted.pix) {
        return Err(other());
    }
    let student = model.weights().load(student).map_err(|error| other().with_source(error))?;
    Parameters::of(&student)
}

fn to_unit(picture: Tensor<4>) -> Tensor<4> {
    picture.add_scalar(1.0).mul_scalar(0.5)
}
