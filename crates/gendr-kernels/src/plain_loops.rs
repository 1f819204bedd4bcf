//! Plain loops of other crates, compiled for the machine's vector instructions.

use crate::simd::{Kernel, Level, Simd};

/// Arithmetic written as plain loops over slices of any number type.
pub trait PlainLoops {
    /// What it returns.
    type Output;

    /// Does the work. Implementations are `#[inline(always)]`, and so is all that they call, or it is compiled without vector
    /// instructions.
    fn run(self) -> Self::Output;
}

/// Runs `loops` compiled for the current [`Level`]. The compiler turns them into vector instructions without changing
/// the order of additions or fusing them: the result is the same at every level.
pub fn vectorized<L: PlainLoops>(loops: L) -> L::Output {
    Level::current().run(AtLevel(loops))
}

struct AtLevel<L>(L);

impl<L: PlainLoops> Kernel for AtLevel<L> {
    type Output = L::Output;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> L::Output {
        self.0.run()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dot<'a>(&'a [f64], &'a [f64]);

    impl PlainLoops for Dot<'_> {
        type Output = f64;

        #[inline(always)]
        fn run(self) -> f64 {
            let mut sums = [0.0; 8];
            for (a, b) in self.0.chunks_exact(8).zip(self.1.chunks_exact(8)) {
                for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                    *sum += a * b;
                }
            }
            sums.iter().sum()
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let [a, b] =
            [0.37, 0.73].map(|step| (0..800).map(|i| (f64::from(i) * step).sin()).collect::<Vec<_>>());
        let plain = Dot(&a, &b).run();
        for level in Level::available() {
            assert_eq!(level.force(|| vectorized(Dot(&a, &b))), plain, "{}", level.name());
        }
    }
}
