//! A `pix` run from the teacher to a restorer on pixels.

use super::{
    MaskedFourier, PixStageConfig, Target,
    judge::Judge,
    start::{begin, fixed_unet},
};
use crate::{
    Error, Result, Schedule,
    batches::{Pick, picks, read_both},
    discriminator_loss,
    distill::Head,
    files,
    latents::FrozenAutoencoder,
    noise::{Stream, draws},
    pairs::Pairs,
    perceptual::Perceptual,
    progress::Progress,
    prompts::Prompts,
    recompute::{self, Saving},
    trainer::{Part, Paths, Plan, Report, Scores, Stage, State, settings_text, train},
    validation::picture_scores,
};
use burn::{
    module::Module,
    tensor::{Device, Gradients, Tensor},
};
use gendr_model::{
    AutoencoderKl, Description, Family, OneStep, PixConfig, PixOutput, Precision, StoredModel, Unet,
    UnetConfig, Weights, initialize, ops,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const STUDENT: &str = "unet";
const HEAD: &str = "head";

/// Trains a restorer without encoder or without autoencoder; the result is a model file of averaged weights, f16.
///
/// # Errors
/// As [`regress::run`](crate::regress::run).
pub fn run(
    config: &PixStageConfig,
    paths: &Paths,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Report> {
    let teacher = StoredModel::open(&paths.data.join(&config.teacher))?;
    if teacher.description().family != Family::Latent {
        return Err(Error::argument("the teacher must be a model on latents")
            .with_hint("`gendr train distill` makes one"));
    }
    let autoencoder = FrozenAutoencoder::of_model(&teacher, &paths.device)?;
    config.check(autoencoder.factor())?;
    files::create_folder(&paths.run)?;
    let settings = settings_text(config)?;
    let source = (config.seed, &config.data);
    let (pairs, validation) = read_both(source, config.validation.pairs, paths, progress, cancelled)?;
    let mut stage = Pix::new((config, paths), teacher, autoencoder, [pairs, validation], progress)?;
    stage.state = stage.state.resume(&paths.run, &settings)?;
    let (every, checkpoints) = (config.validation, config.checkpoints);
    let plan = Plan::new(config.training.steps, every, checkpoints, paths, &settings);
    train(&mut stage, &plan, progress, cancelled)
}

struct Pix<'a> {
    config: &'a PixStageConfig,
    device: Device,
    model: StoredModel,
    autoencoder: FrozenAutoencoder,
    teacher: Unet,
    prompts: Option<Prompts>,
    one_step: OneStep,
    student_config: UnetConfig,
    /// Without weights.
    student: Unet,
    judge: Option<(Judge, Head)>,
    fourier: MaskedFourier,
    /// The perceptual term and the autoencoder whose encoder serves where it has no weights.
    perceptual: Option<(Perceptual, AutoencoderKl)>,
    state: State,
    pairs: Pairs,
    validation: Pairs,
}

impl<'a> Pix<'a> {
    fn new(
        (config, paths): (&'a PixStageConfig, &Paths),
        model: StoredModel,
        autoencoder: FrozenAutoencoder,
        [pairs, validation]: [Pairs; 2],
        progress: &dyn Progress,
    ) -> Result<Self> {
        let device = paths.device.clone().autodiff();
        let (teacher_config, teacher) = fixed_unet(&model, &device)?;
        let prompts = Prompts::of_model(&model, &device)?;
        let previous = match &config.previous {
            Some(path) => Some(StoredModel::open(&paths.data.join(path))?),
            None => None,
        };
        let pixels = 3 * config.patch * config.patch;
        let out_channels = match config.target {
            Target::Latent => teacher_config.out_channels,
            Target::Picture => pixels,
        };
        let student_config = UnetConfig { in_channels: pixels, out_channels, ..teacher_config.clone() };
        let source = previous.as_ref().unwrap_or(&model).weights().part("unet.");
        let student = begin(&student_config, &source, config, &device)?;

        let one_step = model.description().one_step;
        let prompt = prompts.as_ref().map(|prompts| prompts.batch(0, 1));
        let mut parts = vec![Part::new(STUDENT, &student, config.optimization)?];
        // From now on its weights are the part's.
        drop(student);
        let student = student_config.init(&device)?;
        let judge = match (config.loss.adversarial > 0.0, &previous) {
            (false, _) => None,
            (true, Some(previous)) if config.target == Target::Picture => {
                let (judge_config, unet) = fixed_unet(previous, &device)?;
                if judge_config.in_channels != pixels {
                    return Err(Error::argument("`previous` has another patch than this run"));
                }
                Some(Judge { unet, timestep: one_step.timestep, prompt, patch: Some(config.patch) })
            }
            (true, _) => {
                Some(Judge { unet: teacher.clone(), timestep: one_step.timestep, prompt, patch: None })
            }
        };
        let deepest = teacher_config.block_out_channels.last().copied().unwrap_or(0);
        let head = initialize(Head::new(deepest, teacher_config.norm_num_groups, &device), config.seed);
        if judge.is_some() {
            parts.push(Part::new(HEAD, &head, config.head)?);
        }
        let perceptual = match config.target {
            Target::Picture => config.perceptual.open(&paths.data, &device, progress)?,
            Target::Latent => None,
        };
        let perceptual = match perceptual {
            Some(perceptual) => Some((perceptual, autoencoder.differentiable(&device)?)),
            None => None,
        };
        let side = pairs.high_side;
        let fourier = MaskedFourier::new([side, side], config.patch, config.loss.fourier_radius, &device);
        Ok(Self {
            config,
            device,
            autoencoder,
            teacher,
            prompts,
            one_step,
            student_config,
            student,
            judge: judge.map(|judge| (judge, head)),
            fourier,
            perceptual,
            state: State::new(parts),
            pairs,
            validation,
            model,
        })
    }

    fn pix(&self) -> PixConfig {
        PixConfig { patch: self.config.patch, output: PixOutput::Residual }
    }

    fn told(&self) -> Option<Tensor<3>> {
        self.prompts.as_ref().map(|prompts| prompts.batch(0, 1))
    }

    /// The student's latent or picture out of what its UNet makes of unshuffled pictures.
    fn completed(&self, x: Tensor<4>, enlarged: &Tensor<4>) -> Tensor<4> {
        match self.config.target {
            Target::Latent => x,
            Target::Picture => enlarged.clone() + ops::pixel_shuffle(x, self.config.patch),
        }
    }

    /// What the student makes of enlarged pictures: a latent or a picture.
    fn restore(&self, unet: &Unet, prompts: Option<&Prompts>, enlarged: &Tensor<4>) -> Result<Tensor<4>> {
        let told = prompts.map(|prompts| prompts.batch(0, 1));
        let conditioning = unet.condition(&[self.one_step.timestep], told)?;
        let x = ops::pixel_unshuffle(enlarged.clone(), self.config.patch);
        Ok(self.completed(unet.forward(x, &conditioning), enlarged))
    }

    /// The teacher's latent or picture, and the sharp one.
    fn targets(&self, picks: &[Pick], enlarged: &Tensor<4>) -> Result<[Tensor<4>; 2]> {
        let low = self.autoencoder.encode(enlarged.clone());
        let (timesteps, told) = ([self.one_step.timestep], || self.told());
        let saving = Saving::parts_of_pictures(self.config.checkpointing);
        let noise = recompute::output(saving, &self.teacher.parts(&timesteps, &told)?, low.clone());
        let taught = self.one_step.clean(low, noise).detach();
        let sharp = self.pairs.sharp(picks, &self.device)?;
        Ok(match self.config.target {
            Target::Latent => [taught, self.autoencoder.encode(sharp)],
            Target::Picture => [self.autoencoder.decode(taught).autodiff(), sharp],
        })
    }

    /// RandPad: both padded alike, by one patch in all, so that no phase of the shuffle can be told.
    fn padded(&self, x: Tensor<4>, [top, left]: [usize; 2]) -> Tensor<4> {
        let patch = self.config.patch;
        match self.config.target {
            Target::Latent => x,
            Target::Picture => {
                let padding = ops::Padding { top, left, bottom: patch - top, right: patch - left };
                self.pix().pad(x, padding)
            }
        }
    }

    fn averaged(&mut self) -> Result<Unet> {
        let network = self.student_config.init(&self.device.clone().without_autodiff())?;
        self.state.part(STUDENT)?.load_average(network)
    }
}

impl Stage for Pix<'_> {
    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn step(&mut self) -> Result<Scores> {
        let (training, step, weights) = (self.config.training, self.state.step, self.config.loss);
        let picks = picks(self.config.seed, step, training.batch * training.accumulation, &self.pairs);
        let share = 1.0 / training.accumulation as f64;
        let mut choice = draws(self.config.seed, Stream::Choice, step);
        let unet = self.state.part(STUDENT)?.load(self.student.clone())?;
        let fixed = unet.clone().no_grad();
        let mut scores = vec![("loss", 0.0), ("l1", 0.0), ("adversarial", 0.0), ("fourier", 0.0)];
        scores.extend([("discriminator", 0.0), ("perceptual", 0.0)]);
        let mut add = |index: usize, value: &Tensor<1>| {
            scores[index].1 += share * f64::from(value.clone().into_scalar::<f32>());
        };
        let head = match &self.judge {
            Some((_, head)) => Some(self.state.part(HEAD)?.load(head.clone())?),
            None => None,
        };
        let judge = self.judge.as_ref().map(|(judge, _)| judge).zip(head);
        let phase = [choice.below(self.config.patch), choice.below(self.config.patch)];
        let mut state = std::mem::take(&mut self.state);
        let this = &*self;
        let mut learn = |picks: &[Pick]| -> Result<()> {
            let enlarged = this.pairs.enlarged(picks, &this.device)?;
            let [taught, sharp] = this.targets(picks, &enlarged)?;
            let (saving, mut of_head) = (this.config.checkpointing, None);
            let loss = |x: Tensor<4>, _| {
                let output = this.completed(x, &enlarged);
                let mut total = (output.clone() - taught.clone()).abs().mean();
                add(1, &total);
                if let Some((judge, head)) = &judge {
                    let right = judge.logits(head, this.padded(sharp.clone(), phase), saving)?;
                    let wrong = judge.logits(head, this.padded(output.clone().detach(), phase), saving)?;
                    let loss = discriminator_loss(right, wrong);
                    add(4, &loss);
                    of_head = Some(loss.backward());
                    let seen = this.padded(output.clone(), phase);
                    let adversarial = judge.adversarial(&head.clone().no_grad(), seen, saving)?;
                    add(2, &adversarial);
                    total = total + adversarial * weights.adversarial;
                }
                if this.config.target == Target::Picture && weights.fourier > 0.0 {
                    let fourier = this.fourier.loss(output.clone(), taught.clone());
                    add(3, &fourier);
                    total = total + fourier * weights.fourier;
                }
                if let Some((perceptual, own)) = &this.perceptual {
                    let distance = perceptual.distance(Some(own), output, taught.clone())?;
                    add(5, &distance);
                    total = total + distance * perceptual.weight;
                }
                add(0, &total);
                Ok(total)
            };
            let mut take =
                |gradients: &mut Gradients| state.part(STUDENT)?.add_gradients(&unet, gradients, share);
            let (timesteps, told) = ([this.one_step.timestep], || this.told());
            let parts = [&fixed.parts(&timesteps, &told)?, &unet.parts(&timesteps, &told)?];
            let x = ops::pixel_unshuffle(enlarged.clone(), this.config.patch);
            let saving = Saving::parts_of_pictures(saving);
            recompute::learn(saving, parts, x, &[], loss, &mut take)?;
            match (&judge, of_head) {
                (Some((_, head)), Some(mut gradients)) => {
                    state.part(HEAD)?.add_gradients(head, &mut gradients, share)
                }
                _ => Ok(()),
            }
        };
        let learnt = picks.chunks(training.batch).try_for_each(&mut learn);
        self.state = state;
        learnt?;
        let factor = Schedule::Cosine { warmup: training.warmup, steps: training.steps }.factor(step);
        let norm = self.state.part(STUDENT)?.update(factor)?;
        if let Ok(head) = self.state.part(HEAD) {
            head.update(factor)?;
        }
        scores.push(("gradient_norm", norm));
        Ok(scores)
    }

    fn validate(&mut self, run: &Path) -> Result<Scores> {
        let (unet, device) = (self.averaged()?, self.device.clone().without_autodiff());
        let prompts = Prompts::of_model(&self.model, &device)?;
        picture_scores(&self.validation, (run, self.state.step), |pick| {
            let enlarged = self.validation.enlarged(&[pick], &device)?;
            let output = self.restore(&unet, prompts.as_ref(), &enlarged)?;
            Ok(match self.config.target {
                Target::Latent => self.autoencoder.decode(output),
                Target::Picture => output,
            })
        })
    }

    fn export(&mut self, run: &Path) -> Result<PathBuf> {
        let unet = self.averaged()?;
        let mut weights = Weights::default();
        weights.insert_part("unet.", Weights::from_module(&unet)?);
        weights.insert_part("prompt.", self.model.weights().part("prompt."));
        let (family, vae) = match self.config.target {
            Target::Latent => (Family::Adc, Some(self.autoencoder.config.clone())),
            Target::Picture => (Family::Pix, None),
        };
        if vae.is_some() {
            weights.insert_part("vae.", self.model.weights().part("vae."));
        }
        let description = Description {
            family,
            name: run.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            scale: self.config.data.scale,
            pix: self.pix(),
            origin: format!("gendr train pix, {} steps", self.state.step),
            unet: Some(self.student_config.clone()),
            vae,
            blake3: BTreeMap::new(),
            ..self.model.description().clone()
        };
        let path = run.join("model.safetensors");
        StoredModel::new(description, weights)?.save(&path, Precision::F16)?;
        Ok(path)
    }
}
