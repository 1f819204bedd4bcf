//! One-step distillation on a mixture, in the plane and in small latents `[4, 2, 2]`, where the distance to the target can be
//! measured exactly.
//!
//! A score network phi learns the target by denoising. The generator starts as phi's own one-step restoration of
//! z_l = a z_h + s n at alpha_bar 0.5 (GenDR's formula), which gives means, not samples, and is then distilled by each method.
//! Printed is the sliced Wasserstein distance to fresh samples of the target, for three seeds.

#![allow(clippy::print_stdout)]

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use gendr_degrade::Draws;
use gendr_model::{Linear, initialize, ops};
use gendr_train::{
    NoiseSchedule, Part, PartConfig, Result, denoising_loss, discriminator_loss,
    distill::{ScoreLoss, ScoreTerms, Weighting},
    generator_loss,
};
use std::f64::consts::TAU;

const MODES: usize = 8;
const HIDDEN: usize = 96;
const FREQUENCIES: usize = 8;
const BATCH: usize = 256;
const TIMESTEP: usize = 354;
const PRETRAINING: u64 = 3000;
const DISTILLATION: u64 = 2000;
const SAMPLES: usize = 4096;

/// Equally likely Gaussians around latents.
#[derive(Clone, Debug)]
struct Mixture {
    name: &'static str,
    /// Channels, height, width.
    shape: [usize; 3],
    means: Vec<Vec<f64>>,
    spread: f64,
}

impl Mixture {
    /// On two circles in the plane.
    fn plane() -> Self {
        let mean = |mode: usize| {
            let angle = TAU * mode as f64 / MODES as f64;
            let radius = if mode.is_multiple_of(2) { 1.2 } else { 0.8 };
            [angle.cos(), angle.sin()].map(|place| radius * place).to_vec()
        };
        Self { name: "plane", shape: [2, 1, 1], means: (0..MODES).map(mean).collect(), spread: 0.08 }
    }

    /// Around random latents of variance 1.
    fn latents() -> Self {
        let mut draws = Draws::new(0x1a7e, 0);
        let means = (0..MODES).map(|_| (0..16).map(|_| f64::from(draws.normal())).collect());
        Self { name: "latents", shape: [4, 2, 2], means: means.collect(), spread: 0.2 }
    }

    fn width(&self) -> usize {
        self.shape.iter().product()
    }

    fn sample(&self, draws: &mut Draws) -> Vec<f64> {
        let mean = &self.means[draws.below(MODES)];
        mean.iter().map(|place| place + self.spread * f64::from(draws.normal())).collect()
    }
}

/// eps(z, t) of a latent, with the hidden layer that the discriminator looks at.
#[derive(Module, Debug)]
struct Score {
    first: Linear,
    second: Linear,
    third: Linear,
    last: Linear,
}

/// Hidden features to a logit.
#[derive(Module, Debug)]
struct Head {
    first: Linear,
    last: Linear,
}

impl Score {
    fn new(width: usize, seed: u64, device: &Device) -> Self {
        let network = Self {
            first: Linear::new(width + 2 * FREQUENCIES, HIDDEN, device),
            second: Linear::new(HIDDEN, HIDDEN, device),
            third: Linear::new(HIDDEN, HIDDEN, device),
            last: Linear::new(HIDDEN, width, device),
        };
        initialize(network, seed)
    }

    fn forward(&self, z: Tensor<4>, timesteps: &[usize]) -> (Tensor<4>, Tensor<2>) {
        let [n, c, h, w] = z.dims();
        let time = timesteps.iter().flat_map(|&t| {
            (0..FREQUENCIES).flat_map(move |i| {
                let angle = t as f32 / 1000.0 * (1 << i) as f32;
                [angle.sin(), angle.cos()]
            })
        });
        let time = TensorData::new(time.collect::<Vec<_>>(), [n, 2 * FREQUENCIES]);
        let time = Tensor::from_data(time, &z.device());
        let x = Tensor::cat(vec![z.reshape([n, c * h * w]), time], 1);
        let x = ops::silu(self.first.forward(x));
        let x = ops::silu(self.second.forward(x.clone())) + x;
        let hidden = ops::silu(self.third.forward(x.clone())) + x;
        (self.last.forward(hidden.clone()).reshape([n, c, h, w]), hidden)
    }
}

impl Head {
    fn new(seed: u64, device: &Device) -> Self {
        let network = Self { first: Linear::new(HIDDEN, 64, device), last: Linear::new(64, 1, device) };
        initialize(network, seed ^ 1)
    }

    fn forward(&self, hidden: Tensor<2>) -> Tensor<4> {
        let n = hidden.dims()[0];
        self.last.forward(ops::silu(self.first.forward(hidden))).reshape([n, 1, 1, 1])
    }
}

struct Batch {
    sharp: Tensor<4>,
    low: Tensor<4>,
    noise: Tensor<4>,
    timesteps: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Method {
    name: &'static str,
    loss: ScoreLoss,
    adversarial: f64,
}

struct Toy {
    target: Mixture,
    seed: u64,
    device: Device,
    schedule: NoiseSchedule,
    template: Score,
}

impl Toy {
    fn new(target: Mixture, seed: u64) -> Self {
        let device = Device::flex().autodiff();
        let template = Score::new(target.width(), seed, &device);
        Self { target, seed, device, schedule: NoiseSchedule::stable_diffusion(), template }
    }

    /// z_h, z_l, noise and timesteps of `n` samples.
    fn batch(&self, seed: u64, step: u64, n: usize, range: [usize; 2]) -> Batch {
        let mut draws = Draws::new(seed, step);
        let mut values = [Vec::new(), Vec::new(), Vec::new()];
        let mut timesteps = Vec::new();
        let half = 0.5_f64.sqrt();
        for _ in 0..n {
            for value in self.target.sample(&mut draws) {
                values[0].push(value as f32);
                values[1].push((half * (value + f64::from(draws.normal()))) as f32);
                values[2].push(draws.normal());
            }
            timesteps.push(range[0] + draws.below(range[1] - range[0]));
        }
        let [c, h, w] = self.target.shape;
        let [sharp, low, noise] =
            values.map(|values| Tensor::from_data(TensorData::new(values, [n, c, h, w]), &self.device));
        Batch { sharp, low, noise, timesteps }
    }

    fn denoise(&self, part: &mut Part, clean: Tensor<4>, batch: &Batch, factor: f64) -> Result<()> {
        let network = part.load(self.template.clone())?;
        let noisy = self.schedule.levels(&batch.timesteps, &clean).add_noise(clean, batch.noise.clone());
        let (prediction, _) = network.forward(noisy, &batch.timesteps);
        let mut gradients = denoising_loss(prediction, batch.noise.clone()).backward();
        part.add_gradients(&network, &mut gradients, 1.0)?;
        part.update(factor).map(drop)
    }

    /// phi, trained on the target.
    fn pretrain(&self) -> Result<Part> {
        let config = PartConfig { learning_rate: 2e-3, average_decay: Some(0.995), ..PartConfig::default() };
        let mut phi = Part::new("phi", &self.template, config)?;
        for step in 0..PRETRAINING {
            let batch = self.batch(self.seed, step, BATCH, [0, 1000]);
            let factor = 1.0 - step as f64 / PRETRAINING as f64;
            self.denoise(&mut phi, batch.sharp.clone(), &batch, factor)?;
        }
        let average = phi.load_average(self.template.clone())?;
        Part::new("phi", &average, config)
    }

    fn generate(&self, generator: &Score, low: Tensor<4>) -> Tensor<4> {
        let timesteps = vec![TIMESTEP; low.dims()[0]];
        let (prediction, _) = generator.forward(low.clone(), &timesteps);
        (low - prediction * 0.5_f64.sqrt()) / 0.5_f64.sqrt()
    }

    fn distil(&self, phi: &Part, method: Method) -> Result<Part> {
        let real = phi.load(self.template.clone())?.no_grad();
        let config = |learning_rate, average_decay| PartConfig {
            learning_rate,
            average_decay,
            ..PartConfig::default()
        };
        let mut theta = Part::new("theta", &real, config(2e-4, Some(0.99)))?;
        let mut psi = Part::new("psi", &real, config(1e-3, None))?;
        let head_template = Head::new(self.seed, &self.device);
        let mut discriminator = Part::new("discriminator", &head_template, config(1e-3, None))?;
        for step in 0..DISTILLATION {
            let factor = 1.0 - step as f64 / DISTILLATION as f64;
            let batch = self.batch(self.seed ^ 0xd15, step, BATCH, [20, 980]);
            let generator = theta.load(self.template.clone())?;
            let generated = self.generate(&generator, batch.low.clone());
            let fixed = generated.clone().detach();
            self.denoise(&mut psi, fixed.clone(), &batch, 1.0)?;

            let levels = self.schedule.levels(&batch.timesteps, &generated);
            if method.adversarial > 0.0 {
                let head = discriminator.load(head_template.clone())?;
                let logits = |clean: Tensor<4>| {
                    let noisy = levels.add_noise(clean, batch.noise.clone());
                    head.forward(real.forward(noisy, &batch.timesteps).1)
                };
                let loss = discriminator_loss(logits(batch.sharp.clone()), logits(fixed));
                discriminator.add_gradients(&head, &mut loss.backward(), 1.0)?;
                discriminator.update(1.0)?;
            }

            let fake = psi.load(self.template.clone())?.no_grad();
            let noisy = levels.add_noise(generated.clone(), batch.noise.clone());
            let (prediction, hidden) = real.forward(noisy.clone(), &batch.timesteps);
            let f_phi = levels.clean(noisy.clone(), prediction);
            let f_psi = levels.clean(noisy.clone(), fake.forward(noisy, &batch.timesteps).0);
            let terms = ScoreTerms {
                generated,
                sharp: batch.sharp.clone(),
                real: f_phi.clone(),
                real_of_fisher: f_phi,
                fake: f_psi,
            };
            let mut loss = method.loss.value(&terms, Weighting::MeanAbs);
            if method.adversarial > 0.0 {
                let head = discriminator.load(head_template.clone())?.no_grad();
                loss = loss + generator_loss(head.forward(hidden)) * method.adversarial;
            }
            theta.add_gradients(&generator, &mut loss.backward(), 1.0)?;
            theta.update(factor)?;
        }
        Ok(theta)
    }

    /// Sliced Wasserstein distance of what the averaged generator makes to the target.
    fn distance(&self, theta: &Part) -> Result<f64> {
        let generator = theta.load_average(self.template.clone())?.no_grad();
        let inputs = self.batch(self.seed ^ 0xe7a1, 0, SAMPLES, [0, 1]);
        Ok(sliced_wasserstein(&points(self.generate(&generator, inputs.low)), &self.fresh(1)))
    }

    /// The distance of samples that phi makes in 50 steps (DDIM) from noise: what a perfect distillation would have.
    fn teacher_distance(&self, phi: &Part) -> Result<f64> {
        let network = phi.load(self.template.clone())?.no_grad();
        let mut z = self.batch(self.seed ^ 0xdd1, 0, SAMPLES, [0, 1]).noise;
        for step in (0..50).rev() {
            let now = vec![20 * step + 19; SAMPLES];
            let prediction = network.forward(z.clone(), &now).0;
            let clean = self.schedule.levels(&now, &z).clean(z, prediction.clone());
            z = match step {
                0 => clean,
                step => {
                    let next = vec![20 * step - 1; SAMPLES];
                    self.schedule.levels(&next, &clean).add_noise(clean, prediction)
                }
            };
        }
        Ok(sliced_wasserstein(&points(z), &self.fresh(1)))
    }

    /// The distance between two sets of samples of the target: as near as one can come.
    fn floor(&self) -> f64 {
        sliced_wasserstein(&self.fresh(1), &self.fresh(2))
    }

    fn fresh(&self, stream: u64) -> Vec<Vec<f64>> {
        let mut draws = Draws::new(self.seed ^ 0xe7a2, stream);
        (0..SAMPLES).map(|_| self.target.sample(&mut draws)).collect()
    }
}

fn points(samples: Tensor<4>) -> Vec<Vec<f64>> {
    let width = samples.dims()[1..].iter().product::<usize>();
    let values: Vec<f64> = samples.into_data().convert::<f64>().try_to_vec().unwrap_or_default();
    values.chunks_exact(width).map(<[f64]>::to_vec).collect()
}

/// Root of the mean over 64 directions of the squared Wasserstein-2 distance of the projections.
fn sliced_wasserstein(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    const DIRECTIONS: u64 = 64;
    let along = |points: &[Vec<f64>], direction: &[f64]| {
        let project = |point: &Vec<f64>| point.iter().zip(direction).map(|(x, d)| x * d).sum::<f64>();
        let mut values: Vec<f64> = points.iter().map(project).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let squares = (0..DIRECTIONS).map(|i| {
        let mut draws = Draws::new(0xd12, i);
        let direction: Vec<f64> = a[0].iter().map(|_| f64::from(draws.normal())).collect();
        let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let direction: Vec<f64> = direction.into_iter().map(|x| x / length).collect();
        let pairs = along(a, &direction).into_iter().zip(along(b, &direction));
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>() / a.len() as f64
    });
    (squares.sum::<f64>() / DIRECTIONS as f64).sqrt()
}

fn main() -> Result<()> {
    let cid = ScoreLoss::Cid { xi: 1.0 };
    let methods = [
        Method { name: "vsd", loss: ScoreLoss::Vsd, adversarial: 0.0 },
        Method { name: "sid", loss: ScoreLoss::Sid { alpha: 1.0 }, adversarial: 0.0 },
        Method { name: "cid_literal", loss: ScoreLoss::CidLiteral { xi: 1.0 }, adversarial: 0.0 },
        Method { name: "cid", loss: cid, adversarial: 0.0 },
        Method { name: "cida", loss: cid, adversarial: 0.05 },
    ];
    println!(
        "| target | seed | two target sets | phi, 50 steps | undistilled | vsd | sid | cid_literal | cid | cida |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (target, seed) in
        [Mixture::plane(), Mixture::latents()].into_iter().flat_map(|t| (1..=3).map(move |s| (t.clone(), s)))
    {
        let toy = Toy::new(target, seed);
        let phi = toy.pretrain()?;
        let teacher = toy.teacher_distance(&phi)?;
        let name = toy.target.name;
        let mut row =
            format!("| {name} | {seed} | {:.4} | {teacher:.4} | {:.4} |", toy.floor(), toy.distance(&phi)?);
        for method in methods {
            match toy.distil(&phi, method).and_then(|theta| toy.distance(&theta)) {
                Ok(distance) => row += &format!(" {distance:.4} |"),
                Err(error) => row += &format!(" {}: {error} |", method.name),
            }
        }
        println!("{row}");
    }
    Ok(())
}
