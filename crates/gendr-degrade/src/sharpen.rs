//! Unsharp masking of training targets.

use crate::blur::blur_separable;
use gendr_image::{Error, Planes, Result};
use serde::{Deserialize, Serialize};

/// Settings of [`sharpen`]; the default is Real-ESRGAN's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharpenConfig {
    /// How much of the detail is added.
    pub weight: f32,
    /// Length of the Gaussian, odd.
    pub kernel: usize,
    /// Standard deviation of the Gaussian, pixels.
    pub sigma: f64,
    /// Detail below this many 8-bit levels is left alone.
    pub threshold: f32,
}

impl Default for SharpenConfig {
    fn default() -> Self {
        Self { weight: 0.5, kernel: 51, sigma: 8.0, threshold: 10.0 }
    }
}

/// Adds `weight` times the detail (picture minus its blur) where that exceeds the threshold; the mask of those places is
/// blurred by the same Gaussian. Values are clipped to `[0, 1]`.
///
/// # Errors
/// An argument error for an even or huge kernel or a sigma that is not positive.
pub fn sharpen(picture: &Planes, config: &SharpenConfig) -> Result<Planes> {
    let taps = gaussian_taps(config.kernel, config.sigma)?;
    let blurred = blur_separable(picture, &taps);
    let mut mask = picture.clone();
    for (value, low) in mask.data_mut().iter_mut().zip(blurred.data()) {
        *value = if (*value - low).abs() * 255.0 > config.threshold { 1.0 } else { 0.0 };
    }
    let mask = blur_separable(&mask, &taps);
    let mut out = picture.clone();
    for ((value, low), mask) in out.data_mut().iter_mut().zip(blurred.data()).zip(mask.data()) {
        let sharp = (*value + config.weight * (*value - low)).clamp(0.0, 1.0);
        *value = mask * sharp + (1.0 - mask) * *value;
    }
    Ok(out)
}

fn gaussian_taps(length: usize, sigma: f64) -> Result<Vec<f32>> {
    if length.is_multiple_of(2) || length > 1023 || !(sigma.is_finite() && sigma > 0.0) {
        return Err(Error::argument(format!("no Gaussian of length {length} and sigma {sigma}")));
    }
    let radius = (length / 2) as f64;
    let taps: Vec<f64> =
        (0..length).map(|i| (-(i as f64 - radius).powi(2) / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f64 = taps.iter().sum();
    Ok(taps.into_iter().map(|tap| (tap / sum) as f32).collect())
}
