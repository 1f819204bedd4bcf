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
    perceptual::Perceptual,
    progress::Progress,
    recompute::{self, Seen, leaf},
    trainer::{Part, Paths, Plan, Report, Scores, Stage, State, settings_text, train},
    validation::picture_scores,
};
use burn::{
    module::Module,
    tensor::{Device, Gradients, Tensor},
};
use gendr_model::{
    AutoencoderKl, AutoencoderKlConfig, DecoderParts, EncoderParts, Pass, Posterior, Precision, initialize,
    save_parameters,
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
    let device = paths.device.clone().autodiff();
    let template = config.autoencoder.network().init(&device)?;
    let start = match &config.autoencoder.from {
        Some(from) => {
            FrozenAutoencoder::open(&paths.data.join(from), &paths.device)?.weights.load(template.clone())?
        }
        None => initialize(template.clone(), config.seed),
    };
    let discriminator = initialize(PatchDiscriminator::new(3, &device), config.seed);
    let parts = vec![
        Part::new(VAE, &start, config.optimization)?,
        Part::new(DISCRIMINATOR, &discriminator, config.discriminator)?,
    ];
    drop(start);
    let perceptual = config.perceptual.open(&paths.data, &device, progress)?;
    let state = State::new(parts).resume(&paths.run, &settings)?;
    let mut stage = Vae { config, device, template, discriminator, perceptual, state, pairs, validation };
    let (every, checkpoints) = (config.validation, config.checkpoints);
    let plan = Plan::new(config.training.steps, every, checkpoints, paths, &settings);
    train(&mut stage, &plan, progress, cancelled)
}

struct Vae<'a> {
    config: &'a VaeConfig,
    device: Device,
    /// Without weights.
    template: AutoencoderKl,
    discriminator: PatchDiscriminator,
    perceptual: Option<Perceptual>,
    state: State,
    pairs: Pairs,
    validation: Pairs,
}

impl Vae<'_> {
    /// The averaged weights, not tracked.
    fn averaged(&mut self) -> Result<AutoencoderKl> {
        let network = self.config.autoencoder.network().init(&self.device.clone().without_autodiff())?;
        self.state.part(VAE)?.load_average(network)
    }

    /// The gradient of L1 and perceptual term at the decoded pictures; the latter one picture at a time to save memory.
    fn towards(
        &self,
        picture: &Tensor<4>,
        output: &Tensor<4>,
        own: &AutoencoderKl,
        share: f64,
        scores: &mut [(&'static str, f64)],
    ) -> Result<Tensor<4>> {
        let at = leaf(output.clone());
        let l1 = (at.clone() - picture.clone()).abs().mean();
        scores[0].1 += share * scalar(&l1);
        let direction = gradient(&at, &mut l1.backward())?;
        let Some(perceptual) = &self.perceptual else { return Ok(direction) };
        let count = output.dims()[0];
        let one = |sample: usize| {
            let at = leaf(output.clone().narrow(0, sample, 1));
            let distance =
                perceptual.distance(Some(own), at.clone(), picture.clone().narrow(0, sample, 1))?;
            let distance = distance * (1.0 / count as f64);
            Ok((scalar(&distance), gradient(&at, &mut (distance * perceptual.weight).backward())?))
        };
        let found = (0..count).map(one).collect::<Result<Vec<_>>>()?;
        scores[4].1 += share * found.iter().map(|(value, _)| value).sum::<f64>();
        Ok(direction + Tensor::cat(found.into_iter().map(|(_, gradient)| gradient).collect(), 0))
    }

    /// One over the standard deviation of the latents of held-out pictures.
    fn scaling_factor(&mut self) -> Result<f64> {
        let (network, device) = (self.averaged()?, self.device.clone().without_autodiff());
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for pair in 0..self.validation.count {
            let picture = self.validation.sharp(&[Pick { pair, turn: 0 }], &device)?;
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
        let fixed = vae.clone().no_grad();
        let mut scores = [("l1", 0.0), ("kl", 0.0), ("adversarial", 0.0), ("discriminator", 0.0)].to_vec();
        scores.push(("perceptual", 0.0));
        for picks in picks.chunks(training.batch) {
            let picture = self.pairs.sharp(picks, &self.device)?;
            let saving = self.config.checkpointing;
            let network = if saving { &fixed } else { &vae };
            let encoded = recompute::run(&EncoderParts(network), picture.clone(), &[]);
            let moments = if saving { leaf(encoded.output.clone()) } else { encoded.output.clone() };
            let posterior = Posterior::from_moments(moments.clone());
            let noise = normal(&mut noise, posterior.mean.dims(), &self.device);
            let latent = posterior.sample(noise);
            let seen = if saving { latent.clone().detach() } else { latent.clone() };
            let decoded = recompute::run(&DecoderParts(network), seen, &[]);
            let output = decoded.output.clone();
            let kl = divergence(&posterior);
            scores[1].1 += share * scalar(&kl);

            let mut direction = self.towards(&picture, &output, &fixed, share, &mut scores)?;
            if adversarial {
                let at = leaf(output.clone());
                let value = generator_loss(fixed_judge.forward(at.clone()));
                scores[2].1 += share * scalar(&value);
                let towards_real = gradient(&at, &mut value.backward())?;
                let ratio =
                    lengths(&direction) / lengths(&towards_real).clamp_min(f64::from(f32::MIN_POSITIVE));
                direction = direction + towards_real * ratio.clamp_max(LARGEST_WEIGHT) * weights.adversarial;

                let value =
                    discriminator_loss(judge.forward(picture), judge.forward(output.clone().detach()));
                scores[3].1 += share * scalar(&value);
                self.state.part(DISCRIMINATOR)?.add_gradients(&judge, &mut value.backward(), share)?;
            }
            let part = self.state.part(VAE)?;
            let mut take = |gradients: &mut Gradients| part.add_gradients(&vae, gradients, share);
            let direction = direction.autodiff();
            if saving {
                let found =
                    decoded.walk_back(&DecoderParts(&vae), Some(direction), Seen::new(), &mut take)?;
                let found = found.ok_or_else(|| Error::argument("a decoder that ignores its latent"))?;
                let mut gradients = ((latent * found).sum() + kl * weights.kl).backward();
                let at_moments = moments.grad_remove(&mut gradients);
                encoded.walk_back(&EncoderParts(&vae), at_moments, Seen::new(), &mut take)?;
            } else {
                // Its gradient at the output is `direction`.
                take(&mut ((output * direction).sum() + kl * weights.kl).backward())?;
            }
        }
        let schedule = Schedule::Cosine { warmup: training.warmup, steps: training.steps };
        let norm = self.state.part(VAE)?.update(schedule.factor(step))?;
        self.state.part(DISCRIMINATOR)?.update(schedule.factor(step))?;
        Ok([scores, vec![("gradient_norm", norm)]].concat())
    }

    fn validate(&mut self, run: &Path) -> Result<Scores> {
        let (network, device) = (self.averaged()?, self.device.clone().without_autodiff());
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

/// The Euclidean length of each sample, `[n, 1, 1, 1]`: what a sample's weight depends on, whatever it is grouped with.
fn lengths(x: &Tensor<4>) -> Tensor<4> {
    x.clone().powi_scalar(2).sum_dim(1).sum_dim(2).sum_dim(3).sqrt()
}

fn scalar(value: &Tensor<1>) -> f64 {
    f64::from(value.clone().into_scalar::<f32>())
}
