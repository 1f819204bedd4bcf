//! Functions of one value: SiLU, GELU and its gate, forward and backward.

use crate::{
    math::{gelu, gelu_and_slope, sigmoid, silu_slope},
    simd::{Kernel, Level, Simd, each_vector, load, store},
};
use rayon::prelude::*;

/// Floats of one job.
const JOB: usize = 1 << 14;

/// A smooth rectifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rectifier {
    /// `x * sigmoid(x)`.
    Silu,
    /// `x` times the distribution function of the normal distribution (the exact GELU; absolute error below 2e-7 times `x`).
    Gelu,
}

impl Rectifier {
    /// `y = f(x)`.
    ///
    /// # Panics
    ///
    /// The slices have different lengths.
    pub fn forward(self, x: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), y.len(), "floats in and out");
        let level = Level::current();
        x.par_chunks(JOB).zip(y.par_chunks_mut(JOB)).for_each(|(x, y)| {
            level.run(Map { rectifier: self, x, factor: None, slope: false, y });
        });
    }

    /// `x_grad = grad * f'(x)`.
    ///
    /// # Panics
    ///
    /// The slices have different lengths.
    pub fn backward(self, x: &[f32], grad: &[f32], x_grad: &mut [f32]) {
        assert!(x.len() == x_grad.len() && grad.len() == x_grad.len(), "floats in and out");
        let level = Level::current();
        let inputs = x.par_chunks(JOB).zip(grad.par_chunks(JOB));
        inputs.zip(x_grad.par_chunks_mut(JOB)).for_each(|((x, grad), y)| {
            level.run(Map { rectifier: self, x, factor: Some(grad), slope: true, y });
        });
    }

    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        match self {
            Self::Silu => s.mul(x, sigmoid(s, x)),
            Self::Gelu => gelu(s, x),
        }
    }

    #[inline(always)]
    fn slope<S: Simd>(self, s: S, x: S::V) -> S::V {
        match self {
            Self::Silu => silu_slope(s, x),
            Self::Gelu => gelu_and_slope(s, x)[1],
        }
    }
}

/// Value times gelu(gate) of the two halves of each row (GEGLU): `x` is `[rows, 2 * features]`, `y` `[rows, features]`.
///
/// # Panics
///
/// `features` is zero or the slices do not fit it.
pub fn geglu(features: usize, x: &[f32], y: &mut [f32]) {
    assert!(features > 0 && y.len().is_multiple_of(features) && x.len() == 2 * y.len(), "floats in and out");
    let level = Level::current();
    x.par_chunks_exact(2 * features).zip(y.par_chunks_exact_mut(features)).for_each(|(x, y)| {
        let (value, gate) = x.split_at(features);
        level.run(Map { rectifier: Rectifier::Gelu, x: gate, factor: Some(value), slope: false, y });
    });
}

/// The gradient of [`geglu`]'s input.
///
/// # Panics
///
/// As [`geglu`].
pub fn geglu_backward(features: usize, x: &[f32], grad: &[f32], x_grad: &mut [f32]) {
    let fits =
        grad.len().is_multiple_of(features.max(1)) && x.len() == 2 * grad.len() && x_grad.len() == x.len();
    assert!(features > 0 && fits, "floats in and out");
    let level = Level::current();
    let rows = x.par_chunks_exact(2 * features).zip(grad.par_chunks_exact(features));
    rows.zip(x_grad.par_chunks_exact_mut(2 * features)).for_each(|((x, grad), x_grad)| {
        let (value, gate) = x.split_at(features);
        let (value_grad, gate_grad) = x_grad.split_at_mut(features);
        level.run(GateGradients { value, gate, grad, value_grad, gate_grad });
    });
}

/// The gradients of `value * gelu(gate)`.
struct GateGradients<'a> {
    value: &'a [f32],
    gate: &'a [f32],
    grad: &'a [f32],
    value_grad: &'a mut [f32],
    gate_grad: &'a mut [f32],
}

impl Kernel for GateGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { value, gate, grad, value_grad, gate_grad } = self;
        let len = grad.len();
        assert!([value.len(), gate.len(), value_grad.len(), gate_grad.len()] == [len; 4]);
        each_vector::<S>(len, |at, count| {
            // SAFETY: `count` floats from `at` on lie inside the slices.
            unsafe {
                let [gelu, slope] = gelu_and_slope(s, load(s, gate.as_ptr().add(at), count));
                let grad = load(s, grad.as_ptr().add(at), count);
                let by_value = s.mul(grad, load(s, value.as_ptr().add(at), count));
                store(s, value_grad.as_mut_ptr().add(at), s.mul(grad, gelu), count);
                store(s, gate_grad.as_mut_ptr().add(at), s.mul(by_value, slope), count);
            }
        });
    }
}

/// `y = factor * f(x)` or `factor * f'(x)`; without a factor it is 1.
struct Map<'a> {
    rectifier: Rectifier,
    x: &'a [f32],
    factor: Option<&'a [f32]>,
    slope: bool,
    y: &'a mut [f32],
}

impl Kernel for Map<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.y.len();
        assert!(self.x.len() == len && self.factor.is_none_or(|factor| factor.len() == len));
        each_vector::<S>(len, |at, count| {
            // SAFETY: `count` floats from `at` on lie inside the slices.
            unsafe {
                let x = load(s, self.x.as_ptr().add(at), count);
                let f = if self.slope { self.rectifier.slope(s, x) } else { self.rectifier.value(s, x) };
                let v = match self.factor {
                    Some(factor) => s.mul(f, load(s, factor.as_ptr().add(at), count)),
                    None => f,
                };
                store(s, self.y.as_mut_ptr().add(at), v, count);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Rectifier, geglu, geglu_backward};
    use crate::noise::{erf, noise};

    fn gelu(x: f64) -> f64 {
        0.5 * x * (1.0 + erf(x / 2f64.sqrt()))
    }

    fn silu(x: f64) -> f64 {
        x / (1.0 + (-x).exp())
    }

    fn gelu_slope(x: f64) -> f64 {
        0.5 * (1.0 + erf(x / 2f64.sqrt())) + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    fn silu_slope(x: f64) -> f64 {
        let gate = 1.0 / (1.0 + (-x).exp());
        gate * (1.0 + x * (1.0 - gate))
    }

    #[test]
    fn values_and_slopes_agree_with_double_precision() {
        let mut x: Vec<f32> = (-12_000..12_000).map(|i| i as f32 * 1e-3).collect();
        x.extend([0.0, -0.0, 100.0, -100.0, 1e30, -1e30, 1e-30]);
        let grad = vec![2.0; x.len()];
        for level in Level::available() {
            type Function = fn(f64) -> f64;
            let cases: [(Rectifier, Function, Function); 2] =
                [(Rectifier::Silu, silu, silu_slope), (Rectifier::Gelu, gelu, gelu_slope)];
            for (rectifier, f, slope) in cases {
                let (mut y, mut x_grad) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
                level.force(|| {
                    rectifier.forward(&x, &mut y);
                    rectifier.backward(&x, &grad, &mut x_grad);
                });
                for ((&x, &y), &x_grad) in x.iter().zip(&y).zip(&x_grad) {
                    let want = f(f64::from(x));
                    let close = (f64::from(y) - want).abs() <= 4e-7 * (1.0 + want.abs());
                    assert!(close, "{level:?} {rectifier:?} {x}: {y} {want}");
                    if x.abs() < 1e3 {
                        let want = 2.0 * slope(f64::from(x));
                        let close = (f64::from(x_grad) - want).abs() <= 2e-6;
                        assert!(close, "slope {level:?} {rectifier:?} {x}: {x_grad} {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn gates_agree_with_double_precision() {
        for (rows, features) in [(1, 1), (3, 5), (7, 33), (2, 160)] {
            let x: Vec<f32> = noise(1, rows * 2 * features).iter().map(|x| 4.0 * x).collect();
            let grad = noise(2, rows * features);
            for level in Level::available() {
                let (mut y, mut x_grad) = (vec![f32::NAN; rows * features], vec![f32::NAN; x.len()]);
                level.force(|| {
                    geglu(features, &x, &mut y);
                    geglu_backward(features, &x, &grad, &mut x_grad);
                });
                for (i, (&y, &grad)) in y.iter().zip(&grad).enumerate() {
                    let at = i / features * 2 * features + i % features;
                    let (value, gate) = (f64::from(x[at]), f64::from(x[at + features]));
                    let grad = f64::from(grad);
                    assert!((f64::from(y) - value * gelu(gate)).abs() < 4e-6, "{level:?} {i}");
                    assert!((f64::from(x_grad[at]) - grad * gelu(gate)).abs() < 4e-6, "{level:?} {i}");
                    let want = grad * value * gelu_slope(gate);
                    assert!((f64::from(x_grad[at + features]) - want).abs() < 1e-5, "{level:?} {i}");
                }
            }
        }
    }
}
