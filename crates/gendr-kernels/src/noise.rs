//! Numbers for tests.

/// Reproducible floats between -1 and 1.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(step).take(len).collect()
}

/// The root mean square of a sum of so many products of two values of [`noise`], each of variance one third.
pub(crate) fn typical_sum(terms: f64) -> f64 {
    terms.sqrt() / 3.0
}

pub(crate) fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt()
}

/// The root mean square and the greatest error of `got`, in units of the root mean square of `want`, or of `typical` where that
/// is greater: few sums that happen to cancel must not be held against what is left of them.
pub(crate) fn errors(got: &[f32], want: &[f64], typical: f64) -> (f64, f64) {
    assert_eq!(got.len(), want.len());
    let scale = root_mean_square(want).max(typical).max(1e-9);
    let differences: Vec<f64> = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs()).collect();
    let rms = root_mean_square(&differences);
    // A NaN must not pass for a small error.
    assert!(rms.is_finite(), "not a number");
    (rms / scale, differences.iter().copied().fold(0.0, f64::max) / scale)
}

/// The error function, by its Taylor series in the middle and 1 or -1 where f64 does not see a difference that matters.
pub(crate) fn erf(x: f64) -> f64 {
    if x.abs() > 4.5 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}
