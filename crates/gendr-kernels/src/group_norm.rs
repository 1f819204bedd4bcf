//! Group normalisation (Wu and He 2018) with SiLU behind it, forward and backward.
//!
//! The values of a group lie one after another, so that a group is one job: moments, then the result, while it is in the
//! cache. Sums run in blocks of f32 vectors whose totals are added in f64.

use crate::{
    math::sigmoid,
    moments::{Moments, MomentsOf},
    scratch::SharedMut,
    simd::{Kernel, Level, Simd, each_vector, load, store},
};
use rayon::prelude::*;

/// Vectors added in single precision before the sum goes on in double.
const BLOCK: usize = 256;

/// What is normalised: `[batch, channels, pixels]` in `groups` runs of neighbouring channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNormShape {
    /// Pictures.
    pub batch: usize,
    /// Channels, a multiple of `groups`.
    pub channels: usize,
    /// Height times width.
    pub pixels: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether SiLU follows.
    pub silu: bool,
}

impl GroupNormShape {
    /// Floats of the input.
    pub const fn len(&self) -> usize {
        self.batch * self.channels * self.pixels
    }

    /// Whether there is nothing to normalise.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn channels_a_group(&self) -> usize {
        self.channels / self.groups
    }

    fn check_moments(&self, mean: &[f32], variance: &[f32]) {
        let count = self.batch * self.groups;
        assert!(mean.len() == count && variance.len() == count, "moments of {self:?}");
    }

    fn check(&self, tensors: &[usize], vectors: &[usize]) {
        assert!(self.groups > 0 && self.channels.is_multiple_of(self.groups), "groups of {self:?}");
        assert!(!self.is_empty(), "nothing to normalise: {self:?}");
        assert!(tensors.iter().all(|&len| len == self.len()), "floats for {self:?}: {tensors:?}");
        assert!(
            vectors.iter().all(|&len| len == self.channels),
            "floats a channel for {self:?}: {vectors:?}"
        );
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` by the mean and variance of each group, then SiLU if asked.
///
/// # Panics
/// The shape is impossible, or a slice has another length than it says.
pub fn group_norm(shape: &GroupNormShape, x: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32]) {
    shape.check(&[x.len(), y.len()], &[weight.len(), bias.len()]);
    let (level, each) = (Level::current(), shape.channels_a_group());
    let group = each * shape.pixels;
    x.par_chunks_exact(group).zip(y.par_chunks_exact_mut(group)).enumerate().for_each(|(job, (x, y))| {
        let first = job % shape.groups * each;
        let (weight, bias) = (&weight[first..first + each], &bias[first..first + each]);
        level.run(Forward { shape, moments: None, x, weight, bias, y });
    });
}

/// Mean and variance of each group of each picture, `[batch, groups]` each.
///
/// # Panics
/// As [`group_norm`].
pub fn group_moments(shape: &GroupNormShape, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    shape.check(&[x.len()], &[]);
    shape.check_moments(mean, variance);
    let level = Level::current();
    let moments = mean.par_iter_mut().zip(variance);
    x.par_chunks_exact(shape.channels_a_group() * shape.pixels).zip(moments).for_each(
        |(x, (mean, variance))| {
            let moments = level.run(MomentsOf(x));
            (*mean, *variance) = (moments.mean as f32, moments.variance() as f32);
        },
    );
}

/// [`group_norm`] by moments that are given, as for a tile of a larger picture: `mean` and `variance` are `[batch, groups]`.
///
/// # Panics
/// As [`group_norm`].
pub fn group_norm_by(
    shape: &GroupNormShape,
    x: &[f32],
    mean: &[f32],
    variance: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
) {
    shape.check(&[x.len(), y.len()], &[weight.len(), bias.len()]);
    shape.check_moments(mean, variance);
    let (level, each) = (Level::current(), shape.channels_a_group());
    let group = each * shape.pixels;
    x.par_chunks_exact(group).zip(y.par_chunks_exact_mut(group)).enumerate().for_each(|(job, (x, y))| {
        let first = job % shape.groups * each;
        let (weight, bias) = (&weight[first..first + each], &bias[first..first + each]);
        let rate = 1.0 / (f64::from(variance[job]) + f64::from(shape.epsilon)).sqrt();
        level.run(Forward { shape, moments: Some((mean[job], rate as f32)), x, weight, bias, y });
    });
}

/// The gradients of input, weights and biases from that of the result.
///
/// # Panics
/// As [`group_norm`].
#[allow(clippy::too_many_arguments)]
pub fn group_norm_backward(
    shape: &GroupNormShape,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    grad: &[f32],
    x_grad: &mut [f32],
    weight_grad: &mut [f32],
    bias_grad: &mut [f32],
) {
    let vectors = [weight.len(), bias.len(), weight_grad.len(), bias_grad.len()];
    shape.check(&[x.len(), grad.len(), x_grad.len()], &vectors);
    let (level, each) = (Level::current(), shape.channels_a_group());
    let (weight_out, bias_out) = (SharedMut::new(weight_grad), SharedMut::new(bias_grad));
    let x_out = SharedMut::new(x_grad);
    // One job a group for the whole batch: the sums over the batch then run in one order.
    (0..shape.groups).into_par_iter().for_each(|job| {
        let first = job * each;
        // SAFETY: each job has its own channels.
        let (weight_grad, bias_grad) = unsafe { (weight_out.part(first, each), bias_out.part(first, each)) };
        weight_grad.fill(0.0);
        bias_grad.fill(0.0);
        for image in 0..shape.batch {
            let (from, len) = ((image * shape.channels + first) * shape.pixels, each * shape.pixels);
            level.run(BackwardGroup {
                shape,
                x: &x[from..from + len],
                weight: &weight[first..first + each],
                bias: &bias[first..first + each],
                grad: &grad[from..from + len],
                // SAFETY: as above.
                x_grad: unsafe { x_out.part(from, len) },
                weight_grad,
                bias_grad,
            });
        }
    });
}

struct Forward<'a> {
    shape: &'a GroupNormShape,
    /// Mean and 1 / sqrt(variance + epsilon) if not the group's own.
    moments: Option<(f32, f32)>,
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mean, rate) = self.moments.unwrap_or_else(|| {
            let moments = Moments::of(s, self.x);
            (moments.mean as f32, moments.rate(self.shape.epsilon) as f32)
        });
        let pixels = self.shape.pixels;
        for (channel, y) in self.y.chunks_exact_mut(pixels).enumerate() {
            let x = &self.x[channel * pixels..][..pixels];
            let scale = self.weight[channel] * rate;
            let (shift, scale) = (s.splat(self.bias[channel] - mean * scale), s.splat(scale));
            each_vector::<S>(pixels, |at, count| {
                // SAFETY: `count` floats from `at` on lie inside both rows.
                unsafe {
                    let z = s.mul_add(load(s, x.as_ptr().add(at), count), scale, shift);
                    let v = if self.shape.silu { s.mul(z, sigmoid(s, z)) } else { z };
                    store(s, y.as_mut_ptr().add(at), v, count);
                }
            });
        }
    }
}

struct BackwardGroup<'a> {
    shape: &'a GroupNormShape,
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    grad: &'a [f32],
    x_grad: &'a mut [f32],
    weight_grad: &'a mut [f32],
    bias_grad: &'a mut [f32],
}

impl Kernel for BackwardGroup<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let pixels = self.shape.pixels;
        let moments = Moments::of(s, self.x);
        let (mean, rate) = (moments.mean as f32, moments.rate(self.shape.epsilon) as f32);
        let (mut sum, mut sum_normed) = (0.0, 0.0);
        for (channel, out) in self.x_grad.chunks_exact_mut(pixels).enumerate() {
            let (x, grad) = (&self.x[channel * pixels..][..pixels], &self.grad[channel * pixels..][..pixels]);
            let (weight, bias) = (self.weight[channel], self.bias[channel]);
            let (of_grad, of_normed) = self.shape.before_silu(s, x, grad, [mean, rate, weight, bias], out);
            self.bias_grad[channel] += of_grad as f32;
            self.weight_grad[channel] += of_normed as f32;
            sum += f64::from(weight) * of_grad;
            sum_normed += f64::from(weight) * of_normed;
        }
        // The mean and the variance depend on every value of the group.
        let count = self.x.len() as f64;
        let (mean_grad, mean_normed) = ((sum / count) as f32, (sum_normed / count) as f32);
        let slope = s.splat(-rate * rate * mean_normed);
        let offset = s.splat(rate * (rate * mean_normed * mean - mean_grad));
        for (channel, out) in self.x_grad.chunks_exact_mut(pixels).enumerate() {
            let x = &self.x[channel * pixels..][..pixels];
            let scale = s.splat(self.weight[channel] * rate);
            each_vector::<S>(pixels, |at, count| {
                // SAFETY: `count` floats from `at` on lie inside both rows.
                unsafe {
                    let of_mean = s.mul_add(load(s, x.as_ptr().add(at), count), slope, offset);
                    let v = s.mul_add(load(s, out.as_ptr().add(at), count), scale, of_mean);
                    store(s, out.as_mut_ptr().add(at), v, count);
                }
            });
        }
    }
}

impl GroupNormShape {
    /// Writes the gradient before SiLU of one channel; returns its sum and that of its products with the normalised input.
    #[inline(always)]
    fn before_silu<S: Simd>(
        &self,
        s: S,
        x: &[f32],
        grad: &[f32],
        [mean, rate, weight, bias]: [f32; 4],
        out: &mut [f32],
    ) -> (f64, f64) {
        let one = s.splat(1.0);
        let (scale, shift) = (s.splat(rate), s.splat(-mean * rate));
        let (weight, bias) = (s.splat(weight), s.splat(bias));
        let (mut total, mut total_normed) = (0.0, 0.0);
        for from in (0..x.len()).step_by(BLOCK * S::LANES) {
            let (mut sum, mut sum_normed) = (s.zero(), s.zero());
            each_vector::<S>((x.len() - from).min(BLOCK * S::LANES), |at, count| {
                let at = from + at;
                // SAFETY: `count` floats from `at` on lie inside the rows; missing lanes of `grad` read as zero.
                unsafe {
                    let normed = s.mul_add(load(s, x.as_ptr().add(at), count), scale, shift);
                    let mut g = load(s, grad.as_ptr().add(at), count);
                    if self.silu {
                        let z = s.mul_add(normed, weight, bias);
                        let gate = sigmoid(s, z);
                        let slope = s.mul(gate, s.mul_add(z, s.sub(one, gate), one));
                        g = s.mul(g, slope);
                    }
                    store(s, out.as_mut_ptr().add(at), g, count);
                    sum = s.add(sum, g);
                    sum_normed = s.mul_add(g, normed, sum_normed);
                }
            });
            total += f64::from(s.sum(sum));
            total_normed += f64::from(s.sum(sum_normed));
        }
        (total, total_normed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next() * 1.7 + 0.4).collect()
    }

    /// The result in f64, straight from the definition.
    fn reference(shape: &GroupNormShape, x: &[f64], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let group = shape.channels_a_group() * shape.pixels;
        let mut y = Vec::new();
        for (job, x) in x.chunks_exact(group).enumerate() {
            let mean = x.iter().sum::<f64>() / group as f64;
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / group as f64;
            for (i, v) in x.iter().enumerate() {
                let channel = job % shape.groups * shape.channels_a_group() + i / shape.pixels;
                let z = (v - mean) / (variance + f64::from(shape.epsilon)).sqrt()
                    * f64::from(weight[channel])
                    + f64::from(bias[channel]);
                y.push(if shape.silu { z / (1.0 + (-z).exp()) } else { z });
            }
        }
        y
    }

    fn shapes() -> impl Strategy<Value = GroupNormShape> {
        (1..4usize, 1..4usize, 1..4usize, 1..70usize, any::<bool>()).prop_map(
            |(batch, each, groups, pixels, silu)| GroupNormShape {
                batch,
                channels: each * groups,
                pixels,
                groups,
                epsilon: 1e-5,
                silu,
            },
        )
    }

    proptest! {
        #[test]
        fn every_level_agrees_with_double_precision(shape in shapes(), seed in 1..u64::MAX) {
            let x = values(shape.len(), seed);
            let (weight, bias) = (values(shape.channels, seed ^ 1), values(shape.channels, seed ^ 2));
            let want = reference(&shape, &x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(), &weight, &bias);
            for level in Level::available() {
                let mut y = vec![0.0; shape.len()];
                level.force(|| group_norm(&shape, &x, &weight, &bias, &mut y));
                for (got, want) in y.iter().zip(&want) {
                    // One or two pixels a group leave a variance near zero, which magnifies rounding.
                    prop_assert!((f64::from(*got) - want).abs() < 1e-3 * (1.0 + want.abs()), "{got} {want} {level:?}");
                }
            }
        }

        #[test]
        fn given_moments_stand_in_for_the_groups_own(shape in shapes(), seed in 1..u64::MAX) {
            let x = values(shape.len(), seed);
            let (weight, bias) = (values(shape.channels, seed ^ 1), values(shape.channels, seed ^ 2));
            for level in Level::available() {
                level.force(|| {
                    let count = shape.batch * shape.groups;
                    let (mut mean, mut variance) = (vec![f32::NAN; count], vec![f32::NAN; count]);
                    group_moments(&shape, &x, &mut mean, &mut variance);
                    let (mut own, mut given) = (vec![f32::NAN; shape.len()], vec![f32::NAN; shape.len()]);
                    group_norm(&shape, &x, &weight, &bias, &mut own);
                    group_norm_by(&shape, &x, &mean, &variance, &weight, &bias, &mut given);
                    for (own, given) in own.iter().zip(&given) {
                        assert!((own - given).abs() < 1e-5 * (1.0 + own.abs()), "{own} {given} {level:?}");
                    }
                });
            }
        }

        #[test]
        fn gradients_agree_with_differences(shape in shapes(), seed in 1..u64::MAX) {
            let shape = GroupNormShape { epsilon: 0.1, ..shape };
            let x = values(shape.len(), seed);
            let (weight, bias) = (values(shape.channels, seed ^ 1), values(shape.channels, seed ^ 2));
            let grad = values(shape.len(), seed ^ 3);
            let loss = |x: &[f64], weight: &[f32], bias: &[f32]| -> f64 {
                reference(&shape, x, weight, bias).iter().zip(&grad).map(|(y, g)| y * f64::from(*g)).sum()
            };
            let exact: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
            for level in Level::available() {
                let mut x_grad = vec![0.0; shape.len()];
                let (mut weight_grad, mut bias_grad) = (vec![0.0; shape.channels], vec![0.0; shape.channels]);
                level.force(|| {
                    group_norm_backward(
                        &shape, &x, &weight, &bias, &grad, &mut x_grad, &mut weight_grad, &mut bias_grad,
                    );
                });
                let at = (seed % shape.len() as u64) as usize;
                let moved = |by: f64| { let mut x = exact.clone(); x[at] += by; loss(&x, &weight, &bias) };
                let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                prop_assert!((f64::from(x_grad[at]) - want).abs() < 2e-3 * (1.0 + want.abs()), "{} {want}", x_grad[at]);
                let at = at % shape.channels;
                let moved = |by: f32| { let mut w = weight.clone(); w[at] += by; loss(&exact, &w, &bias) };
                let want = (moved(0.01) - moved(-0.01)) / 0.02;
                prop_assert!((f64::from(weight_grad[at]) - want).abs() < 1e-2 * (1.0 + want.abs()), "{} {want}", weight_grad[at]);
                let moved = |by: f32| { let mut b = bias.clone(); b[at] += by; loss(&exact, &weight, &b) };
                let want = (moved(0.01) - moved(-0.01)) / 0.02;
                prop_assert!((f64::from(bias_grad[at]) - want).abs() < 1e-2 * (1.0 + want.abs()), "{} {want}", bias_grad[at]);
            }
        }
    }
}
