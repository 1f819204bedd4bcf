//! Blur kernels: the Gaussian family and the circular low-pass (sinc) filter.

use gendr_image::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The largest kernel side that is accepted.
const MAX_SIZE: usize = 255;

/// The form of a blur kernel. Lengths are in pixels, angles in radians.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KernelShape {
    /// `exp(-q / 2)` with `q = g^T S^-1 g` for the offset `g` and covariance `S`.
    Gaussian {
        /// Standard deviations along the two axes, x first, before the rotation.
        sigma: [f64; 2],
        /// Rotation of the axes.
        theta: f64,
    },
    /// `exp(-q^beta / 2)`.
    GeneralizedGaussian {
        /// As for `Gaussian`.
        sigma: [f64; 2],
        /// As for `Gaussian`.
        theta: f64,
        /// Exponent: below 1 peaked, above 1 flat-topped.
        beta: f64,
    },
    /// `1 / (1 + q^beta)`.
    Plateau {
        /// As for `Gaussian`.
        sigma: [f64; 2],
        /// As for `Gaussian`.
        theta: f64,
        /// Exponent.
        beta: f64,
    },
    /// Ideal circular low-pass filter: rings as over-sharpened and compressed pictures do.
    Sinc {
        /// Cut-off in radians a pixel, at most pi.
        cutoff: f64,
    },
}

/// A kernel as drawn: its form and its side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlurKernel {
    /// The form.
    #[serde(flatten)]
    pub shape: KernelShape,
    /// Side in pixels, odd.
    pub size: usize,
}

/// Weights of a square filter, `[size, size]`, rows are y. Their sum is 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    size: usize,
    weights: Vec<f32>,
}

impl Kernel {
    /// Wraps ready weights, `[size, size]`.
    ///
    /// # Errors
    /// An argument error for an even or huge side, or a length that is not its square.
    pub fn from_weights(size: usize, weights: Vec<f32>) -> Result<Self> {
        check_size(size)?;
        if weights.len() != size * size {
            return Err(Error::argument(format!(
                "{} weights do not fill a {size}x{size} kernel",
                weights.len()
            )));
        }
        Ok(Self { size, weights })
    }

    /// The kernel of the given form and side (Real-ESRGAN section 3.1; Wang et al. 2021).
    ///
    /// # Errors
    /// An argument error for an even or huge side, or for parameters that are not finite and positive.
    pub fn new(kernel: &BlurKernel) -> Result<Self> {
        check_size(kernel.size)?;
        let weight: Box<dyn Fn(f64, f64) -> f64> = match kernel.shape {
            KernelShape::Gaussian { sigma, theta } => {
                let q = quadratic_form(sigma, theta)?;
                Box::new(move |x, y| (-q(x, y) / 2.0).exp())
            }
            KernelShape::GeneralizedGaussian { sigma, theta, beta } => {
                let q = quadratic_form(sigma, theta)?;
                let beta = positive(beta, "beta")?;
                Box::new(move |x, y| (-q(x, y).powf(beta) / 2.0).exp())
            }
            KernelShape::Plateau { sigma, theta, beta } => {
                let q = quadratic_form(sigma, theta)?;
                let beta = positive(beta, "beta")?;
                Box::new(move |x, y| 1.0 / (1.0 + q(x, y).powf(beta)))
            }
            KernelShape::Sinc { cutoff } => {
                let cutoff = positive(cutoff, "the cut-off")?;
                Box::new(move |x, y| circular_low_pass(cutoff, x.hypot(y)))
            }
        };
        let centre = (kernel.size / 2) as f64;
        let offsets = || (0..kernel.size).map(|i| i as f64 - centre);
        let mut weights: Vec<f64> =
            offsets().flat_map(|y| offsets().map(move |x| (x, y))).map(|(x, y)| weight(x, y)).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Ok(Self { size: kernel.size, weights: weights.into_iter().map(|weight| weight as f32).collect() })
    }

    /// Side in pixels, odd.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The weights, row by row.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The same filter in a larger square with zeros round it.
    ///
    /// # Errors
    /// An argument error where `size` is even or smaller than the kernel.
    pub fn padded_to(&self, size: usize) -> Result<Self> {
        check_size(size)?;
        let margin = size.checked_sub(self.size).ok_or_else(|| {
            Error::argument(format!("a kernel of side {} does not fit into {size}", self.size))
        })? / 2;
        let mut weights = vec![0.0; size * size];
        for (y, row) in self.weights.chunks_exact(self.size).enumerate() {
            let start = (y + margin) * size + margin;
            weights[start..start + self.size].copy_from_slice(row);
        }
        Ok(Self { size, weights })
    }

    /// The same filter without its border of zeros, which only costs time.
    pub(crate) fn trimmed(&self) -> Self {
        let radius = self.size / 2;
        let reach = self
            .weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight != 0.0)
            .map(|(i, _)| (i / self.size).abs_diff(radius).max((i % self.size).abs_diff(radius)));
        let reach = reach.max().unwrap_or(0);
        let (margin, size) = (radius - reach, 2 * reach + 1);
        let rows = self.weights.chunks_exact(self.size).skip(margin).take(size);
        Self { size, weights: rows.flat_map(|row| row[margin..margin + size].iter().copied()).collect() }
    }
}

fn check_size(size: usize) -> Result<()> {
    if size.is_multiple_of(2) || size > MAX_SIZE {
        return Err(Error::argument(format!(
            "a kernel's side must be odd and at most {MAX_SIZE}, not {size}"
        )));
    }
    Ok(())
}

fn positive(value: f64, what: &str) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(Error::argument(format!("{what} of a kernel must be positive, not {value}")))
    }
}

/// `q(x, y) = g^T S^-1 g` with `S = R diag(sigma_x^2, sigma_y^2) R^T`.
fn quadratic_form(sigma: [f64; 2], theta: f64) -> Result<impl Fn(f64, f64) -> f64> {
    let [sigma_x, sigma_y] = [positive(sigma[0], "sigma")?, positive(sigma[1], "sigma")?];
    let (sin, cos) = if theta.is_finite() { theta.sin_cos() } else { (0.0, 1.0) };
    Ok(move |x: f64, y: f64| {
        let along = (cos * x + sin * y) / sigma_x;
        let across = (cos * y - sin * x) / sigma_y;
        along * along + across * across
    })
}

/// `cutoff J1(cutoff r) / (2 pi r)`, and its limit at the centre.
fn circular_low_pass(cutoff: f64, r: f64) -> f64 {
    if r == 0.0 { cutoff * cutoff / (4.0 * PI) } else { cutoff * libm::j1(cutoff * r) / (2.0 * PI * r) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_trimming_undo_each_other() {
        let drawn = BlurKernel { shape: KernelShape::Gaussian { sigma: [1.5, 0.7], theta: 0.3 }, size: 7 };
        let kernel = Kernel::new(&drawn).expect("valid");
        assert_eq!(kernel.padded_to(21).expect("larger").trimmed(), kernel);
    }

    #[test]
    fn senseless_parameters_are_refused() {
        for (sigma, size) in [([0.0, 1.0], 7), ([f64::NAN, 1.0], 7), ([1.0, 1.0], 8), ([1.0, 1.0], 10_001)] {
            let drawn = BlurKernel { shape: KernelShape::Gaussian { sigma, theta: 0.0 }, size };
            assert!(Kernel::new(&drawn).is_err(), "{drawn:?}");
        }
    }
}
