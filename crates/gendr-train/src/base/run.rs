//! What one step of `base` does, and what comes of it.

use super::{BaseConfig, start::start};
use crate::{
    Error, NoiseSchedule, Result, Schedule, alignment_loss,
    batches::{Pick, picks, read_both},
    denoising_loss, files,
    latent_space::LatentSpace,
    latents::FrozenAutoencoder,
    noise::{Stream, diffusion, draws},
    pairs::Pairs,
    progress::{Event, Progress},
    prompts::Prompts,
    repa::{Projector, ProjectorConfig, tokens},
    trainer::{Part, Paths, Plan, Report, Scores, Stage, State, settings_text, train},
};
use burn::tensor::{Device, Tensor};
use gendr_model::{Description, Pass, Precision, StoredModel, Unet, UnetConfig, Weights, initialize};
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
            LatentSpace::Autoencoder(Box::new(FrozenAutoencoder::open(&paths.data.join(path))?))
        }
        (None, Some(patches)) => LatentSpace::Patches(patches),
        _ => return Err(Error::argument("either autoencoder or patches must be given, not both")),
    };
    config.check(space.factor())?;
    files::create_folder(&paths.run)?;
    let settings = settings_text(config)?;
    let source = (config.seed, &config.data);
    let (pairs, validation) = read_both(source, config.validation.pairs, paths, progress, cancelled)?;

    let device = Device::flex().autodiff();
    let (unet_config, unet) = start(&config.unet, &paths.data, space.channels(), config.seed, &device)?;
    let prompts = Prompts::start(&unet_config, config.seed, &device);
    let projector = ProjectorConfig {
        channels: unet_config.block_out_channels[0],
        hidden: config.alignment.hidden,
        features: space.feature_channels().unwrap_or(1),
    };
    let aligned = config.alignment.weight > 0.0;
    if aligned && unet_config.levels() < 2 {
        return Err(Error::argument("alignment needs a UNet of two levels"));
    }
    if aligned {
        progress.report(Event::Note("alignment with the features of the autoencoder's own encoder"));
    }
    let projector = aligned.then(|| initialize(projector.init(&device), config.seed));

    let mut parts = vec![Part::new(UNET, &unet, config.optimization)?];
    if let Some(prompts) = &prompts {
        parts.push(Part::new(PROMPTS, prompts, config.optimization)?);
    }
    if let Some(projector) = &projector {
        parts.push(Part::new(PROJECTOR, projector, config.optimization)?);
    }
    let state = State::new(parts).resume(&paths.run, &settings)?;
    let schedule = NoiseSchedule::stable_diffusion();
    let mut stage = Base {
        config,
        device,
        space,
        unet_config,
        unet,
        prompts,
        projector,
        schedule,
        state,
        pairs,
        validation,
    };
    let (every, checkpoints) = (config.validation, config.checkpoints);
    let plan = Plan::new(config.training.steps, every, checkpoints, &paths.run, &settings);
    train(&mut stage, &plan, progress, cancelled)
}

struct Base<'a> {
    config: &'a BaseConfig,
    device: Device,
    space: LatentSpace,
    unet_config: UnetConfig,
    unet: Unet,
    prompts: Option<Prompts>,
    projector: Option<Projector>,
    schedule: NoiseSchedule,
    state: State,
    pairs: Pairs,
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
        fn load<M: burn::module::Module>(part: &Part, module: M, averaged: bool) -> Result<M> {
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

    /// The diffusion loss and the alignment term of pictures, the first `degraded` of which are bad.
    fn losses(
        &self,
        networks: &Networks,
        picture: Tensor<4>,
        degraded: usize,
        draws: &mut gendr_degrade::Draws,
    ) -> Result<(Tensor<1>, Option<Tensor<1>>)> {
        let (latent, feature) = self.space.encode_with_features(picture)?;
        let shape = latent.dims();
        let (timesteps, noise) = diffusion(draws, TIMESTEPS, shape, &self.device);
        let noisy = self.schedule.levels(&timesteps, &latent).add_noise(latent, noise.clone());
        let told = networks.prompts.as_ref().map(|prompts| prompts.batch(degraded, shape[0]));
        let timesteps: Vec<f32> = timesteps.iter().map(|&t| t as f32).collect();
        let conditioning = networks.unet.condition(&timesteps, told)?;
        let mut found = None;
        let mut observe = |name: &str, x: &Tensor<4>| {
            if name == ALIGNED {
                found = Some(x.clone());
            }
        };
        let prediction =
            networks.unet.forward_pass(noisy, &conditioning, &mut Pass::whole().observed(&mut observe));
        let aligned = networks.projector.as_ref().zip(found).zip(feature);
        let alignment =
            aligned.map(|((projector, x), feature)| alignment_loss(projector.forward(x), tokens(feature)));
        Ok((denoising_loss(prediction, noise), alignment))
    }
}

impl Stage for Base<'_> {
    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn step(&mut self) -> Result<Scores> {
        let (training, step) = (self.config.training, self.state.step);
        let picks = picks(self.config.seed, step, training.batch * training.accumulation, &self.pairs);
        let share = 1.0 / training.accumulation as f64;
        let networks = self.networks(false)?;
        let mut noise = draws(self.config.seed, Stream::Diffusion, step);
        let mut choice = draws(self.config.seed, Stream::Choice, step);
        let (mut diffusion, mut alignment) = (0.0, 0.0);
        for picks in picks.chunks(training.batch) {
            let bad = (0..picks.len()).filter(|_| choice.chance(self.config.degraded_share)).count();
            let mut pictures = Vec::new();
            if bad > 0 {
                pictures.push(self.pairs.enlarged(&picks[..bad], &self.device)?);
            }
            if bad < picks.len() {
                pictures.push(self.pairs.sharp(&picks[bad..], &self.device)?);
            }
            let (loss, aligned) = self.losses(&networks, Tensor::cat(pictures, 0), bad, &mut noise)?;
            diffusion += share * f64::from(loss.clone().into_scalar::<f32>());
            let mut total = loss;
            if let Some(aligned) = aligned {
                alignment += share * f64::from(aligned.clone().into_scalar::<f32>());
                total = total + aligned * self.config.alignment.weight;
            }
            let mut gradients = total.backward();
            self.state.part(UNET)?.add_gradients(&networks.unet, &mut gradients, share)?;
            if let Some(prompts) = &networks.prompts {
                self.state.part(PROMPTS)?.add_gradients(prompts, &mut gradients, share)?;
            }
            if let Some(projector) = &networks.projector {
                self.state.part(PROJECTOR)?.add_gradients(projector, &mut gradients, share)?;
            }
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
        let networks = self.networks(true)?;
        let (mut sum, mut noise) = (0.0, draws(self.config.seed, Stream::Diffusion, u64::MAX));
        for pair in 0..self.validation.count {
            let picture = self.validation.sharp(&[Pick { pair, turn: 0 }], &self.device)?;
            let (loss, _) = self.losses(&networks, picture, 0, &mut noise)?;
            sum += f64::from(loss.into_scalar::<f32>());
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
