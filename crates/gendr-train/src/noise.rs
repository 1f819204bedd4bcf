//! Random numbers of a step: the seed, what they are for and the step fix them.

use burn::tensor::{Device, Tensor, TensorData};
use gendr_degrade::Draws;

/// What draws are for; each has a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Noise of the posterior of an autoencoder.
    Posterior = 0x706f_7374,
    /// Noise and timesteps of diffusion.
    Diffusion = 0x6469_6666,
    /// The same for what score networks learn while a generator is distilled.
    Learning = 0x6c65_6172,
    /// Which samples are shown what.
    Choice = 0x6368_6f69,
}

/// The draws of a step.
pub(crate) fn draws(seed: u64, stream: Stream, step: u64) -> Draws {
    Draws::new(seed ^ stream as u64, step)
}

/// Standard normal values.
pub(crate) fn normal(draws: &mut Draws, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| draws.normal()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A timestep below `range[1]`, at least `range[0]`, and noise for each of `n` samples; what a sample gets does not depend on how
/// samples are grouped.
pub(crate) fn diffusion(
    draws: &mut Draws,
    range: [usize; 2],
    shape: [usize; 4],
    device: &Device,
) -> (Vec<usize>, Tensor<4>) {
    let [n, c, h, w] = shape;
    let (mut timesteps, mut values) = (Vec::with_capacity(n), Vec::with_capacity(n * c * h * w));
    for _ in 0..n {
        timesteps.push(range[0] + draws.below(range[1] - range[0]));
        values.extend((0..c * h * w).map(|_| draws.normal()));
    }
    (timesteps, Tensor::from_data(TensorData::new(values, shape), device))
}
