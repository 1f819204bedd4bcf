//! Elementary functions on vectors.

use crate::simd::{ROUNDING, Simd};
use std::f32::consts::{LN_2, LOG2_E};

/// The polynomial of `coefficients`, the last first.
#[inline(always)]
fn polynomial<S: Simd>(s: S, x: S::V, coefficients: [f32; 7]) -> S::V {
    let [last, rest @ ..] = coefficients;
    rest.into_iter().fold(s.splat(last), |sum, c| s.mul_add(sum, x, s.splat(c)))
}

/// e to the power of each lane, relative error below 2e-7; below -87.3 it is at most 2e-38, above 88.3 it stays at the
/// value there.
///
/// Splits x = n ln 2 + r with |r| <= ln 2 / 2 and takes e^r from the polynomial of the least relative error, 2e-9.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    const POLYNOMIAL: [f32; 7] =
        [1.383_684_6e-3, 8.374_816e-3, 4.166_822_5e-2, 0.166_664_2, 0.499_999_9, 1.0, 1.0];
    let x = s.min(s.max(x, s.splat(-87.3)), s.splat(88.3));
    let rounded = s.mul_add(x, s.splat(LOG2_E), s.splat(ROUNDING));
    let n = s.sub(rounded, s.splat(ROUNDING));
    // ln 2 in two parts, the first exact in few bits.
    let r = s.neg_mul_add(n, s.splat(0.693_359_4), x);
    let r = s.neg_mul_add(n, s.splat(-2.121_944_4e-4), r);
    s.add_exponent(polynomial(s, r, POLYNOMIAL), rounded)
}

/// 2 to the power of each lane, which is at most 127, relative error below 2e-7; below -126 it is at most 2e-38.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::V) -> S::V {
    const POLYNOMIAL: [f32; 7] =
        [1.534_581_2e-4, 1.339_993_1e-3, 9.618_489e-3, 5.550_328_6e-2, 0.240_226_46, LN_2, 1.0];
    let x = s.max(x, s.splat(-126.0));
    let rounded = s.add(x, s.splat(ROUNDING));
    let r = s.sub(x, s.sub(rounded, s.splat(ROUNDING)));
    s.add_exponent(polynomial(s, r, POLYNOMIAL), rounded)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.zero(), x))))
}

/// The distribution function of the normal distribution, absolute error below 2e-7, and e^(-x² / 2).
///
/// Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26.
#[inline(always)]
fn normal<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let one = s.splat(1.0);
    let z = s.mul(s.max(x, s.sub(s.zero(), x)), s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = s.div(one, s.mul_add(z, s.splat(0.327_591_1), one));
    let mut p = s.splat(1.061_405_4);
    for c in [-1.453_152_1, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = s.mul_add(p, t, s.splat(c));
    }
    let density = exp(s, s.neg_mul_add(z, z, s.zero()));
    let tail = s.mul(s.mul(p, t), s.mul(s.splat(0.5), density));
    (s.select(s.less(x, s.zero()), tail, s.sub(one, tail)), density)
}

/// The distribution function of the normal distribution, absolute error below 2e-7.
#[inline(always)]
pub(crate) fn normal_distribution<S: Simd>(s: S, x: S::V) -> S::V {
    normal(s, x).0
}

/// x times [`normal_distribution`].
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    s.mul(x, normal_distribution(s, x))
}

/// [`gelu`] and its derivative.
#[inline(always)]
pub(crate) fn gelu_and_slope<S: Simd>(s: S, x: S::V) -> [S::V; 2] {
    let (distribution, density) = normal(s, x);
    // 1 / sqrt(2 pi).
    [s.mul(x, distribution), s.mul_add(s.mul(x, density), s.splat(0.398_942_3), distribution)]
}

/// The derivative of x * [`sigmoid`].
#[inline(always)]
pub(crate) fn silu_slope<S: Simd>(s: S, x: S::V) -> S::V {
    let gate = sigmoid(s, x);
    let one = s.splat(1.0);
    s.mul(gate, s.mul_add(x, s.sub(one, gate), one))
}
