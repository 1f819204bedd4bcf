//! Layer normalisation (Ba, Kiros and Hinton 2016) over the last axis, forward and backward.

use crate::{
    moments::Moments,
    scratch::SharedMut,
    simd::{Kernel, Level, Simd, load, store},
};
use rayon::prelude::*;

/// Rows of one job; also the rows whose gradients are summed before they are added to those of other jobs.
const JOB: usize = 64;

/// Rows of `features` floats, each normalised on its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNormShape {
    /// Vectors (tokens).
    pub rows: usize,
    /// Floats in a vector.
    pub features: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

impl LayerNormShape {
    fn check(&self, tensors: &[usize], vectors: &[usize]) {
        let len = self.rows * self.features;
        assert!(self.features > 0, "nothing to normalise: {self:?}");
        assert!(tensors.iter().all(|&given| given == len), "floats for {self:?}: {tensors:?}");
        assert!(
            vectors.iter().all(|&given| given == self.features),
            "floats a row for {self:?}: {vectors:?}"
        );
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` of each row.
///
/// # Panics
///
/// A slice has another length than the shape says.
pub fn layer_norm(shape: &LayerNormShape, x: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32]) {
    shape.check(&[x.len(), y.len()], &[weight.len(), bias.len()]);
    let level = Level::current();
    let job = JOB * shape.features;
    x.par_chunks(job).zip(y.par_chunks_mut(job)).for_each(|(x, y)| {
        level.run(Forward { shape, x, weight, bias, y });
    });
}

/// The gradients of input, weights and biases from that of the result.
///
/// # Panics
///
/// As [`layer_norm`].
pub fn layer_norm_backward(
    shape: &LayerNormShape,
    x: &[f32],
    weight: &[f32],
    grad: &[f32],
    x_grad: &mut [f32],
    weight_grad: &mut [f32],
    bias_grad: &mut [f32],
) {
    shape.check(&[x.len(), grad.len(), x_grad.len()], &[weight.len(), weight_grad.len(), bias_grad.len()]);
    let level = Level::current();
    let features = shape.features;
    let jobs = shape.rows.div_ceil(JOB);
    let mut sums = vec![0.0; jobs * 2 * features];
    let out = SharedMut::new(x_grad);
    sums.par_chunks_exact_mut(2 * features).enumerate().for_each(|(job, sums)| {
        let (weight_grad, bias_grad) = sums.split_at_mut(features);
        let from = job * JOB * features;
        let len = (x.len() - from).min(JOB * features);
        let (x, grad) = (&x[from..from + len], &grad[from..from + len]);
        // SAFETY: each job has its own rows.
        let x_grad = unsafe { out.part(from, len) };
        level.run(Backward { shape, x, weight, grad, x_grad, weight_grad, bias_grad });
    });
    for (feature, (weight_grad, bias_grad)) in weight_grad.iter_mut().zip(bias_grad).enumerate() {
        let total =
            |at: usize| (0..jobs).map(|job| f64::from(sums[job * 2 * features + at])).sum::<f64>() as f32;
        (*weight_grad, *bias_grad) = (total(feature), total(features + feature));
    }
}

struct Forward<'a> {
    shape: &'a LayerNormShape,
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let features = self.shape.features;
        for (x, y) in self.x.chunks_exact(features).zip(self.y.chunks_exact_mut(features)) {
            let moments = Moments::of(s, x);
            let rate = moments.rate(self.shape.epsilon);
            let (scale, shift) = (s.splat(rate as f32), s.splat((-moments.mean * rate) as f32));
            for at in (0..features).step_by(S::LANES) {
                let count = (features - at).min(S::LANES);
                // SAFETY: `count` floats from `at` on lie inside the four rows.
                unsafe {
                    let normed = s.mul_add(load(s, x.as_ptr().add(at), count), scale, shift);
                    let weight = load(s, self.weight.as_ptr().add(at), count);
                    let bias = load(s, self.bias.as_ptr().add(at), count);
                    store(s, y.as_mut_ptr().add(at), s.mul_add(normed, weight, bias), count);
                }
            }
        }
    }
}

struct Backward<'a> {
    shape: &'a LayerNormShape,
    x: &'a [f32],
    weight: &'a [f32],
    grad: &'a [f32],
    x_grad: &'a mut [f32],
    weight_grad: &'a mut [f32],
    bias_grad: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let features = self.shape.features;
        let rows = self.x.chunks_exact(features).zip(self.grad.chunks_exact(features));
        for ((x, grad), out) in rows.zip(self.x_grad.chunks_exact_mut(features)) {
            let moments = Moments::of(s, x);
            let rate = moments.rate(self.shape.epsilon) as f32;
            let (scale, shift) = (s.splat(rate), s.splat((-moments.mean * f64::from(rate)) as f32));
            let (mut sum, mut sum_normed) = (s.zero(), s.zero());
            for at in (0..features).step_by(S::LANES) {
                let count = (features - at).min(S::LANES);
                // SAFETY: `count` floats from `at` on lie inside the rows; missing lanes of `grad` are zero.
                unsafe {
                    let normed = s.mul_add(load(s, x.as_ptr().add(at), count), scale, shift);
                    let grad = load(s, grad.as_ptr().add(at), count);
                    let weighted = s.mul(grad, load(s, self.weight.as_ptr().add(at), count));
                    sum = s.add(sum, weighted);
                    sum_normed = s.mul_add(weighted, normed, sum_normed);
                    let add = |to: *mut f32, v| store(s, to, s.add(load(s, to, count), v), count);
                    add(self.weight_grad.as_mut_ptr().add(at), s.mul(grad, normed));
                    add(self.bias_grad.as_mut_ptr().add(at), grad);
                }
            }
            let mean = s.splat(s.sum(sum) / features as f32);
            let mean_normed = s.splat(s.sum(sum_normed) / features as f32);
            for at in (0..features).step_by(S::LANES) {
                let count = (features - at).min(S::LANES);
                // SAFETY: `count` floats from `at` on lie inside the rows; missing lanes of `grad` are zero.
                unsafe {
                    let normed = s.mul_add(load(s, x.as_ptr().add(at), count), scale, shift);
                    let grad = load(s, grad.as_ptr().add(at), count);
                    let weighted = s.mul(grad, load(s, self.weight.as_ptr().add(at), count));
                    let v = s.sub(weighted, s.mul_add(normed, mean_normed, mean));
                    store(s, out.as_mut_ptr().add(at), s.mul(v, scale), count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{errors, noise, typical_sum};
    use proptest::prelude::*;

    /// Result and gradients of input, weight and bias in f64.
    fn reference(
        shape: &LayerNormShape,
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        grad: &[f32],
    ) -> [Vec<f64>; 4] {
        let n = shape.features;
        let mut want = [vec![], vec![], vec![0.0; n], vec![0.0; n]];
        for (x, grad) in x.chunks_exact(n).zip(grad.chunks_exact(n)) {
            let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
            let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n as f64;
            let rate = 1.0 / (variance + f64::from(shape.epsilon)).sqrt();
            let normed: Vec<_> = x.iter().map(|&x| (f64::from(x) - mean) * rate).collect();
            let weighted: Vec<_> =
                grad.iter().zip(weight).map(|(&g, &w)| f64::from(g) * f64::from(w)).collect();
            let of_mean = weighted.iter().sum::<f64>() / n as f64;
            let of_normed = weighted.iter().zip(&normed).map(|(g, x)| g * x).sum::<f64>() / n as f64;
            for i in 0..n {
                want[0].push(normed[i] * f64::from(weight[i]) + f64::from(bias[i]));
                want[1].push((weighted[i] - of_mean - normed[i] * of_normed) * rate);
                want[2][i] += f64::from(grad[i]) * normed[i];
                want[3][i] += f64::from(grad[i]);
            }
        }
        want
    }

    proptest! {
        #[test]
        fn every_level_agrees_with_double_precision(rows in 1usize..150, features in 1usize..90, seed in 0u64..1000) {
            let shape = LayerNormShape { rows, features, epsilon: 1e-2 };
            let x: Vec<f32> = noise(seed, rows * features).iter().map(|x| x + 0.7).collect();
            let (weight, bias) = (noise(seed + 1, features), noise(seed + 2, features));
            let grad = noise(seed + 3, rows * features);
            let want = reference(&shape, &x, &weight, &bias, &grad);
            for level in Level::available() {
                let mut got = [vec![f32::NAN; x.len()], vec![f32::NAN; x.len()], vec![f32::NAN; features], vec![f32::NAN; features]];
                let [y, x_grad, weight_grad, bias_grad] = &mut got;
                level.force(|| {
                    layer_norm(&shape, &x, &weight, &bias, y);
                    layer_norm_backward(&shape, &x, &weight, &grad, x_grad, weight_grad, bias_grad);
                });
                // One feature leaves nothing but rounding.
                for (i, (got, want)) in got.iter().zip(&want).enumerate().filter(|(i, _)| features > 1 || *i == 0 || *i == 3) {
                    // The result is then the bias, a single number that may be near zero.
                    let typical = if features > 1 { 0.0 } else { typical_sum(3.0) };
                    let (rms, max) = errors(got, want, typical);
                    prop_assert!(rms < 2e-5 && max < 2e-4, "{i} {level:?} {shape:?}: {rms:e} {max:e}");
                }
            }
        }
    }
}
