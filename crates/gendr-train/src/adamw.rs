//! AdamW and the clipping of gradients, on values in memory.

use gendr_kernels::{PlainLoops, vectorized};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Values that one task works on.
const CHUNK: usize = 1 << 15;

/// Settings of [`AdamW`] (Loshchilov and Hutter 2019).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Decay of the two running means, each in `[0, 1)`.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, a share of the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// The optimiser's memory of one list of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// Settings.
    pub config: AdamWConfig,
    /// Steps taken.
    pub steps: u64,
    /// Running mean of each parameter's gradient.
    pub first_moments: Vec<Vec<f32>>,
    /// Running mean of its square.
    pub second_moments: Vec<Vec<f32>>,
}

impl AdamW {
    /// An optimiser of parameters with the given numbers of values, before its first step.
    pub fn new(config: AdamWConfig, lengths: impl Iterator<Item = usize>) -> Self {
        let zeros: Vec<Vec<f32>> = lengths.map(|length| vec![0.0; length]).collect();
        Self { config, steps: 0, first_moments: zeros.clone(), second_moments: zeros }
    }

    /// Moves every parameter one step against its gradient. Both come in the order of the lengths given to `new`.
    pub fn step<'a>(
        &mut self,
        learning_rate: f64,
        parameters: impl Iterator<Item = &'a mut Vec<f32>>,
        gradients: &[Vec<f32>],
    ) {
        self.steps += 1;
        let AdamWConfig { betas: [beta1, beta2], epsilon, weight_decay } = self.config;
        let time = self.steps as f64;
        let step_size = (learning_rate / (1.0 - beta1.powf(time))) as f32;
        let second_scale = (1.0 / (1.0 - beta2.powf(time)).sqrt()) as f32;
        let keep = (1.0 - learning_rate * weight_decay) as f32;
        let [keep1, keep2, take1, take2] = [beta1, beta2, 1.0 - beta1, 1.0 - beta2].map(|value| value as f32);
        let rates =
            Rates { keep1, keep2, take1, take2, step_size, second_scale, keep, epsilon: epsilon as f32 };
        let moments = self.first_moments.iter_mut().zip(&mut self.second_moments);
        let all: Vec<_> = parameters.zip(gradients).zip(moments).collect();
        all.into_par_iter().for_each(|((parameter, gradient), (first, second))| {
            let values = parameter.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
            let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
            values.zip(moments).for_each(|((values, gradients), (first, second))| {
                vectorized(Step { rates, values, gradients, first, second });
            });
        });
    }
}

/// The numbers of one step that all parameters share.
#[derive(Clone, Copy)]
struct Rates {
    keep1: f32,
    keep2: f32,
    take1: f32,
    take2: f32,
    step_size: f32,
    second_scale: f32,
    keep: f32,
    epsilon: f32,
}

/// One step of some parameters.
struct Step<'a> {
    rates: Rates,
    values: &'a mut [f32],
    gradients: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl PlainLoops for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Rates { keep1, keep2, take1, take2, step_size, second_scale, keep, epsilon } = self.rates;
        let moments = self.first.iter_mut().zip(self.second);
        for ((value, gradient), (first, second)) in self.values.iter_mut().zip(self.gradients).zip(moments) {
            *first = keep1 * *first + take1 * gradient;
            *second = keep2 * *second + take2 * gradient * gradient;
            let denominator = second.sqrt() * second_scale + epsilon;
            *value = *value * keep - step_size * *first / denominator;
        }
    }
}

/// The sum of squares, in eight parts.
struct Squares<'a>(&'a [f32]);

impl PlainLoops for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut sums = [0.0; 8];
        let (whole, rest) = self.0.as_chunks::<8>();
        for values in whole {
            // By index: iterators over both are not taken apart at the vector level.
            for i in 0..8 {
                sums[i] += f64::from(values[i]) * f64::from(values[i]);
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>()
    }
}

/// The Euclidean norm of all gradients together.
pub fn gradient_norm(gradients: &[Vec<f32>]) -> f64 {
    let parts: Vec<&[f32]> = gradients.iter().flat_map(|gradient| gradient.chunks(CHUNK)).collect();
    // Added in order, so that the sum does not depend on the threads.
    let sums: Vec<f64> = parts.into_par_iter().map(|part| vectorized(Squares(part))).collect();
    sums.iter().sum::<f64>().sqrt()
}

/// What gradients of the norm `norm` are scaled by so that it is at most `max_norm`; none where it is.
pub(crate) fn clipping(norm: f64, max_norm: f64) -> Option<f64> {
    Some(max_norm / (norm + 1e-6)).filter(|scale| *scale < 1.0)
}

/// Scales the gradients so that their joint norm is at most `max_norm`; returns the norm before.
pub fn clip_gradients(gradients: &mut [Vec<f32>], max_norm: f64) -> f64 {
    let norm = gradient_norm(gradients);
    if let Some(scale) = clipping(norm, max_norm) {
        let scale = scale as f32;
        gradients.par_iter_mut().for_each(|gradient| gradient.iter_mut().for_each(|value| *value *= scale));
    }
    norm
}
