//! Random numbers that a seed and a sample's index fix, whatever thread draws them.

use chacha20::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use rand_distr::{Distribution, Poisson, StandardNormal};

/// A stream of random numbers.
#[derive(Debug)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream of sample `index` under `seed`. Streams of different samples are independent.
    pub fn new(seed: u64, index: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index);
        Self(rng)
    }

    /// 64 random bits, such as the seed of another stream.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[low, high)`; `low` itself where the two are equal.
    pub fn uniform(&mut self, [low, high]: [f64; 2]) -> f64 {
        let unit = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// A whole number below `count`; 0 where there is none.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.bits()) * count as u128) >> 64) as usize
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform([0.0, 1.0]) < probability
    }

    /// An index, each with a probability proportional to its weight.
    pub fn pick(&mut self, weights: &[f64]) -> usize {
        let mut left = self.uniform([0.0, weights.iter().sum()]);
        for (i, weight) in weights.iter().enumerate() {
            if left < *weight {
                return i;
            }
            left -= weight;
        }
        weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0)
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f32 {
        StandardNormal.sample(&mut self.0)
    }

    /// A Poisson count; 0 where the mean is not positive.
    pub fn poisson(&mut self, mean: f32) -> f32 {
        Poisson::new(mean).map_or(0.0, |distribution| distribution.sample(&mut self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_fixed_by_seed_and_index() {
        let stream = |seed, index| {
            let mut draws = Draws::new(seed, index);
            [draws.bits(), draws.bits(), draws.bits()]
        };
        assert_eq!(stream(7, 3), stream(7, 3));
        assert_ne!(stream(7, 3), stream(7, 4));
        assert_ne!(stream(7, 3), stream(8, 3));
    }

    #[test]
    fn draws_follow_their_distributions() {
        const COUNT: usize = 40_000;
        let mut draws = Draws::new(1, 0);
        let mut mean = |draw: &mut dyn FnMut(&mut Draws) -> f64| {
            (0..COUNT).map(|_| draw(&mut draws)).sum::<f64>() / COUNT as f64
        };
        assert!((mean(&mut |d| d.uniform([2.0, 4.0])) - 3.0).abs() < 0.02);
        assert!((mean(&mut |d| f64::from(u8::from(d.chance(0.3)))) - 0.3).abs() < 0.01);
        assert!((mean(&mut |d| d.below(5) as f64) - 2.0).abs() < 0.04);
        assert!((mean(&mut |d| d.pick(&[1.0, 0.0, 3.0]) as f64) - 1.5).abs() < 0.02);
        assert!(mean(&mut |d| f64::from(d.normal())).abs() < 0.02);
        assert!((mean(&mut |d| f64::from(d.normal()).powi(2)) - 1.0).abs() < 0.03);
        assert!((mean(&mut |d| f64::from(d.poisson(9.0))) - 9.0).abs() < 0.08);
        assert!((mean(&mut |d| (f64::from(d.poisson(40.0)) - 40.0).powi(2)) - 40.0).abs() < 1.5);
    }
}
