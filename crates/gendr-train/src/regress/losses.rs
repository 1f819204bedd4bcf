//! What `regress` minimises. Pictures are `[n, 3, h, w]` in `[0, 1]`.

use super::LossConfig;
use burn::tensor::{Tensor, module::avg_pool2d, ops::AvgPoolOptions};
use gendr_model::ops;

/// Side of the window whose mean is taken away to leave detail, about what a quarter-size copy cannot hold.
const DETAIL_WINDOW: usize = 7;
/// Side of the window in which the amplitude of detail is measured, and the step between windows.
const AMPLITUDE_WINDOW: usize = 13;
const AMPLITUDE_STEP: usize = 4;
/// Side of the window, in patches, over which a phase of the pixel shuffle is averaged.
const GRID_WINDOW: usize = 8;
/// Levels of luma between black and white.
const LUMA_LEVELS: f64 = 219.0;

/// The weighted sum of the terms, for a network that works on `patch` x `patch` pixels at once.
pub(crate) fn loss(config: &LossConfig, patch: usize, output: &Tensor<4>, target: &Tensor<4>) -> Tensor<1> {
    let difference = output.clone() - target.clone();
    let mut sum = difference.clone().abs().mean().mul_scalar(config.pixel);
    if config.gradient > 0.0 {
        sum = sum + gradient(&difference).mul_scalar(config.gradient);
    }
    if config.amplitude > 0.0 {
        let octaves = amplitude(output) - amplitude(target);
        sum = sum + octaves.abs().mean().mul_scalar(config.amplitude);
    }
    if config.grid > 0.0 {
        sum = sum + grid(output.clone() - target.clone(), patch).mul_scalar(config.grid);
    }
    sum
}

/// Mean absolute difference of the local mean of every phase of the `patch` x `patch` grid. Texture averages out, a pattern that
/// repeats with the pixel shuffle does not (the aim of the masked Fourier loss of GenDR-Pix, arXiv 2602.10630, in pixels).
fn grid(difference: Tensor<4>, patch: usize) -> Tensor<1> {
    let phases = ops::pixel_unshuffle(difference, patch);
    avg_pool2d(phases, AvgPoolOptions::new([GRID_WINDOW; 2]).with_stride([GRID_WINDOW / 2; 2])).abs().mean()
}

/// Mean absolute difference of neighbours, along x plus along y: the difference of the gradients of two pictures.
fn gradient(difference: &Tensor<4>) -> Tensor<1> {
    let [_, _, height, width] = difference.dims();
    let along = |axis, length| {
        difference.clone().narrow(axis, 1, length - 1) - difference.clone().narrow(axis, 0, length - 1)
    };
    along(2, height).abs().mean() + along(3, width).abs().mean()
}

/// log2 of the local amplitude of detail in luma, with a floor of one level: E of the score D, on a grid of windows.
fn amplitude(picture: &Tensor<4>) -> Tensor<4> {
    let luma = luma(picture).mul_scalar(LUMA_LEVELS);
    let window = AvgPoolOptions::new([DETAIL_WINDOW; 2]).with_stride([1; 2]);
    let window = window.with_padding([DETAIL_WINDOW / 2; 2]).with_count_include_pad(false);
    let detail = luma.clone() - avg_pool2d(luma, window);
    let window = AvgPoolOptions::new([AMPLITUDE_WINDOW; 2]).with_stride([AMPLITUDE_STEP; 2]);
    let energy = avg_pool2d(detail.clone() * detail, window);
    energy.add_scalar(1.0).log().mul_scalar(0.5 / std::f64::consts::LN_2)
}

/// Luma (BT.601) `[n, 1, h, w]` of red, green and blue `[n, 3, h, w]`.
pub(crate) fn luma(picture: &Tensor<4>) -> Tensor<4> {
    let weighted = |channel, weight: f64| picture.clone().narrow(1, channel, 1).mul_scalar(weight);
    weighted(0, 0.299) + weighted(1, 0.587) + weighted(2, 0.114)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    const ALL: LossConfig = LossConfig { pixel: 1.0, gradient: 1.0, amplitude: 1.0, grid: 1.0 };

    #[test]
    fn equal_pictures_lose_nothing_and_every_term_counts() {
        let x = Tensor::<4>::random([2, 3, 32, 32], Distribution::Uniform(0.0, 1.0), &Device::flex());
        let flat = x.zeros_like().add_scalar(0.5);
        let value =
            |config: &LossConfig, a: &Tensor<4>, b: &Tensor<4>| loss(config, 4, a, b).into_scalar::<f32>();
        assert_eq!(value(&ALL, &x, &x), 0.0);
        let one = value(&LossConfig { pixel: 1.0, ..LossConfig::NONE }, &flat, &x);
        let two = value(&LossConfig { pixel: 1.0, gradient: 1.0, ..LossConfig::NONE }, &flat, &x);
        assert!(0.2 < one && one < 0.3, "uniform noise lies a quarter from its mean: {one}");
        assert!(one < two && two < value(&ALL, &flat, &x));
    }

    #[test]
    fn a_pattern_of_the_patch_is_a_grid_and_a_shorter_one_is_none() {
        let dots = |period: usize| {
            let value =
                |i: usize| f32::from(u8::from(i.is_multiple_of(period) && (i / 64).is_multiple_of(period)));
            let values: Vec<f32> = (0..64 * 64).map(value).collect();
            let plane = Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([1, 1, 64, 64]);
            Tensor::cat(vec![plane; 3], 1)
        };
        let found = |period| grid(dots(period), 4).into_scalar::<f32>();
        assert!((found(4) - 1.0 / 16.0).abs() < 1e-6, "one phase of sixteen is always one: {}", found(4));
        assert!(found(64) < 0.01, "a single dot hardly counts: {}", found(64));
    }

    #[test]
    fn the_amplitude_of_a_checkerboard_is_known() {
        // Levels 0 and 219 in turn: detail of 109.5 around the mean of a window (almost: 25 and 24 of 49 pixels).
        let values = (0..3 * 32 * 32).map(|i| ((i / 32 + i) % 2) as f32).collect::<Vec<_>>();
        let picture = Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([1, 3, 32, 32]);
        let found = amplitude(&picture).max().into_scalar::<f32>();
        assert!((found - 109.5_f32.log2()).abs() < 0.05, "{found}");
    }
}
