//! The masked Fourier loss of GenDR-Pix: against patterns that repeat with the pixel shuffle.

use burn::tensor::{Device, Tensor, TensorData};
use std::f64::consts::TAU;

/// Keeps the root of the magnitude differentiable at zero.
const LEAST_POWER: f64 = 1e-12;

/// Mean absolute difference of the Fourier magnitudes of two pictures, at the frequencies of a pattern of period `patch` and
/// `radius` bins around each; those around zero are left out. (The paper does not give its mask; a pattern that repeats with the shuffle
/// has energy at just these frequencies.)
#[derive(Clone, Debug)]
pub struct MaskedFourier {
    /// Cosines and sines of the frequencies, `[frequencies, size]`.
    rows: [Tensor<2>; 2],
    columns: [Tensor<2>; 2],
    /// 1 where a bin counts, `[frequencies, frequencies]`.
    mask: Tensor<2>,
    bins: f64,
}

impl MaskedFourier {
    /// For pictures of `height` x `width`, multiples of `patch`.
    pub fn new([height, width]: [usize; 2], patch: usize, radius: usize, device: &Device) -> Self {
        let side = 2 * radius + 1;
        let waves = |size: usize| {
            let wave = |function: fn(f64) -> f64| {
                let values = (0..patch * side).flat_map(|k| {
                    let bin = (k / side * size / patch + size + k % side - radius) % size;
                    let angle = move |x: usize| TAU * (bin * x % size) as f64 / size as f64;
                    (0..size).map(move |x| (function(angle(x)) / (size as f64).sqrt()) as f32)
                });
                let values = TensorData::new(values.collect::<Vec<_>>(), [patch * side, size]);
                Tensor::from_data(values, device)
            };
            [wave(f64::cos), wave(f64::sin)]
        };
        let count = patch * side;
        let near_zero = |k: usize| k / side == 0;
        let kept = |i: usize| f32::from(u8::from(!(near_zero(i / count) && near_zero(i % count))));
        let mask = TensorData::new((0..count * count).map(kept).collect::<Vec<_>>(), [count, count]);
        Self {
            rows: waves(height),
            columns: waves(width),
            mask: Tensor::from_data(mask, device),
            bins: (count * count - side * side) as f64,
        }
    }

    /// The loss of pictures `[n, c, height, width]`, mean over samples, channels and bins (transform of length 1: orthonormal).
    pub fn loss(&self, picture: Tensor<4>, target: Tensor<4>) -> Tensor<1> {
        let [n, c, ..] = picture.dims();
        let difference = (self.magnitude(picture) - self.magnitude(target)).abs();
        (difference * self.mask.clone().unsqueeze::<3>()).sum() * (1.0 / (self.bins * (n * c) as f64))
    }

    fn magnitude(&self, picture: Tensor<4>) -> Tensor<3> {
        let [n, c, h, w] = picture.dims();
        let x = picture.reshape([n * c, h, w]);
        let across = |wave: &Tensor<2>| {
            let count = wave.dims()[0];
            let wave = wave.clone().unsqueeze::<3>().expand([n * c, count, h]);
            wave.matmul(x.clone())
        };
        let along = |x: Tensor<3>, wave: &Tensor<2>| {
            let count = wave.dims()[0];
            x.matmul(wave.clone().transpose().unsqueeze::<3>().expand([n * c, w, count]))
        };
        let [cosines, sines] = [across(&self.rows[0]), across(&self.rows[1])];
        let real = along(cosines.clone(), &self.columns[0]) - along(sines.clone(), &self.columns[1]);
        let imaginary = along(cosines, &self.columns[1]) + along(sines, &self.columns[0]);
        (real.powi_scalar(2) + imaginary.powi_scalar(2) + LEAST_POWER).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(value: impl Fn(usize, usize) -> f32) -> Tensor<4> {
        let values: Vec<f32> = (0..32 * 32).map(|i| value(i % 32, i / 32)).collect();
        Tensor::from_data(TensorData::new(values, [1, 1, 32, 32]), &Device::flex())
    }

    #[test]
    fn only_patterns_of_the_shuffle_count() {
        let grid = MaskedFourier::new([32, 32], 8, 0, &Device::flex());
        let flat = picture(|_, _| 0.5);
        let found = |x| grid.loss(x, flat.clone()).into_scalar::<f32>();
        assert!(found(picture(|_, _| 0.9)) < 1e-5, "brightness is no pattern");
        // One dot in each 8x8 square: 16 dots, magnitude 16 / 32 in all 63 bins.
        let dots = found(picture(|x, y| 0.5 + f32::from(u8::from(x % 8 == 3 && y % 8 == 5))));
        assert!((dots - 0.5).abs() < 1e-4, "{dots}");
        // Three waves in 32 pixels lie between the bins of period 8.
        let wave = found(picture(|x, _| 0.5 + (TAU as f32 * 3.0 * x as f32 / 32.0).sin()));
        assert!(wave < 1e-5, "{wave}");
        let wide = MaskedFourier::new([32, 32], 8, 1, &Device::flex());
        let wave = picture(|x, _| 0.5 + (TAU as f32 * 3.0 * x as f32 / 32.0).sin());
        assert!(wide.loss(wave, flat).into_scalar::<f32>() > 1e-2);
    }
}
