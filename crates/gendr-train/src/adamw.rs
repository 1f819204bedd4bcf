//! AdamW and the clipping of gradients, on values in memory.

use serde::{Deserialize, Serialize};

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
        let moments = self.first_moments.iter_mut().zip(&mut self.second_moments);
        for ((parameter, gradient), (first, second)) in parameters.zip(gradients).zip(moments) {
            let moments = first.iter_mut().zip(second.iter_mut());
            for ((value, gradient), (first, second)) in parameter.iter_mut().zip(gradient).zip(moments) {
                *first = keep1 * *first + take1 * gradient;
                *second = keep2 * *second + take2 * gradient * gradient;
                let denominator = second.sqrt() * second_scale + epsilon as f32;
                *value = *value * keep - step_size * *first / denominator;
            }
        }
    }
}

/// The Euclidean norm of all gradients together.
pub fn gradient_norm(gradients: &[Vec<f32>]) -> f64 {
    gradients.iter().flatten().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// Scales the gradients so that their joint norm is at most `max_norm`; returns the norm before.
pub fn clip_gradients(gradients: &mut [Vec<f32>], max_norm: f64) -> f64 {
    let norm = gradient_norm(gradients);
    let scale = (max_norm / (norm + 1e-6)) as f32;
    if scale < 1.0 {
        gradients.iter_mut().flatten().for_each(|value| *value *= scale);
    }
    norm
}
