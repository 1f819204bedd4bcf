//! One-step distillation on a mixture in the plane, where the distance to the target can be measured exactly.
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
const SPREAD: f64 = 0.08;
const HIDDEN: usize = 96;
const FREQUENCIES: usize = 8;
const BATCH: usize = 256;
const TIMESTEP: usize = 354;
const PRETRAINING: u64 = 3000;
const DISTILLATION: u64 = 2000;
const SAMPLES: usize = 4096;

/// eps(z, t) of two numbers, with the hidden layer that the discriminator looks at.
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
    fn new(seed: u64, device: &Device) -> Self {
        let network = Self {
            first: Linear::new(2 + 2 * FREQUENCIES, HIDDEN, device),
            second: Linear::new(HIDDEN, HIDDEN, device),
            third: Linear::new(HIDDEN, HIDDEN, device),
            last: Linear::new(HIDDEN, 2, device),
        };
        initialize(network, seed)
    }

    fn forward(&self, z: Tensor<4>, timesteps: &[usize]) -> (Tensor<4>, Tensor<2>) {
        let n = z.dims()[0];
        let time = timesteps.iter().flat_map(|&t| {
            (0..FREQUENCIES).flat_map(move |i| {
                let angle = t as f32 / 1000.0 * (1 << i) as f32;
                [angle.sin(), angle.cos()]
            })
        });
        let time = TensorData::new(time.collect::<Vec<_>>(), [n, 2 * FREQUENCIES]);
        let time = Tensor::from_data(time, &z.device());
        let x = Tensor::cat(vec![z.reshape([n, 2]), time], 1);
        let x = ops::silu(self.first.forward(x));
        let x = ops::silu(self.second.forward(x.clone())) + x;
        let hidden = ops::silu(self.third.forward(x.clone())) + x;
        (self.last.forward(hidden.clone()).reshape([n, 2, 1, 1]), hidden)
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

/// A point of the target: modes on a circle, of two sizes.
fn target(draws: &mut Draws) -> [f64; 2] {
    let mode = draws.below(MODES);
    let angle = TAU * mode as f64 / MODES as f64;
    let radius = if mode.is_multiple_of(2) { 1.2 } else { 0.8 };
    [angle.cos(), angle.sin()].map(|place| radius * place + SPREAD * f64::from(draws.normal()))
}

struct Batch {
    sharp: Tensor<4>,
    low: Tensor<4>,
    noise: Tensor<4>,
    timesteps: Vec<usize>,
}

/// z_h, z_l, noise and timesteps of `n` samples.
fn batch(seed: u64, step: u64, n: usize, range: [usize; 2], device: &Device) -> Batch {
    let mut draws = Draws::new(seed, step);
    let mut points = [Vec::new(), Vec::new(), Vec::new()];
    let mut timesteps = Vec::new();
    let half = 0.5_f64.sqrt();
    for _ in 0..n {
        for value in target(&mut draws) {
            points[0].push(value as f32);
            points[1].push((half * (value + f64::from(draws.normal()))) as f32);
            points[2].push(draws.normal());
        }
        timesteps.push(range[0] + draws.below(range[1] - range[0]));
    }
    let [sharp, low, noise] =
        points.map(|values| Tensor::from_data(TensorData::new(values, [n, 2, 1, 1]), device));
    Batch { sharp, low, noise, timesteps }
}

#[derive(Clone, Copy)]
struct Method {
    name: &'static str,
    loss: ScoreLoss,
    adversarial: f64,
}

struct Toy {
    seed: u64,
    device: Device,
    schedule: NoiseSchedule,
    template: Score,
}

impl Toy {
    fn new(seed: u64) -> Self {
        let device = Device::flex().autodiff();
        let template = Score::new(seed, &device);
        Self { seed, device, schedule: NoiseSchedule::stable_diffusion(), template }
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
            let batch = batch(self.seed, step, BATCH, [0, 1000], &self.device);
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
            let batch = batch(self.seed ^ 0xd15, step, BATCH, [20, 980], &self.device);
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
        let inputs = batch(self.seed ^ 0xe7a1, 0, SAMPLES, [0, 1], &self.device);
        Ok(sliced_wasserstein(&points(self.generate(&generator, inputs.low)), &self.fresh(1)))
    }

    /// The distance of samples that phi makes in 50 steps (DDIM) from noise: what a perfect distillation would have.
    fn teacher_distance(&self, phi: &Part) -> Result<f64> {
        let network = phi.load(self.template.clone())?.no_grad();
        let mut z = batch(self.seed ^ 0xdd1, 0, SAMPLES, [0, 1], &self.device).noise;
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

    fn fresh(&self, stream: u64) -> Vec<[f64; 2]> {
        let mut draws = Draws::new(self.seed ^ 0xe7a2, stream);
        (0..SAMPLES).map(|_| target(&mut draws)).collect()
    }
}

fn points(samples: Tensor<4>) -> Vec<[f64; 2]> {
    let values: Vec<f64> = samples.into_data().convert::<f64>().try_to_vec().unwrap_or_default();
    values.as_chunks::<2>().0.to_vec()
}

/// Root of the mean over 64 directions of the squared Wasserstein-2 distance of the projections.
fn sliced_wasserstein(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    const DIRECTIONS: usize = 64;
    let along = |points: &[[f64; 2]], angle: f64| {
        let mut values: Vec<f64> = points.iter().map(|[x, y]| x * angle.cos() + y * angle.sin()).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let squares = (0..DIRECTIONS).map(|i| {
        let angle = TAU / 2.0 * i as f64 / DIRECTIONS as f64;
        let pairs = along(a, angle).into_iter().zip(along(b, angle));
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
        "| seed | two target sets | phi, 50 steps | undistilled | vsd | sid | cid_literal | cid | cida |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for seed in 1..=3 {
        let toy = Toy::new(seed);
        let phi = toy.pretrain()?;
        let teacher = toy.teacher_distance(&phi)?;
        let mut row = format!("| {seed} | {:.4} | {teacher:.4} | {:.4} |", toy.floor(), toy.distance(&phi)?);
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
