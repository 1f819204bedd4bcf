//! What one step of `vae` does, and what comes of it.

use super::VaeConfig;
use crate::{
    Error, Result, Schedule,
    batches::{Pick, picks, read_both},
    discriminator::PatchDiscriminator,
    discriminator_loss, files, generator_loss,
    latents::FrozenAutoencoder,
    noise::{Stream, draws, normal},
    pairs::Pairs,
    progress::Progress,
    trainer::{Part, Paths, Plan, Report, Scores, Stage, State, settings_text, train},
    validation::picture_scores,
};
use burn::{
    module::Module,
    tensor::{Device, Gradients, Tensor},
};
use gendr_model::{
    AutoencoderKl, AutoencoderKlConfig, Pass, Posterior, Precision, initialize, save_parameters,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const VAE: &str = "vae";
const DISCRIMINATOR: &str = "discriminator";
/// Most that the discriminator's gradient is enlarged.
const LARGEST_WEIGHT: f64 = 1e4;

/// Trains an autoencoder; the result is a folder in the layout of diffusers, with the scaling factor that gives the latents of the
/// held-out pictures variance 1.
///
/// # Errors
/// As [`regress::run`](crate::regress::run).
pub fn run(
    config: &VaeConfig,
    paths: &Paths,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Report> {
    config.check()?;
    files::create_folder(&paths.run)?;
    let settings = settings_text(config)?;
    let source = (config.seed, &config.data);
    let (pairs, validation) = read_both(source, config.validation.pairs, paths, progress, cancelled)?;
    let device = Device::flex().autodiff();
    let template = initialize(config.autoencoder.network().init(&device)?, config.seed);
    let template = match &config.autoencoder.from {
        Some(from) => FrozenAutoencoder::open(&paths.data.join(from))?.weights.load(template)?,
        None => template,
    };
    let discriminator = initialize(PatchDiscriminator::new(&device), config.seed);
    let parts = vec![
        Part::new(VAE, &template, config.optimization)?,
        Part::new(DISCRIMINATOR, &discriminator, config.discriminator)?,
    ];
    let state = State::new(parts).resume(&paths.run, &settings)?;
    let mut stage = Vae { config, device, template, discriminator, state, pairs, validation };
    let (every, checkpoints) = (config.validation, config.checkpoints);
    let plan = Plan::new(config.training.steps, every, checkpoints, &paths.run, &settings);
    train(&mut stage, &plan, progress, cancelled)
}

struct Vae<'a> {
    config: &'a VaeConfig,
    device: Device,
    template: AutoencoderKl,
    discriminator: PatchDiscriminator,
    state: State,
    pairs: Pairs,
    validation: Pairs,
}

impl Vae<'_> {
    /// The averaged weights, not tracked.
    fn averaged(&mut self) -> Result<AutoencoderKl> {
        let network = self.config.autoencoder.network().init(&Device::flex())?;
        self.state.part(VAE)?.load_average(network)
    }

    /// One over the standard deviation of the latents of held-out pictures.
    fn scaling_factor(&mut self) -> Result<f64> {
        let network = self.averaged()?;
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for pair in 0..self.validation.count {
            let picture = self.validation.sharp(&[Pick { pair, turn: 0 }], &Device::flex())?;
            let mean = network.encode(picture, &mut Pass::whole()).mean;
            count += mean.shape().num_elements() as f64;
            sum += f64::from(mean.clone().sum().into_scalar::<f32>());
            squares += f64::from(mean.powi_scalar(2).sum().into_scalar::<f32>());
        }
        let variance = squares / count - (sum / count).powi(2);
        let factor = variance.sqrt().recip();
        Ok(if factor.is_finite() { factor } else { 1.0 })
    }
}

impl Stage for Vae<'_> {
    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn step(&mut self) -> Result<Scores> {
        let (training, weights, step) = (self.config.training, self.config.loss, self.state.step);
        let picks = picks(self.config.seed, step, training.batch * training.accumulation, &self.pairs);
        let share = 1.0 / training.accumulation as f64;
        let vae = self.state.part(VAE)?.load(self.template.clone())?;
        let adversarial = weights.adversarial > 0.0 && step >= weights.adversarial_from;
        let judge = self.state.part(DISCRIMINATOR)?.load(self.discriminator.clone())?;
        let fixed_judge = judge.clone().no_grad();
        let mut noise = draws(self.config.seed, Stream::Posterior, step);
        let mut scores = [("l1", 0.0), ("kl", 0.0), ("adversarial", 0.0), ("discriminator", 0.0)];
        for picks in picks.chunks(training.batch) {
            let picture = self.pairs.sharp(picks, &self.device)?;
            let posterior = vae.encode(picture.clone(), &mut Pass::whole());
            let noise = normal(&mut noise, posterior.mean.dims(), &self.device);
            let output = vae.decode(posterior.sample(noise), &mut Pass::whole());
            let kl = divergence(&posterior);
            scores[1].1 += share * scalar(&kl);

            let leaf = output.clone().detach().require_grad();
            let l1 = (leaf.clone() - picture.clone()).abs().mean();
            scores[0].1 += share * scalar(&l1);
            let mut direction = gradient(&leaf, &mut l1.backward())?;
            if adversarial {
                let leaf = output.clone().detach().require_grad();
                let value = generator_loss(fixed_judge.forward(leaf.clone()));
                scores[2].1 += share * scalar(&value);
                let towards_real = gradient(&leaf, &mut value.backward())?;
                let ratio = length(&direction) / length(&towards_real).max(f64::MIN_POSITIVE);
                let weight = weights.adversarial * ratio.min(LARGEST_WEIGHT);
                direction = direction + towards_real * weight;

                let value =
                    discriminator_loss(judge.forward(picture), judge.forward(output.clone().detach()));
                scores[3].1 += share * scalar(&value);
                self.state.part(DISCRIMINATOR)?.add_gradients(&judge, &mut value.backward(), share)?;
            }
            // Its gradient at the output is `direction`.
            let walk = (output * direction.autodiff()).sum() + kl * weights.kl;
            self.state.part(VAE)?.add_gradients(&vae, &mut walk.backward(), share)?;
        }
        let schedule = Schedule::Cosine { warmup: training.warmup, steps: training.steps };
        let norm = self.state.part(VAE)?.update(schedule.factor(step))?;
        self.state.part(DISCRIMINATOR)?.update(schedule.factor(step))?;
        Ok([scores.to_vec(), vec![("gradient_norm", norm)]].concat())
    }

    fn validate(&mut self, run: &Path) -> Result<Scores> {
        let (network, device) = (self.averaged()?, Device::flex());
        picture_scores(&self.validation, (run, self.state.step), |pick| {
            let mean = network.encode(self.validation.sharp(&[pick], &device)?, &mut Pass::whole()).mean;
            Ok(network.decode(mean, &mut Pass::whole()))
        })
    }

    fn export(&mut self, run: &Path) -> Result<PathBuf> {
        let folder = run.join("vae");
        files::create_folder(&folder)?;
        let scaling_factor = self.scaling_factor()?;
        let config = AutoencoderKlConfig { scaling_factor, ..self.config.autoencoder.network() };
        let text = serde_json::to_vec_pretty(&config)
            .map_err(|error| Error::argument("a configuration that cannot be written").with_source(error))?;
        let weights = folder.join("diffusion_pytorch_model.safetensors");
        save_parameters(&self.averaged()?, &weights, Precision::F32, &BTreeMap::new())?;
        files::write_atomically(&folder.join("config.json"), &text)?;
        Ok(folder)
    }
}

/// KL divergence from a standard normal, summed over a picture, mean over the batch.
fn divergence(posterior: &Posterior) -> Tensor<1> {
    let Posterior { mean, log_variance } = posterior;
    let sum = mean.clone().powi_scalar(2) + log_variance.clone().exp() - log_variance.clone() - 1.0;
    sum.sum() * (0.5 / mean.dims()[0] as f64)
}

fn gradient(leaf: &Tensor<4>, gradients: &mut Gradients) -> Result<Tensor<4>> {
    leaf.grad_remove(gradients).ok_or_else(|| Error::argument("a loss that does not depend on its picture"))
}

fn length(x: &Tensor<4>) -> f64 {
    f64::from(x.clone().powi_scalar(2).sum().into_scalar::<f32>()).sqrt()
}

fn scalar(value: &Tensor<1>) -> f64 {
    f64::from(value.clone().into_scalar::<f32>())
}
