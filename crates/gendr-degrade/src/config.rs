//! Ranges and probabilities of a random degradation, and the presets of the field.

use gendr_image::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The largest supported scale.
const MAX_SCALE: usize = 16;

/// A random degradation: stages, one after the other, then a last resize to `1 / scale` with ringing and compression.
///
/// Ranges are `[low, high]`, drawn uniformly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DegradationConfig {
    /// How much smaller the result is, 1 to 16.
    pub scale: usize,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// The last resize and what goes with it.
    pub last: FinalStage,
}

/// Blur, resize, noise, compression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Probability that the stage happens at all.
    pub probability: f64,
    /// Probability of blur.
    pub blur_probability: f64,
    /// The kernels of the blur.
    pub kernel: KernelConfig,
    /// Resizing.
    pub resize: ResizeConfig,
    /// Noise.
    pub noise: NoiseConfig,
    /// Compression, if any.
    pub jpeg: Option<JpegConfig>,
}

/// Distribution of blur kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelConfig {
    /// Smallest and largest side; every odd number between them is as likely.
    pub sizes: [usize; 2],
    /// Probability of a sinc kernel in place of the others; its cut-off is U(pi/3, pi) below side 13, else U(pi/5, pi).
    pub sinc_probability: f64,
    /// Weights of: isotropic, anisotropic, generalised isotropic, generalised anisotropic, plateau isotropic, plateau
    /// anisotropic.
    pub weights: [f64; 6],
    /// Standard deviation, pixels; both axes on their own where anisotropic.
    pub sigma: [f64; 2],
    /// Exponent of generalised kernels; drawn below 1 half of the time, above 1 the other half.
    pub generalized_beta: [f64; 2],
    /// Exponent of plateau kernels; its lower end half of the time.
    pub plateau_beta: [f64; 2],
}

/// Distribution of resizing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizeConfig {
    /// Weights of enlarging, reducing and keeping.
    pub weights: [f64; 3],
    /// Factors: from below 1 (reducing) to above 1 (enlarging).
    pub range: [f64; 2],
    /// Whether factors refer to the final size (original over scale) and not to the current size.
    pub relative_to_final: bool,
}

/// Distribution of noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseConfig {
    /// Probability of any noise.
    pub probability: f64,
    /// Probability of Gaussian noise where there is any; Poisson otherwise.
    pub gaussian_probability: f64,
    /// Standard deviation of Gaussian noise, 8-bit levels.
    pub sigma: [f64; 2],
    /// Strength of Poisson noise; 1 is what the levels of the picture imply.
    pub poisson_scale: [f64; 2],
    /// Probability that all channels share one field.
    pub grey_probability: f64,
}

/// Distribution of compression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JpegConfig {
    /// Probability of compression.
    pub probability: f64,
    /// Quality, real-valued.
    pub quality: [f64; 2],
}

/// The last resize, with or without ringing, and compression before or after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinalStage {
    /// Antialiased bicubic resizing in place of a random filter, without ringing and compression.
    pub antialiased: bool,
    /// Probability of a sinc filter after the resize; its cut-off is U(pi/3, pi).
    pub sinc_probability: f64,
    /// Smallest and largest side of the sinc filter.
    pub sinc_sizes: [usize; 2],
    /// Compression, if any.
    pub jpeg: Option<JpegConfig>,
    /// Probability that compression comes after the resize and the filter and not before them.
    pub jpeg_last_probability: f64,
}

impl DegradationConfig {
    /// Names that [`DegradationConfig::preset`] knows.
    pub const PRESETS: [&str; 6] =
        ["realesrgan", "mild", "invsr-train", "invsr-test", "bicubic", "first-order"];

    /// A preset for the given scale:
    ///
    /// - `realesrgan`: two stages, as Real-ESRGAN x4plus was trained (Wang et al. 2021).
    /// - `mild`: the same with weaker noise, compression and resizing, as SeeSR and PiSA-SR train.
    /// - `invsr-train`: `realesrgan` with a second stage half of the time and smaller second kernels.
    /// - `invsr-test`: one mild stage, the recipe of InvSR's ImageNet-Test.
    /// - `bicubic`: antialiased bicubic alone.
    /// - `first-order`: one stage of blur, resize, noise and compression as from a fair camera.
    ///
    /// # Errors
    /// An argument error for an unknown name or a scale that is not 1 to 16.
    pub fn preset(name: &str, scale: usize) -> Result<Self> {
        let config = match name {
            "realesrgan" => real_esrgan(scale),
            "mild" => mild(scale),
            "invsr-train" => invsr_train(scale),
            "invsr-test" => invsr_test(scale),
            "bicubic" => bicubic(scale),
            "first-order" => first_order(scale),
            _ => {
                return Err(Error::argument(format!("no degradation preset is called {name}"))
                    .with_hint(format!("presets are {}", Self::PRESETS.join(", "))));
            }
        };
        config.check()?;
        Ok(config)
    }

    /// Checks that every range and probability makes sense.
    ///
    /// # Errors
    /// An argument error that names the first value that does not.
    pub fn check(&self) -> Result<()> {
        if !(1..=MAX_SCALE).contains(&self.scale) {
            return Err(Error::argument(format!("the scale must be 1 to {MAX_SCALE}, not {}", self.scale)));
        }
        for stage in &self.stages {
            check_probability("a stage", stage.probability)?;
            check_probability("blur", stage.blur_probability)?;
            stage.kernel.check()?;
            check_weights("resizing", &stage.resize.weights)?;
            check_range("resize", stage.resize.range, [0.01, 8.0])?;
            stage.noise.check()?;
            stage.jpeg.iter().try_for_each(JpegConfig::check)?;
        }
        check_probability("the last sinc filter", self.last.sinc_probability)?;
        check_sizes(self.last.sinc_sizes)?;
        check_probability("compression as the last step", self.last.jpeg_last_probability)?;
        self.last.jpeg.iter().try_for_each(JpegConfig::check)
    }
}

impl KernelConfig {
    fn check(&self) -> Result<()> {
        check_sizes(self.sizes)?;
        check_probability("sinc kernels", self.sinc_probability)?;
        check_weights("kernels", &self.weights)?;
        check_range("sigma", self.sigma, [0.05, 100.0])?;
        check_range("generalized_beta", self.generalized_beta, [0.05, 20.0])?;
        check_range("plateau_beta", self.plateau_beta, [0.05, 20.0])
    }
}

impl NoiseConfig {
    fn check(&self) -> Result<()> {
        check_probability("noise", self.probability)?;
        check_probability("Gaussian noise", self.gaussian_probability)?;
        check_probability("grey noise", self.grey_probability)?;
        check_range("noise sigma", self.sigma, [0.0, 255.0])?;
        check_range("poisson_scale", self.poisson_scale, [0.0, 100.0])
    }
}

impl JpegConfig {
    fn check(&self) -> Result<()> {
        check_probability("compression", self.probability)?;
        check_range("quality", self.quality, [1.0, 99.999])
    }
}

fn check_probability(what: &str, probability: f64) -> Result<()> {
    if (0.0..=1.0).contains(&probability) {
        return Ok(());
    }
    Err(Error::argument(format!("the probability of {what} must be 0 to 1, not {probability}")))
}

fn check_weights(what: &str, weights: &[f64]) -> Result<()> {
    if weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) && weights.iter().sum::<f64>() > 0.0
    {
        return Ok(());
    }
    Err(Error::argument(format!("the weights of {what} must be positive or zero, and not all zero")))
}

fn check_range(what: &str, [low, high]: [f64; 2], [least, most]: [f64; 2]) -> Result<()> {
    if least <= low && low <= high && high <= most {
        return Ok(());
    }
    Err(Error::argument(format!(
        "the range of {what} must lie within {least} to {most}, not {low} to {high}"
    )))
}

fn check_sizes([low, high]: [usize; 2]) -> Result<()> {
    if low % 2 == 1 && high % 2 == 1 && low <= high && high <= 101 {
        return Ok(());
    }
    Err(Error::argument(format!("kernel sides must be odd, rising and at most 101, not {low} to {high}")))
}

/// Cut-offs of sinc kernels for a kernel of the given side.
pub(crate) fn sinc_cutoffs(size: usize) -> [f64; 2] {
    if size < 13 { [PI / 3.0, PI] } else { [PI / 5.0, PI] }
}

/// Cut-offs of the last sinc filter.
pub(crate) const LAST_SINC_CUTOFFS: [f64; 2] = [PI / 3.0, PI];

fn kernels(sizes: [usize; 2], sigma: [f64; 2]) -> KernelConfig {
    KernelConfig {
        sizes,
        sinc_probability: 0.1,
        weights: [0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
        sigma,
        generalized_beta: [0.5, 4.0],
        plateau_beta: [1.0, 2.0],
    }
}

fn noise(sigma: [f64; 2], poisson_scale: [f64; 2]) -> NoiseConfig {
    NoiseConfig { probability: 1.0, gaussian_probability: 0.5, sigma, poisson_scale, grey_probability: 0.4 }
}

fn always(quality: [f64; 2]) -> Option<JpegConfig> {
    Some(JpegConfig { probability: 1.0, quality })
}

fn real_esrgan(scale: usize) -> DegradationConfig {
    let first = Stage {
        probability: 1.0,
        blur_probability: 1.0,
        kernel: kernels([7, 21], [0.2, 3.0]),
        resize: ResizeConfig { weights: [0.2, 0.7, 0.1], range: [0.15, 1.5], relative_to_final: false },
        noise: noise([1.0, 30.0], [0.05, 3.0]),
        jpeg: always([30.0, 95.0]),
    };
    let second = Stage {
        probability: 1.0,
        blur_probability: 0.8,
        kernel: kernels([7, 21], [0.2, 1.5]),
        resize: ResizeConfig { weights: [0.3, 0.4, 0.3], range: [0.3, 1.2], relative_to_final: true },
        noise: noise([1.0, 25.0], [0.05, 2.5]),
        jpeg: None,
    };
    let last = FinalStage {
        antialiased: false,
        sinc_probability: 0.8,
        sinc_sizes: [7, 21],
        jpeg: always([30.0, 95.0]),
        jpeg_last_probability: 0.5,
    };
    DegradationConfig { scale, stages: vec![first, second], last }
}

fn mild(scale: usize) -> DegradationConfig {
    let mut config = real_esrgan(scale);
    if let [first, second] = config.stages.as_mut_slice() {
        first.resize.range = [0.3, 1.5];
        first.noise = noise([1.0, 15.0], [0.05, 2.0]);
        first.jpeg = always([60.0, 95.0]);
        second.blur_probability = 0.5;
        second.resize.range = [0.6, 1.2];
        second.noise = noise([1.0, 12.0], [0.05, 1.0]);
    }
    config.last.jpeg = always([60.0, 99.999]);
    config
}

fn invsr_train(scale: usize) -> DegradationConfig {
    let mut config = real_esrgan(scale);
    if let [_, second] = config.stages.as_mut_slice() {
        second.probability = 0.5;
        second.kernel.sizes = [7, 15];
    }
    config
}

fn invsr_test(scale: usize) -> DegradationConfig {
    let mut config = real_esrgan(scale);
    config.stages.truncate(1);
    for stage in &mut config.stages {
        stage.kernel = kernels([7, 13], [0.2, 0.8]);
        stage.kernel.weights = [0.6, 0.4, 0.0, 0.0, 0.0, 0.0];
        stage.resize.range = [0.5, 1.5];
        stage.noise = noise([1.0, 15.0], [0.05, 0.3]);
        stage.jpeg = always([70.0, 95.0]);
    }
    config.last.sinc_probability = 0.2;
    config.last.jpeg = always([80.0, 99.999]);
    config
}

fn bicubic(scale: usize) -> DegradationConfig {
    let mut config = real_esrgan(scale);
    config.stages.clear();
    config.last.antialiased = true;
    config.last.sinc_probability = 0.0;
    config.last.jpeg = None;
    config
}

fn first_order(scale: usize) -> DegradationConfig {
    let mut config = real_esrgan(scale);
    config.stages.truncate(1);
    for stage in &mut config.stages {
        stage.kernel = kernels([7, 21], [0.2, 3.0]);
        stage.kernel.sinc_probability = 0.05;
        stage.resize.range = [0.3, 1.2];
        stage.noise = NoiseConfig { probability: 0.7, ..noise([0.5, 10.0], [0.05, 1.0]) };
        stage.jpeg = None;
    }
    config.last.sinc_probability = 0.2;
    config.last.jpeg = Some(JpegConfig { probability: 0.7, quality: [60.0, 99.0] });
    config.last.jpeg_last_probability = 1.0;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_sound_and_survives_storage() {
        for name in DegradationConfig::PRESETS {
            let config = DegradationConfig::preset(name, 4).expect("a listed preset");
            let stored = serde_json::to_string(&config).expect("plain data");
            assert_eq!(serde_json::from_str::<DegradationConfig>(&stored).expect("as written"), config);
        }
    }

    #[test]
    fn senseless_values_are_refused() {
        assert!(DegradationConfig::preset("blurry", 4).is_err());
        assert!(DegradationConfig::preset("mild", 0).is_err());
        let mut config = real_esrgan(4);
        config.stages[0].kernel.sigma = [3.0, 0.2];
        assert!(config.check().is_err());
        config = real_esrgan(4);
        config.stages[1].noise.probability = f64::NAN;
        assert!(config.check().is_err());
    }
}
