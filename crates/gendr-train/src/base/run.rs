//! What one step of `base` does, and what comes of it.

use super::{BaseConfig, start::start};
use crate::{
    Error, NoiseSchedule, Result, Schedule, alignment_loss,
    batches::{Pick, picks, read_both},
    cached_latents::{CachedLatents, Latents},
    denoising_loss, files,
    latent_space::LatentSpace,
    latents::FrozenAutoencoder,
    noise::{Stream, diffusion, draws},
    pairs::Pairs,
    progress::Progress,
    prompts::Prompts,
    recompute::{self, Saving, Seen},
    repa::{AlignmentTarget, Projector, ProjectorConfig, tokens},
    trainer::{Part, Paths, Plan, Report, Scores, Stage, State, settings_text, train},
};
use burn::{
    module::Module,
    tensor::{Device, Gradients, Tensor},
};
use gendr_degrade::Draws;
use gendr_model::{Description, Precision, StoredModel, Unet, UnetConfig, Weights, initialize};
use std::path::{Path, PathBuf};

const UNET: &str = "unet";
const PROMPTS: &str = "prompt";
const PROJECTOR: &str = "projector";
/// The layer whose output is aligned.
pub(crate) const ALIGNED: &str = "down_blocks.0";
/// Steps of the schedule.
const TIMESTEPS: [usize; 2] = [0, 1000];

/// Trains a base model; the result is a model file with the autoencoder in it, if there is one, f32.
///
/// # Errors
/// As [`regress::run`](crate::regress::run).
pub fn run(
    config: &BaseConfig,
    paths: &Paths,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Report> {
    let space = match (&config.autoencoder, config.patches) {
        (Some(path), None) => {
            let autoencoder = FrozenAutoencoder::open(&paths.data.join(path), &paths.device)?;
            LatentSpace::Autoencoder(Box::new(autoencoder))
        }
        (None, Some(patches)) => LatentSpace::Patches(patches),
        _ => return Err(Error::argument("either autoencoder or patches must be given, not both")),
    };
    config.check(space.factor())?;
    files::create_folder(&paths.run)?;
    let settings = settings_text(config)?;
    let source = (config.seed, &config.data);
    let (pairs, validation) = read_both(source, config.validation.pairs, paths, progress, cancelled)?;

    let device = paths.device.clone().autodiff();
    let (unet_config, unet) = start(&config.unet, &paths.data, space.channels(), config.seed, &device)?;
    let prompts = Prompts::start(&unet_config, config.seed, &device);
    let aligned = config.alignment.weight > 0.0;
    let target = match aligned {
        true => AlignmentTarget::open(config.dinov2.as_deref(), &paths.data, &paths.device, progress)?,
        false => AlignmentTarget::default(),
    };
    let projector = ProjectorConfig {
        channels: unet_config.block_out_channels[0],
        hidden: config.alignment.hidden,
        features: target.channels(&space).unwrap_or(1),
    };
    if aligned && unet_config.levels() < 2 {
        return Err(Error::argument("alignment needs a UNet of two levels"));
    }
    let projector = aligned.then(|| initialize(projector.init(&device), config.seed));

    let mut parts = vec![Part::new(UNET, &unet, config.optimization)?];
    // From now on its weights are the part's.
    drop(unet);
    let unet = unet_config.init(&device)?;
    if let Some(prompts) = &prompts {
        parts.push(Part::new(PROMPTS, prompts, config.prompt.unwrap_or(config.optimization))?);
    }
    if let Some(projector) = &projector {
        parts.push(Part::new(PROJECTOR, projector, config.projector.unwrap_or(config.optimization))?);
    }
    let state = State::new(parts).resume(&paths.run, &settings)?;
    let schedule = NoiseSchedule::stable_diffusion();
    let cached = match config.data.cache_latents {
        true => {
            let setting = (&device, config.data.memory());
            Some(CachedLatents::open_or_make(&pairs, &space, &target, setting, progress, cancelled)?)
        }
        false => None,
    };
    let mut stage = Base {
        config,
        device,
        space,
        target,
        unet_config,
        unet,
        prompts,
        projector,
        schedule,
        state,
        pairs,
        cached,
        validation,
    };
    let (every, checkpoints) = (config.validation, config.checkpoints);
    let plan = Plan::new(config.training.steps, every, checkpoints, paths, &settings);
    train(&mut stage, &plan, progress, cancelled)
}

struct Base<'a> {
    config: &'a BaseConfig,
    device: Device,
    space: LatentSpace,
    target: AlignmentTarget,
    unet_config: UnetConfig,
    /// Without weights.
    unet: Unet,
    prompts: Option<Prompts>,
    projector: Option<Projector>,
    schedule: NoiseSchedule,
    state: State,
    pairs: Pairs,
    /// The latents of the pairs, where they are kept.
    cached: Option<CachedLatents>,
    validation: Pairs,
}

/// The networks of one step.
struct Networks {
    unet: Unet,
    prompts: Option<Prompts>,
    projector: Option<Projector>,
}

impl Base<'_> {
    fn networks(&mut self, averaged: bool) -> Result<Networks> {
        fn load<M: Module>(part: &Part, module: M, averaged: bool) -> Result<M> {
            if averaged { part.load_average(module) } else { part.load(module) }
        }
        let unet = load(self.state.part(UNET)?, self.unet.clone(), averaged)?;
        let prompts = match self.prompts.clone() {
            Some(prompts) => Some(load(self.state.part(PROMPTS)?, prompts, averaged)?),
            None => None,
        };
        let projector = match self.projector.clone() {
            Some(projector) => Some(load(self.state.part(PROJECTOR)?, projector, averaged)?),
            None => None,
        };
        Ok(Networks { unet, prompts, projector })
    }

    /// Latents of pictures, some of them bad (the degraded crop then, enlarged), and what their features are aligned with: those
    /// of the clean picture.
    fn latents(&self, picks: &[Pick], bad: &[bool]) -> Result<(Tensor<4>, Option<Tensor<4>>)> {
        let (mut latents, mut features) = (Vec::new(), Vec::new());
        for (&pick, &bad) in picks.iter().zip(bad) {
            let (low, sharp, feature) = match &self.cached {
                Some(cached) => {
                    let Latents { low, sharp, features } = cached.read(&[pick], &self.device)?;
                    (Some(low), sharp, features)
                }
                None => {
                    let picture = self.pairs.sharp(&[pick], &self.device)?;
                    let (sharp, feature) = self.target.encode(&self.space, picture)?;
                    (None, sharp, feature)
                }
            };
            latents.push(match (bad, low) {
                (false, _) => sharp,
                (true, Some(low)) => low,
                (true, None) => self.space.encode(self.pairs.enlarged(&[pick], &self.device)?),
            });
            features.extend(feature);
        }
        let features = (!features.is_empty()).then(|| Tensor::cat(features, 0));
        Ok((Tensor::cat(latents, 0), features))
    }

    /// Latents with noise, and all that belongs to them.
    fn noisy(&self, (latent, feature): (Tensor<4>, Option<Tensor<4>>), draws: &mut Draws) -> Noisy {
        let (timesteps, noise) = diffusion(draws, TIMESTEPS, latent.dims(), &self.device);
        let latent = self.schedule.levels(&timesteps, &latent).add_noise(latent, noise.clone());
        Noisy { latent, noise, timesteps: timesteps.iter().map(|&t| t as f32).collect(), feature }
    }
}

/// What the UNet learns from.
struct Noisy {
    latent: Tensor<4>,
    noise: Tensor<4>,
    timesteps: Vec<f32>,
    feature: Option<Tensor<4>>,
}

impl Networks {
    /// The same, not tracked.
    fn fixed(&self) -> Self {
        let Self { unet, prompts, projector } = self;
        Self {
            unet: unet.clone().no_grad(),
            prompts: prompts.clone().map(Module::no_grad),
            projector: projector.clone().map(Module::no_grad),
        }
    }

    /// The embeddings of samples.
    fn told(&self, bad: &[bool]) -> Option<Tensor<3>> {
        self.prompts.as_ref().map(|prompts| prompts.mixed(bad))
    }

    /// Adds `share` of the gradients of each network to its part.
    fn add_gradients(&self, state: &mut State, gradients: &mut Gradients, share: f64) -> Result<()> {
        state.part(UNET)?.add_gradients(&self.unet, gradients, share)?;
        if let Some(prompts) = &self.prompts {
            state.part(PROMPTS)?.add_gradients(prompts, gradients, share)?;
        }
        if let Some(projector) = &self.projector {
            state.part(PROJECTOR)?.add_gradients(projector, gradients, share)?;
        }
        Ok(())
    }
}

impl Stage for Base<'_> {
    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn step(&mut self) -> Result<Scores> {
        let (training, step) = (self.config.training, self.state.step);
        let (seed, count) = (self.config.seed, training.batch * training.accumulation);
        let picks = match &self.cached {
            Some(cached) => cached.picks(seed, step, count),
            None => picks(seed, step, count, &self.pairs),
        };
        let share = 1.0 / training.accumulation as f64;
        let networks = self.networks(false)?;
        let fixed = networks.fixed();
        let mut noise = draws(self.config.seed, Stream::Diffusion, step);
        let mut choice = draws(self.config.seed, Stream::Choice, step);
        let (mut diffusion, mut alignment) = (0.0, 0.0);
        for picks in picks.chunks(training.batch) {
            let bad: Vec<bool> = picks.iter().map(|_| choice.chance(self.config.degraded_share)).collect();
            let noisy = self.noisy(self.latents(picks, &bad)?, &mut noise);
            let loss = |prediction: Tensor<4>, mut seen: Seen| {
                let mut total = denoising_loss(prediction, noisy.noise.clone());
                diffusion += share * f64::from(total.clone().into_scalar::<f32>());
                if let (Some(projector), Some(feature)) = (&networks.projector, noisy.feature.clone()) {
                    let projected = projector.forward(recompute::found(&mut seen, ALIGNED)?);
                    let aligned = alignment_loss(projected, tokens(feature));
                    alignment += share * f64::from(aligned.clone().into_scalar::<f32>());
                    total = total + aligned * self.config.alignment.weight;
                }
                Ok(total)
            };
            let (told, told_fixed) = (|| networks.told(&bad), || fixed.told(&bad));
            let parts = [
                &fixed.unet.parts(&noisy.timesteps, &told_fixed)?,
                &networks.unet.parts(&noisy.timesteps, &told)?,
            ];
            let mut take =
                |gradients: &mut Gradients| networks.add_gradients(&mut self.state, gradients, share);
            let (saving, latent) = (Saving::parts(self.config.checkpointing), noisy.latent.clone());
            recompute::learn(saving, parts, latent, &[ALIGNED], loss, &mut take)?;
        }
        let schedule = Schedule::Cosine { warmup: training.warmup, steps: training.steps };
        let mut scores = vec![("loss", diffusion), ("alignment", alignment)];
        for part in &mut self.state.parts {
            let norm = part.update(schedule.factor(step))?;
            if part.name == UNET {
                scores.push(("gradient_norm", norm));
            }
        }
        Ok(scores)
    }

    /// The diffusion loss of held-out pictures, at the same timesteps and noise every time.
    fn validate(&mut self, _run: &Path) -> Result<Scores> {
        let networks = self.networks(true)?.fixed();
        let (mut sum, mut noise) = (0.0, draws(self.config.seed, Stream::Diffusion, u64::MAX));
        for pair in 0..self.validation.count {
            let picture = self.validation.sharp(&[Pick { pair, turn: 0 }], &self.device)?;
            let noisy = self.noisy((self.space.encode(picture), None), &mut noise);
            let conditioning = networks.unet.condition(&noisy.timesteps, networks.told(&[false]))?;
            let prediction = networks.unet.forward(noisy.latent, &conditioning);
            sum += f64::from(denoising_loss(prediction, noisy.noise).into_scalar::<f32>());
        }
        Ok(vec![("held_out_loss", sum / self.validation.count as f64)])
    }

    fn export(&mut self, run: &Path) -> Result<PathBuf> {
        let networks = self.networks(true)?;
        let mut weights = Weights::default();
        weights.insert_part("unet.", Weights::from_module(&networks.unet)?);
        let (about, vae) = self.space.describe();
        weights.insert_part("vae.", vae);
        if let Some(prompts) = &networks.prompts {
            weights.insert_part("prompt.", prompts.weights()?);
        }
        let description = Description {
            name: run.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            scale: self.config.data.scale,
            origin: format!("gendr train base, {} steps", self.state.step),
            unet: Some(self.unet_config.clone()),
            ..about
        };
        let path = run.join("model.safetensors");
        StoredModel::new(description, weights)?.save(&path, Precision::F32)?;
        Ok(path)
    }
}
