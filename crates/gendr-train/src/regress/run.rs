//! The loop: batches, steps, checkpoints, validation.

use super::{Paths, RegressConfig, losses::loss, state::State, student::restore, training_pairs};
use crate::{
    Error, Result, Schedule, clip_gradients, files,
    pairs::{Pairs, PairsConfig, Teacher, load_or_make, pairs_folder, to_planes},
    parameters::gradients_of,
    photos::{Photos, Split},
    progress::{Event, Progress},
    teacher::RealEsrgan,
    update_average, warm_decay,
};
use burn::tensor::{Device, Tensor, TensorData};
use gendr_degrade::Draws;
use gendr_image::{Planes, upscale};
use gendr_metrics::{detail_scores, psnr_y};
use gendr_model::{Precision, Unet, save_parameters};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

/// What the pairs of a step and their turns are drawn from.
const BATCH_STREAM: u64 = 0x6261_7463;
/// Steps between two lines of the log.
const LOG_EVERY: u64 = 20;

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Steps taken in all, also by earlier runs.
    pub steps: u64,
    /// Whether the caller stopped it before the end.
    pub cancelled: bool,
    /// The UNet's averaged weights, f32 safetensors.
    pub weights: PathBuf,
}

/// Trains until the configured number of steps or until `cancelled` says so, from the newest checkpoint of the run's
/// folder if there is one. The result depends on the configuration alone, however often the run was stopped.
///
/// # Errors
/// Argument errors of the configuration, of pictures that cannot be found or of a checkpoint of another run; I/O errors;
/// an input error where the loss is no longer a number (the state is saved first).
pub fn run(
    config: &RegressConfig,
    paths: &Paths,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Report> {
    config.check()?;
    files::create_folder(&paths.run)?;
    let settings = serde_json::to_string(config)
        .map_err(|error| Error::argument("settings that cannot be stored").with_source(error))?;
    let device = Device::flex();
    let mut trainer = Trainer::new(config, paths, &settings, &device, progress, cancelled)?;
    let started = (Instant::now(), trainer.state.step);
    let steps = config.training.steps;
    while trainer.state.step < steps && !cancelled() {
        let loss = trainer.step()?;
        let step = trainer.state.step;
        if !loss.is_finite() {
            let path = trainer.state.save(&paths.run, &settings, config.checkpoints.keep)?;
            return Err(Error::input(format!("the loss of step {step} is {loss}: {}", path.display())));
        }
        if step.is_multiple_of(LOG_EVERY) {
            let rate = started.0.elapsed().as_secs_f64() / (step - started.1) as f64;
            let seconds_left = rate * (steps - step) as f64;
            trainer.log(&json!({ "step": step, "loss": loss, "seconds_a_step": rate }))?;
            progress.report(Event::Step { step, steps, loss, seconds_left });
        }
        if step.is_multiple_of(config.checkpoints.every) {
            progress.report(Event::Saved(&trainer.state.save(
                &paths.run,
                &settings,
                config.checkpoints.keep,
            )?));
        }
        if step.is_multiple_of(config.validation.every) {
            let (psnr, detail) = trainer.validate()?;
            trainer.log(&json!({ "step": step, "psnr_y": psnr, "d": detail }))?;
            progress.report(Event::Validated { step, psnr, detail });
        }
    }
    trainer.state.save(&paths.run, &settings, config.checkpoints.keep)?;
    let weights = paths.run.join("unet.safetensors");
    let average =
        trainer.state.weights.load_into(&trainer.state.average, config.model.unet().init(&device)?)?;
    save_parameters(&average, &weights, Precision::F32, &BTreeMap::new())?;
    progress.report(Event::Saved(&weights));
    Ok(Report { steps: trainer.state.step, cancelled: trainer.state.step < steps, weights })
}

struct Trainer<'a> {
    config: &'a RegressConfig,
    run: &'a Path,
    device: Device,
    unet: Unet,
    state: State,
    pairs: Pairs,
    validation: Pairs,
}

impl<'a> Trainer<'a> {
    fn new(
        config: &'a RegressConfig,
        paths: &'a Paths,
        settings: &str,
        device: &Device,
        progress: &dyn Progress,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self> {
        let teacher = match &config.teacher {
            Some(teacher) => Some(RealEsrgan::open(&paths.data.join(&teacher.weights))?),
            None => None,
        };
        let teacher = teacher.as_ref().map(|teacher| ("x4plus", teacher as &dyn Teacher));
        let pairs = training_pairs(config, paths, teacher, progress, cancelled)?;
        let validation = validation_pairs(config, paths, progress, cancelled)?;
        let device = device.clone().autodiff();
        let (unet, parameters) = config.model.start(config.seed, &device)?;
        let state = State::new(parameters, config.training.optimizer).resume(&paths.run, settings)?;
        let unet = state.weights.load_into(&state.weights.values, unet)?;
        Ok(Self { config, run: &paths.run, device, unet, state, pairs, validation })
    }

    /// One step; returns the loss before it.
    fn step(&mut self) -> Result<f64> {
        let training = &self.config.training;
        let (enlarged, target) = self.batch()?;
        let patch = self.config.model.patch;
        let output = restore(&self.unet, patch, enlarged)?;
        let loss = loss(&self.config.loss, patch, &output.add_scalar(1.0).mul_scalar(0.5), &target);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let mut gradients = gradients_of(&self.unet, &mut loss.backward())?;
        clip_gradients(&mut gradients, training.max_gradient_norm);
        let schedule = Schedule::Cosine { warmup: training.warmup, steps: training.steps };
        let state = &mut self.state;
        let rate = training.learning_rate * schedule.factor(state.step);
        state.optimizer.step(rate, state.weights.values.iter_mut(), &gradients);
        state.step += 1;
        let decay = warm_decay(training.average_decay, state.step);
        update_average(&mut state.average, state.weights.values.iter(), decay);
        let unet = self.unet.clone();
        self.unet = state.weights.load_into(&state.weights.values, unet)?;
        Ok(value)
    }

    /// Enlarged inputs in `[-1, 1]` and targets in `[0, 1]` of the step, each pair turned at random.
    fn batch(&self) -> Result<(Tensor<4>, Tensor<4>)> {
        let mut draws = Draws::new(self.config.seed ^ BATCH_STREAM, self.state.step);
        let (mut enlarged, mut targets) = (Vec::new(), Vec::new());
        let side = self.pairs.high_side;
        for _ in 0..self.config.training.batch {
            let (pair, turn) = (draws.below(self.pairs.count), draws.below(8));
            let low = turned(&self.pairs.low(pair)?, turn)?;
            enlarged.extend(upscale(&low, side, side)?.data().iter().map(|value| value * 2.0 - 1.0));
            targets.extend_from_slice(turned(&self.target(pair)?, turn)?.data());
        }
        let shape = [self.config.training.batch, 3, side, side];
        let tensor = |values| Tensor::from_data(TensorData::new(values, shape), &self.device);
        Ok((tensor(enlarged), tensor(targets)))
    }

    /// The mixture of the teacher's result and the sharp crop.
    fn target(&self, pair: usize) -> Result<Planes> {
        let share = self.config.teacher.as_ref().map_or(0.0, |teacher| teacher.share) as f32;
        let mut target = self.pairs.high(pair)?;
        if share > 0.0 {
            let teacher = self.pairs.teacher(pair)?;
            for (value, taught) in target.data_mut().iter_mut().zip(teacher.data()) {
                *value += share * (taught - *value);
            }
        }
        Ok(target)
    }

    /// Mean PSNR of luma and detail score of the averaged weights on held-out pairs.
    fn validate(&self) -> Result<(f64, f64)> {
        let device = Device::flex();
        let unet = self.config.model.unet().init(&device)?;
        let unet = self.state.weights.load_into(&self.state.average, unet)?;
        let side = self.validation.high_side;
        let (mut psnr, mut detail) = (0.0, 0.0);
        for pair in 0..self.validation.count {
            let mut enlarged = upscale(&self.validation.low(pair)?, side, side)?;
            enlarged.map_in_place(|value| value * 2.0 - 1.0);
            let data = TensorData::new(enlarged.into_vec(), [1, 3, side, side]);
            let output = restore(&unet, self.config.model.patch, Tensor::from_data(data, &device))?;
            let levels = output.add_scalar(1.0).mul_scalar(127.5).clamp(0.0, 255.0).round().div_scalar(255.0);
            let values = levels
                .into_data()
                .try_to_vec()
                .map_err(|error| Error::argument(format!("a result that is not f32: {error:?}")))?;
            let (output, reference) = (Planes::from_vec(3, side, side, values)?, self.validation.high(pair)?);
            psnr += psnr_y(&output, &reference)?;
            detail += detail_scores(&output, &reference)?.d;
        }
        let count = self.validation.count as f64;
        Ok((psnr / count, detail / count))
    }

    /// Adds a line to `log.jsonl`.
    fn log(&self, line: &serde_json::Value) -> Result<()> {
        let path = self.run.join("log.jsonl");
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{line}"))
            .map_err(|error| files::with_path("cannot write", &path, error))
    }
}

fn validation_pairs(
    config: &RegressConfig,
    paths: &Paths,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Pairs> {
    let degradation = config.data.degradation()?;
    let photos = Photos::list(&config.data.photos, &paths.data, Split::Validation)?;
    let pairs = PairsConfig { seed: config.seed, photos: &config.data.photos, degradation: &degradation };
    let folder = pairs_folder(&paths.cache, &pairs, &photos)?;
    load_or_make(&folder, &pairs, &photos, None, config.validation.pairs, progress, cancelled)
}

/// One of the eight turns and reflections of a square.
fn turned(picture: &Planes, turn: usize) -> Result<Planes> {
    let side = picture.height();
    let mut values = Vec::with_capacity(picture.data().len());
    for channel in 0..picture.channels() {
        let plane = picture.plane(channel);
        for y in 0..side {
            let y = if turn & 1 == 0 { y } else { side - 1 - y };
            values.extend((0..side).map(|x| {
                let x = if turn & 2 == 0 { x } else { side - 1 - x };
                if turn & 4 == 0 { plane[y * side + x] } else { plane[x * side + y] }
            }));
        }
    }
    Ok(Planes::from_vec(picture.channels(), side, side, values)?)
}

impl Pairs {
    fn low(&self, pair: usize) -> Result<Planes> {
        crop(&self.low, pair, self.low_side)
    }

    fn high(&self, pair: usize) -> Result<Planes> {
        crop(&self.high, pair, self.high_side)
    }

    fn teacher(&self, pair: usize) -> Result<Planes> {
        crop(&self.teacher, pair, self.high_side)
    }
}

fn crop(bytes: &[u8], pair: usize, side: usize) -> Result<Planes> {
    let size = 3 * side * side;
    to_planes(&bytes[pair * size..(pair + 1) * size], side)
}
