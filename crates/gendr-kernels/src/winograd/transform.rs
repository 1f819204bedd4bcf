//! The one-dimensional transforms of Winograd's minimal filtering, m outputs of three weights each.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), section 4: Y = A^T [(G g G^T) . (B^T d B)] A.

use crate::simd::Simd;

/// The transforms of one minimal filtering of `O` outputs from `I` inputs, each on vectors of independent problems.
pub(crate) trait Transform<const I: usize, const O: usize>: Copy + Send + Sync {
    /// Inputs from one output to the next.
    const STRIDE: usize;
    /// B^T d.
    fn input<S: Simd>(s: S, d: [S::V; I]) -> [S::V; I];
    /// G g.
    fn filter<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; I];
    /// A^T m.
    fn output<S: Simd>(s: S, m: [S::V; I]) -> [S::V; O];
    /// The outputs of each lane side by side.
    fn interleave<S: Simd>(s: S, y: [S::V; O]) -> [S::V; O];
}

/// F(2, 3) on the points 0, 1, -1 and infinity.
#[derive(Clone, Copy)]
pub(crate) struct F2;

impl Transform<4, 2> for F2 {
    const STRIDE: usize = 1;

    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::V; 4]) -> [S::V; 4] {
        [s.sub(d[0], d[2]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[1], d[3])]
    }

    #[inline(always)]
    fn filter<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; 4] {
        let half = s.splat(0.5);
        let outer = s.mul(s.add(g[0], g[2]), half);
        [g[0], s.mul_add(g[1], half, outer), s.neg_mul_add(g[1], half, outer), g[2]]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 4]) -> [S::V; 2] {
        let sum = s.add(m[1], m[2]);
        let difference = s.sub(m[1], m[2]);
        [s.add(m[0], sum), s.sub(difference, m[3])]
    }

    #[inline(always)]
    fn interleave<S: Simd>(s: S, y: [S::V; 2]) -> [S::V; 2] {
        s.interleave2(y)
    }
}

/// Two outputs of stride 2. The outer weights see even inputs only: F(2, 2) on the points 0, 1 and infinity. The middle one sees odd
/// inputs only, two plain products.
#[derive(Clone, Copy)]
pub(crate) struct F2Strided;

impl Transform<5, 2> for F2Strided {
    const STRIDE: usize = 2;

    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::V; 5]) -> [S::V; 5] {
        [s.sub(d[0], d[2]), d[2], s.sub(d[4], d[2]), d[1], d[3]]
    }

    #[inline(always)]
    fn filter<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; 5] {
        [g[0], s.add(g[0], g[2]), g[2], g[1], g[1]]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 5]) -> [S::V; 2] {
        [s.add(s.add(m[0], m[1]), m[3]), s.add(s.add(m[1], m[2]), m[4])]
    }

    #[inline(always)]
    fn interleave<S: Simd>(s: S, y: [S::V; 2]) -> [S::V; 2] {
        s.interleave2(y)
    }
}

/// F(4, 3) on the points 0, 1, -1, 2, -2 and infinity.
#[derive(Clone, Copy)]
pub(crate) struct F4;

impl Transform<6, 4> for F4 {
    const STRIDE: usize = 1;

    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::V; 6]) -> [S::V; 6] {
        let (two, four, five) = (s.splat(2.0), s.splat(4.0), s.splat(5.0));
        let even = s.neg_mul_add(four, d[2], d[4]);
        let odd = s.neg_mul_add(four, d[1], d[3]);
        let outer = s.sub(d[4], d[2]);
        let inner = s.mul(two, s.sub(d[3], d[1]));
        [
            s.mul_add(four, d[0], s.neg_mul_add(five, d[2], d[4])),
            s.add(even, odd),
            s.sub(even, odd),
            s.add(outer, inner),
            s.sub(outer, inner),
            s.mul_add(four, d[1], s.neg_mul_add(five, d[3], d[5])),
        ]
    }

    #[inline(always)]
    fn filter<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; 6] {
        let sixth = s.splat(1.0 / 6.0);
        let outer = s.mul(s.add(g[0], g[2]), s.splat(-1.0 / 6.0));
        let inner = s.mul(sixth, s.mul_add(s.splat(0.25), g[0], g[2]));
        let twelfth = s.splat(1.0 / 12.0);
        [
            s.mul(s.splat(0.25), g[0]),
            s.neg_mul_add(sixth, g[1], outer),
            s.mul_add(sixth, g[1], outer),
            s.mul_add(twelfth, g[1], inner),
            s.neg_mul_add(twelfth, g[1], inner),
            g[2],
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 6]) -> [S::V; 4] {
        let (sum1, difference1) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (sum2, difference2) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        [
            s.add(s.add(m[0], sum1), sum2),
            s.mul_add(s.splat(2.0), difference2, difference1),
            s.mul_add(s.splat(4.0), sum2, sum1),
            s.add(s.mul_add(s.splat(8.0), difference2, difference1), m[5]),
        ]
    }

    #[inline(always)]
    fn interleave<S: Simd>(s: S, y: [S::V; 4]) -> [S::V; 4] {
        s.interleave4(y)
    }
}

impl F4 {
    /// A y, the gradient of the output transform.
    #[inline(always)]
    pub(crate) fn output_gradient<S: Simd>(s: S, y: [S::V; 4]) -> [S::V; 6] {
        let (even1, odd1) = (s.add(y[0], y[2]), s.add(y[1], y[3]));
        let even2 = s.mul_add(s.splat(4.0), y[2], y[0]);
        let odd2 = s.mul_add(s.splat(8.0), y[3], s.mul(s.splat(2.0), y[1]));
        [y[0], s.add(even1, odd1), s.sub(even1, odd1), s.add(even2, odd2), s.sub(even2, odd2), y[3]]
    }

    /// G^T u, the gradient of the filter transform.
    #[inline(always)]
    pub(crate) fn filter_gradient<S: Simd>(s: S, u: [S::V; 6]) -> [S::V; 3] {
        let (sum1, difference1) = (s.add(u[1], u[2]), s.sub(u[2], u[1]));
        let (sum2, difference2) = (s.add(u[3], u[4]), s.sub(u[3], u[4]));
        let sixth = s.splat(1.0 / 6.0);
        let outer = s.mul(sixth, sum1);
        [
            s.sub(s.mul_add(s.splat(0.25), u[0], s.mul(s.splat(1.0 / 24.0), sum2)), outer),
            s.mul_add(sixth, difference1, s.mul(s.splat(1.0 / 12.0), difference2)),
            s.add(s.sub(s.mul(sixth, sum2), outer), u[5]),
        ]
    }
}
