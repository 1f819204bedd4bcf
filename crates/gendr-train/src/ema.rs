//! Exponential moving average of weights: what is validated and exported.

use rayon::prelude::*;

/// The decay for call `call` (counted from 1) of an average that warms up: 0 at first, then
/// `min(decay, call / (9 + call))`, so that the first weights are soon forgotten.
pub fn warm_decay(decay: f64, call: u64) -> f64 {
    if call <= 1 { 0.0 } else { decay.min(call as f64 / (9.0 + call as f64)) }
}

/// The decay an update for which a weight's share halves every `half_life` samples, at `batch` samples an update.
pub fn half_life_decay(half_life: f64, batch: f64) -> f64 {
    0.5_f64.powf(batch / half_life)
}

/// `average <- decay average + (1 - decay) weights`.
pub fn update_average<'a>(average: &mut [Vec<f32>], weights: impl Iterator<Item = &'a Vec<f32>>, decay: f64) {
    let (keep, take) = (decay as f32, (1.0 - decay) as f32);
    let all: Vec<_> = average.iter_mut().zip(weights).collect();
    all.into_par_iter().for_each(|(average, weights)| {
        for (mean, value) in average.iter_mut().zip(weights) {
            *mean = keep * *mean + take * value;
        }
    });
}
