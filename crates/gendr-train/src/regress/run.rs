//! What one step of `regress` does, and what comes of it.

use super::{RegressConfig, losses::loss, student::restore};
use crate::{
    Result, Schedule,
    batches::{Pick, picks, read_pairs, turned},
    pairs::{Pairs, Teacher},
    photos::Split,
    progress::Progress,
    teacher::RealEsrgan,
    trainer::{Part, PartConfig, Paths, Plan, Report, Scores, Stage, State, settings_text, train},
    validation::picture_scores,
};
use burn::tensor::{Device, Tensor};
use gendr_image::Planes;
use gendr_model::{Description, Family, PixConfig, PixOutput, Precision, StoredModel, Unet, Weights};
use std::path::{Path, PathBuf};

/// The network in training.
const STUDENT: &str = "unet";

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
    let plan = Plan::new(config.training.steps, every, checkpoints, &paths.run, &settings);
    train(&mut stage, &plan, progress, cancelled)
}

struct Regress<'a> {
    config: &'a RegressConfig,
    device: Device,
    template: Unet,
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
        let teacher = match &config.teacher {
            Some(teacher) => Some(RealEsrgan::open(&paths.data.join(&teacher.weights))?),
            None => None,
        };
        let teacher = teacher.as_ref().map(|teacher| ("x4plus", teacher as &dyn Teacher));
        let source = (config.seed, &config.data);
        let training = (Split::Training, config.data.pairs);
        let pairs = read_pairs(source, paths, training, teacher, progress, cancelled)?;
        let held_out = (Split::Validation, config.validation.pairs);
        let validation = read_pairs(source, paths, held_out, None, progress, cancelled)?;
        let device = Device::flex().autodiff();
        let (template, parameters) = config.model.start(config.seed, &device)?;
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

    /// The mixture of the teacher's result and the sharp crop.
    fn target(&self, pick: Pick) -> Result<Planes> {
        let share = self.config.teacher.as_ref().map_or(0.0, |teacher| teacher.share) as f32;
        let mut target = self.pairs.high(pick.pair)?;
        if share > 0.0 {
            let teacher = self.pairs.teacher(pick.pair)?;
            for (value, taught) in target.data_mut().iter_mut().zip(teacher.data()) {
                *value += share * (taught - *value);
            }
        }
        turned(&target, pick.turn)
    }
}

impl Stage for Regress<'_> {
    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn step(&mut self) -> Result<Scores> {
        let (training, patch) = (&self.config.training, self.config.model.patch);
        let count = training.batch * training.accumulation;
        let picks = picks(self.config.seed, self.state.step, count, &self.pairs);
        let share = 1.0 / training.accumulation as f64;
        let unet = self.state.part(STUDENT)?.load(self.template.clone())?;
        let mut value = 0.0;
        for picks in picks.chunks(training.batch) {
            let enlarged = self.pairs.enlarged(picks, &self.device)?;
            let target = self.pairs.batch(picks, &self.device, |pick| self.target(pick))?;
            let output = restore(&unet, patch, enlarged)?;
            let loss = loss(&self.config.loss, patch, &to_unit(output), &to_unit(target));
            value += share * f64::from(loss.clone().into_scalar::<f32>());
            self.state.part(STUDENT)?.add_gradients(&unet, &mut loss.backward(), share)?;
        }
        let schedule = Schedule::Cosine { warmup: training.warmup, steps: training.steps };
        let factor = schedule.factor(self.state.step);
        let norm = self.state.part(STUDENT)?.update(factor)?;
        Ok(vec![("loss", value), ("gradient_norm", norm)])
    }

    fn validate(&mut self, run: &Path) -> Result<Scores> {
        let device = Device::flex();
        let unet = self.config.model.unet().init(&device)?;
        let unet = self.state.part(STUDENT)?.load_average(unet)?;
        let patch = self.config.model.patch;
        picture_scores(&self.validation, (run, self.state.step), |pick| {
            restore(&unet, patch, self.validation.enlarged(&[pick], &device)?)
        })
    }

    fn export(&mut self, run: &Path) -> Result<PathBuf> {
        let config = self.config.model.unet();
        let unet = self.state.part(STUDENT)?.load_average(config.init(&Device::flex())?)?;
        let mut weights = Weights::default();
        weights.insert_part("unet.", Weights::from_module(&unet)?);
        let description = Description {
            name: run.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            scale: self.config.data.scale,
            pix: PixConfig { patch: self.config.model.patch, output: PixOutput::Residual },
            color_fix: "none".to_owned(),
            origin: format!("gendr train regress, {} steps", self.state.step),
            unet: Some(config),
            ..Description::new(Family::Pix)
        };
        let path = run.join("model.safetensors");
        StoredModel::new(description, weights)?.save(&path, Precision::F16)?;
        Ok(path)
    }
}

fn to_unit(picture: Tensor<4>) -> Tensor<4> {
    picture.add_scalar(1.0).mul_scalar(0.5)
}
