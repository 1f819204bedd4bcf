//! The diffusion path from latents to noise, and what a noise prediction says about the clean latent.

use burn::tensor::{Tensor, TensorData};

/// The noise schedule of Stable Diffusion: betas linear in the square root from 0.00085 to 0.012 over 1000 timesteps.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    alphas_cumprod: Vec<f64>,
}

/// sqrt(alpha_bar) and sqrt(1 - alpha_bar) of the timesteps of a batch, each `[n, 1, 1, 1]`.
#[derive(Clone, Debug)]
pub struct NoiseLevels {
    /// Factor of the latent.
    pub signal: Tensor<4>,
    /// Factor of the noise.
    pub noise: Tensor<4>,
}

impl NoiseSchedule {
    /// The schedule of Stable Diffusion 1 and 2.
    pub fn stable_diffusion() -> Self {
        const STEPS: usize = 1000;
        let [first, last] = [0.000_85_f64.sqrt(), 0.012_f64.sqrt()];
        let mut product = 1.0;
        let alphas_cumprod = (0..STEPS).map(|step| {
            let beta = (first + (last - first) * step as f64 / (STEPS - 1) as f64).powi(2);
            product *= 1.0 - beta;
            product
        });
        Self { alphas_cumprod: alphas_cumprod.collect() }
    }

    /// alpha_bar of every timestep.
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// The levels of timesteps (counted from 0, at most the last one is used), in the type and on the device of `like`.
    pub fn levels(&self, timesteps: &[usize], like: &Tensor<4>) -> NoiseLevels {
        let last = self.alphas_cumprod.len() - 1;
        let column = |value: &dyn Fn(f64) -> f64| {
            let values: Vec<f64> =
                timesteps.iter().map(|&t| value(self.alphas_cumprod[t.min(last)])).collect();
            let data = TensorData::new(values, [timesteps.len(), 1, 1, 1]).convert_dtype(like.dtype());
            Tensor::from_data(data, (&like.device(), like.dtype()))
        };
        NoiseLevels { signal: column(&f64::sqrt), noise: column(&|alpha| (1.0 - alpha).sqrt()) }
    }
}

impl NoiseLevels {
    /// z_t = sqrt(alpha_bar) z + sqrt(1 - alpha_bar) noise.
    pub fn add_noise(&self, latent: Tensor<4>, noise: Tensor<4>) -> Tensor<4> {
        latent * self.signal.clone() + noise * self.noise.clone()
    }

    /// The clean latent (z_t - sqrt(1 - alpha_bar) eps) / sqrt(alpha_bar) that a noise prediction means.
    pub fn clean(&self, noisy: Tensor<4>, prediction: Tensor<4>) -> Tensor<4> {
        (noisy - prediction * self.noise.clone()) / self.signal.clone()
    }
}

/// Classifier-free guidance: negative + scale (positive - negative).
pub fn guide(negative: Tensor<4>, positive: Tensor<4>, scale: f64) -> Tensor<4> {
    negative.clone() + (positive - negative) * scale
}

/// What a score network is trained with: the mean squared error of its noise prediction.
pub fn denoising_loss(prediction: Tensor<4>, noise: Tensor<4>) -> Tensor<1> {
    (prediction - noise).powi_scalar(2).mean()
}
