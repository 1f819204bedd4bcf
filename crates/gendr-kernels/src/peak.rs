//! What the machine could do: multiply-adds on registers alone.

use crate::simd::{Kernel, Level, Simd};
use std::{hint::black_box, time::Instant};

/// Chains of dependent multiply-adds: more than any core has in flight.
const CHAINS: usize = 12;
/// Multiply-adds of each chain.
const STEPS: usize = 1 << 21;

/// Floating-point operations a second that the current level reaches on all threads of the rayon pool together, a
/// multiply-add being two; the best of a few tries.
pub fn peak_operations() -> f64 {
    let level = Level::current();
    let once = || {
        let start = Instant::now();
        let threads = rayon::broadcast(|_| level.run(Chains)).len();
        (threads * 2 * CHAINS * STEPS * level.lanes()) as f64 / start.elapsed().as_secs_f64()
    };
    (0..5).map(|_| once()).fold(0.0, f64::max)
}

struct Chains;

impl Kernel for Chains {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (factor, term) = (s.splat(black_box(0.999)), s.splat(black_box(1e-3)));
        let mut sums = [s.zero(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = s.mul_add(*sum, factor, term);
            }
        }
        black_box(sums.map(|sum| s.sum(sum)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_does_something() {
        for level in Level::available() {
            let rate = level.force(peak_operations);
            assert!(rate.is_finite() && rate > 0.0, "{}", level.name());
        }
    }
}
