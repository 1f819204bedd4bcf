//! Fit of an asymmetric generalised Gaussian by its moments (Lasmar, Stitou and Berthoumieu 2009), as NIQE does it.

/// The shapes that are tried: from 0.2 in steps of 0.001 to 10.
const SHAPES: usize = 9801;

/// Values summed side by side, so that additions need not wait for each other.
const LANES: usize = 4;

/// Sums over the values of a block.
#[derive(Default)]
pub(super) struct Moments {
    count: usize,
    magnitude: [f64; LANES],
    left_squares: [f64; LANES],
    right_squares: [f64; LANES],
    left_count: [f64; LANES],
    right_count: [f64; LANES],
}

impl Moments {
    pub(super) fn add(&mut self, values: &[f64]) {
        self.count += values.len();
        let (groups, rest) = values.as_chunks::<LANES>();
        for group in groups {
            self.add_group(group);
        }
        let mut last = [0.0; LANES]; // zeros change no sum
        last[..rest.len()].copy_from_slice(rest);
        self.add_group(&last);
    }

    fn add_group(&mut self, group: &[f64; LANES]) {
        for (lane, &value) in group.iter().enumerate() {
            let (left, right) = (value.min(0.0), value.max(0.0));
            self.magnitude[lane] += right - left;
            self.left_squares[lane] += left * left;
            self.right_squares[lane] += right * right;
            self.left_count[lane] += f64::from(u8::from(value < 0.0));
            self.right_count[lane] += f64::from(u8::from(value > 0.0));
        }
    }
}

/// A fitted distribution; values are NaN where one side holds no value.
pub(super) struct Fit {
    pub(super) shape: f64,
    /// Scale of the negative side.
    pub(super) left: f64,
    /// Scale of the positive side.
    pub(super) right: f64,
}

impl Fit {
    pub(super) fn new(moments: &Moments) -> Self {
        let sum = |lanes: &[f64; LANES]| lanes.iter().sum::<f64>();
        let (left_squares, right_squares) = (sum(&moments.left_squares), sum(&moments.right_squares));
        let left = (left_squares / sum(&moments.left_count)).sqrt();
        let right = (right_squares / sum(&moments.right_count)).sqrt();
        let balance = left / right;
        let mean = sum(&moments.magnitude) / moments.count as f64;
        let ratio = mean * mean / ((left_squares + right_squares) / moments.count as f64)
            * (balance.powi(3) + 1.0)
            * (balance + 1.0)
            / (balance * balance + 1.0).powi(2);
        let shape = shape_of(ratio);
        let scale = ((libm::lgamma(1.0 / shape) - libm::lgamma(3.0 / shape)) / 2.0).exp();
        Self { shape, left: left * scale, right: right * scale }
    }

    /// The mean of the distribution.
    pub(super) fn mean(&self) -> f64 {
        (self.right - self.left) * (libm::lgamma(2.0 / self.shape) - libm::lgamma(1.0 / self.shape)).exp()
    }
}

/// The tried shape whose ratio is nearest; the smallest where `ratio` is NaN, as the published code's search ends there.
fn shape_of(ratio: f64) -> f64 {
    let shape = |index: usize| 0.2 + index as f64 * 0.001;
    if ratio.is_nan() {
        return shape(0);
    }
    // The ratio grows with the shape: halve the interval of the shapes below it.
    let (mut below, mut above) = (0, SHAPES - 1);
    while above - below > 1 {
        let middle = usize::midpoint(below, above);
        if ratio_of(shape(middle)) < ratio { below = middle } else { above = middle }
    }
    let distance = |index| (ratio_of(shape(index)) - ratio).abs();
    shape(if distance(below) <= distance(above) { below } else { above })
}

/// `E(|x|)^2 / E(x^2)` of a symmetric generalised Gaussian.
fn ratio_of(shape: f64) -> f64 {
    (2.0 * libm::lgamma(2.0 / shape) - libm::lgamma(1.0 / shape) - libm::lgamma(3.0 / shape)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_found_again() {
        for shape in [0.2, 0.201, 1.0, 2.0, 4.567, 9.999, 10.0] {
            assert!((shape_of(ratio_of(shape)) - shape).abs() < 1e-9, "{shape}");
        }
        assert_eq!((shape_of(0.0), shape_of(f64::NAN)), (0.2, 0.2));
        assert!((shape_of(1.0) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn known_distributions_have_their_ratio() {
        assert!((ratio_of(2.0) - std::f64::consts::FRAC_2_PI).abs() < 1e-12);
        assert!((ratio_of(1.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn one_sided_values_have_no_fit() {
        let mut moments = Moments::default();
        moments.add(&[1.0, 2.0, 3.0, 0.0, 5.0]);
        let fit = Fit::new(&moments);
        assert!(fit.left.is_nan() && fit.mean().is_nan() && fit.right.is_finite());
    }
}
