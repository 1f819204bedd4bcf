//! One picture's degradation as a list of steps with every drawn value.

use crate::{
    BlurKernel, DegradationConfig, Draws, InterpolationMode, JpegTables, Kernel, KernelConfig, KernelShape,
    add_gaussian_noise, add_poisson_noise, blur,
    config::{FinalStage, JpegConfig, LAST_SINC_CUTOFFS, NoiseConfig, ResizeConfig, Stage, sinc_cutoffs},
    interpolate, jpeg, luma,
    noise::round8,
    poisson_levels,
};
use gendr_image::{Error, Planes, Resampling, Result, resize};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// No step makes a picture larger than this, in pixels.
const MAX_PIXELS: usize = 1 << 28;

/// One step of a degradation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Correlation with a kernel.
    Blur(BlurKernel),
    /// Resizing without antialiasing.
    Resize {
        /// Height and width after it.
        size: [usize; 2],
        /// Distance of samples where it is not the ratio of the sizes.
        scale_factor: Option<f64>,
        /// The filter.
        mode: InterpolationMode,
    },
    /// Antialiased bicubic resizing.
    ResizeAntialiased {
        /// Height and width after it.
        size: [usize; 2],
    },
    /// Gaussian noise.
    GaussianNoise {
        /// Standard deviation, 8-bit levels.
        sigma: f32,
        /// One field for all channels.
        grey: bool,
        /// What the field is made from.
        seed: u64,
    },
    /// Poisson noise.
    PoissonNoise {
        /// Strength.
        scale: f32,
        /// One field for all channels.
        grey: bool,
        /// What the field is made from.
        seed: u64,
    },
    /// Compression by the training formula.
    Jpeg {
        /// Real-valued quality.
        quality: f64,
    },
    /// Clipping to `[0, 1]` and rounding to 8 bits.
    Quantise,
}

/// Every drawn value of one picture's degradation, in the order of application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Recipe {
    /// Draws the degradation of sample `index` under `seed` for a picture of the given size (method: Wang et al. 2021,
    /// section 3). The result has the size `[height / scale, width / scale]`, rounded down.
    ///
    /// # Errors
    /// An argument error for a senseless configuration or a picture smaller than the scale.
    pub fn draw(
        config: &DegradationConfig,
        seed: u64,
        index: u64,
        height: usize,
        width: usize,
    ) -> Result<Self> {
        config.check()?;
        let last_size = [height / config.scale, width / config.scale];
        if last_size.contains(&0) {
            return Err(Error::argument(format!(
                "{width}x{height} pixels cannot be made {} times smaller",
                config.scale
            )));
        }
        let mut draws = Draws::new(seed, index);
        let mut steps = Vec::new();
        let mut size = [height, width];
        for stage in &config.stages {
            if draws.chance(stage.probability) {
                steps.extend(draw_stage(stage, &mut size, last_size, &mut draws));
            }
        }
        steps.extend(draw_last(&config.last, last_size, &mut draws));
        steps.push(Step::Quantise);
        Ok(Self { steps })
    }

    /// Carries the recipe out on an RGB picture in `[0, 1]`.
    ///
    /// # Errors
    /// An argument error where a step does not make sense for the picture.
    pub fn apply(&self, picture: &Planes) -> Result<Planes> {
        self.steps.iter().try_fold(picture.clone(), |picture, step| step.apply(picture))
    }
}

impl Step {
    /// Carries the step out.
    ///
    /// # Errors
    /// An argument error where the step does not make sense for the picture.
    pub fn apply(&self, mut picture: Planes) -> Result<Planes> {
        match *self {
            Self::Blur(kernel) => Ok(blur(&picture, &Kernel::new(&kernel)?)),
            Self::Resize { size, scale_factor, mode } => {
                check_pixels(size)?;
                interpolate(&picture, size, scale_factor, mode)
            }
            Self::ResizeAntialiased { size } => {
                check_pixels(size)?;
                resize(&picture, size[1], size[0], Resampling::PILLOW_BICUBIC)
            }
            Self::GaussianNoise { sigma, grey, seed } => {
                let mut draws = Draws::new(seed, 0);
                let mut field = field_for(&picture, grey);
                field.data_mut().iter_mut().for_each(|value| *value = draws.normal());
                add_gaussian_noise(&mut picture, &field, sigma)?;
                Ok(picture)
            }
            Self::PoissonNoise { scale, grey, seed } => {
                let mut draws = Draws::new(seed, 0);
                let mut counts = if grey { luma(&picture) } else { picture.clone() };
                let levels = poisson_levels(&counts);
                counts
                    .data_mut()
                    .iter_mut()
                    .for_each(|value| *value = draws.poisson(round8(*value) * levels));
                add_poisson_noise(&mut picture, &counts, scale)?;
                Ok(picture)
            }
            Self::Jpeg { quality } => jpeg(&picture, &JpegTables::training(quality)?),
            Self::Quantise => {
                picture.map_in_place(round8);
                Ok(picture)
            }
        }
    }
}

/// One stage's steps; `size` is the picture's, before and after.
fn draw_stage(stage: &Stage, size: &mut [usize; 2], last_size: [usize; 2], draws: &mut Draws) -> Vec<Step> {
    let mut steps = Vec::new();
    if draws.chance(stage.blur_probability) {
        steps.push(Step::Blur(draw_kernel(&stage.kernel, draws)));
    }
    let resize = draw_resize(&stage.resize, *size, last_size, draws);
    if let Step::Resize { size: resized, .. } = resize {
        *size = resized;
    }
    steps.push(resize);
    steps.extend(draw_noise(&stage.noise, draws));
    steps.extend(draw_jpeg(stage.jpeg.as_ref(), draws));
    steps
}

fn draw_last(config: &FinalStage, size: [usize; 2], draws: &mut Draws) -> Vec<Step> {
    let mut shrink = vec![if config.antialiased {
        Step::ResizeAntialiased { size }
    } else {
        Step::Resize { size, scale_factor: None, mode: draw_mode(draws) }
    }];
    if draws.chance(config.sinc_probability) {
        let size = draw_size(config.sinc_sizes, draws);
        let shape = KernelShape::Sinc { cutoff: draw_value(LAST_SINC_CUTOFFS, draws) };
        shrink.push(Step::Blur(BlurKernel { shape, size }));
    }
    let compress = draw_jpeg(config.jpeg.as_ref(), draws);
    if draws.chance(config.jpeg_last_probability) {
        shrink.into_iter().chain(compress).collect()
    } else {
        compress.into_iter().chain(shrink).collect()
    }
}

fn field_for(picture: &Planes, grey: bool) -> Planes {
    Planes::filled(if grey { 1 } else { picture.channels() }, picture.height(), picture.width(), 0.0)
}

fn check_pixels(size: [usize; 2]) -> Result<()> {
    if size[0].checked_mul(size[1]).is_some_and(|pixels| pixels <= MAX_PIXELS) {
        return Ok(());
    }
    Err(Error::limit(format!("a degraded picture may not have {}x{} pixels", size[1], size[0])))
}

/// Rounded to nine decimals, which every JSON reader brings back unchanged.
fn draw_value(range: [f64; 2], draws: &mut Draws) -> f64 {
    (draws.uniform(range) * 1e9).round() / 1e9
}

fn draw_size([low, high]: [usize; 2], draws: &mut Draws) -> usize {
    low + 2 * draws.below((high - low) / 2 + 1)
}

fn draw_kernel(config: &KernelConfig, draws: &mut Draws) -> BlurKernel {
    let size = draw_size(config.sizes, draws);
    if draws.chance(config.sinc_probability) {
        return BlurKernel {
            shape: KernelShape::Sinc { cutoff: draw_value(sinc_cutoffs(size), draws) },
            size,
        };
    }
    let kind = draws.pick(&config.weights);
    let mut sigma = [draw_value(config.sigma, draws); 2];
    let mut theta = 0.0;
    if kind % 2 == 1 {
        sigma[1] = draw_value(config.sigma, draws);
        theta = draw_value([-PI, PI], draws);
    }
    let shape = match kind / 2 {
        0 => KernelShape::Gaussian { sigma, theta },
        1 => KernelShape::GeneralizedGaussian { sigma, theta, beta: draw_generalized_beta(config, draws) },
        _ => KernelShape::Plateau { sigma, theta, beta: draw_plateau_beta(config, draws) },
    };
    BlurKernel { shape, size }
}

fn draw_generalized_beta(config: &KernelConfig, draws: &mut Draws) -> f64 {
    let [low, high] = config.generalized_beta;
    if draws.chance(0.5) {
        draw_value([low, high.min(1.0).max(low)], draws)
    } else {
        draw_value([low.max(1.0).min(high), high], draws)
    }
}

fn draw_plateau_beta(config: &KernelConfig, draws: &mut Draws) -> f64 {
    if draws.chance(0.5) { config.plateau_beta[0] } else { draw_value(config.plateau_beta, draws) }
}

fn draw_mode(draws: &mut Draws) -> InterpolationMode {
    match draws.below(3) {
        0 => InterpolationMode::Area,
        1 => InterpolationMode::Bilinear,
        _ => InterpolationMode::Bicubic,
    }
}

fn draw_resize(config: &ResizeConfig, current: [usize; 2], last: [usize; 2], draws: &mut Draws) -> Step {
    let [low, high] = config.range;
    let factor = match draws.pick(&config.weights) {
        0 => draw_value([low.max(1.0), high.max(1.0)], draws),
        1 => draw_value([low.min(1.0), high.min(1.0)], draws),
        _ => 1.0,
    };
    let mode = draw_mode(draws);
    let base = if config.relative_to_final { last } else { current };
    let size = base.map(|side| ((side as f64 * factor) as usize).max(1));
    Step::Resize { size, scale_factor: (!config.relative_to_final).then_some(factor), mode }
}

fn draw_noise(config: &NoiseConfig, draws: &mut Draws) -> Option<Step> {
    if !draws.chance(config.probability) {
        return None;
    }
    let gaussian = draws.chance(config.gaussian_probability);
    let strength = draw_value(if gaussian { config.sigma } else { config.poisson_scale }, draws) as f32;
    let grey = draws.chance(config.grey_probability);
    // 53 bits, so that every JSON reader keeps them.
    let seed = draws.bits() >> 11;
    Some(if gaussian {
        Step::GaussianNoise { sigma: strength, grey, seed }
    } else {
        Step::PoissonNoise { scale: strength, grey, seed }
    })
}

fn draw_jpeg(config: Option<&JpegConfig>, draws: &mut Draws) -> Option<Step> {
    let config = config.filter(|config| draws.chance(config.probability))?;
    Some(Step::Jpeg { quality: draw_value(config.quality, draws) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn picture(height: usize, width: usize) -> Planes {
        let data = (0..3 * height * width).map(|i| ((i * 7919) % 256) as f32 / 255.0).collect();
        Planes::from_vec(3, height, width, data).expect("sizes fit")
    }

    fn recipes(preset: &str, count: u64) -> Vec<Recipe> {
        let config = DegradationConfig::preset(preset, 4).expect("a preset");
        (0..count).map(|index| Recipe::draw(&config, 5, index, 400, 400).expect("large enough")).collect()
    }

    fn share(recipes: &[Recipe], holds: impl Fn(&Recipe) -> bool) -> f64 {
        recipes.iter().filter(|recipe| holds(recipe)).count() as f64 / recipes.len() as f64
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_preset_gives_the_asked_size_in_eight_bits(
            preset in prop::sample::select(DegradationConfig::PRESETS.to_vec()),
            seed in any::<u64>(), height in 4_usize..60, width in 4_usize..60, scale in 1_usize..5,
        ) {
            let config = DegradationConfig::preset(preset, scale).expect("a preset");
            let recipe = Recipe::draw(&config, seed, 0, height, width).expect("large enough");
            let out = recipe.apply(&picture(height, width)).expect("sound steps");
            prop_assert_eq!((out.height(), out.width()), (height / scale, width / scale));
            prop_assert!(out.data().iter().all(|value| (0.0..=1.0).contains(value) && (value * 255.0).fract().min(1.0 - (value * 255.0).fract()) < 1e-3));
        }
    }

    #[test]
    fn a_stored_recipe_gives_the_same_picture() {
        let source = picture(48, 40);
        for preset in DegradationConfig::PRESETS {
            let config = DegradationConfig::preset(preset, 4).expect("a preset");
            let recipe = Recipe::draw(&config, 1, 2, 48, 40).expect("large enough");
            let stored = serde_json::to_string(&recipe).expect("plain data");
            let read: Recipe = serde_json::from_str(&stored).expect("as written");
            assert_eq!(read, recipe);
            assert_eq!(read.apply(&source).expect("sound"), recipe.apply(&source).expect("sound"));
        }
    }

    #[test]
    fn realesrgan_draws_follow_their_distributions() {
        let recipes = recipes("realesrgan", 4000);
        let near = |got: f64, want: f64| assert!((got - want).abs() < 0.03, "{got} for {want}");
        let blurs =
            |recipe: &Recipe| recipe.steps.iter().filter(|step| matches!(step, Step::Blur(_))).count();
        near(share(&recipes, |recipe| blurs(recipe) == 3), 0.8 * 0.8);
        near(share(&recipes, |recipe| blurs(recipe) == 1), 0.2 * 0.2);
        near(
            share(&recipes, |recipe| matches!(recipe.steps.iter().rev().nth(1), Some(Step::Jpeg { .. }))),
            0.5,
        );
        let first_kernel = |recipe: &Recipe| match recipe.steps[0] {
            Step::Blur(kernel) => kernel,
            other => panic!("the first step is {other:?}"),
        };
        near(share(&recipes, |recipe| matches!(first_kernel(recipe).shape, KernelShape::Sinc { .. })), 0.1);
        near(
            share(&recipes, |recipe| matches!(first_kernel(recipe).shape, KernelShape::Plateau { .. })),
            0.9 * 0.15,
        );
        near(
            share(
                &recipes,
                |recipe| matches!(first_kernel(recipe).shape, KernelShape::Gaussian { sigma: [x, y], .. } if x == y),
            ),
            0.9 * 0.45,
        );
        for size in (7..=21).step_by(2) {
            near(share(&recipes, |recipe| first_kernel(recipe).size == size), 0.125);
        }
        let first_size = |recipe: &Recipe| match recipe.steps[1] {
            Step::Resize { size, .. } => size[0],
            other => panic!("the second step is {other:?}"),
        };
        near(share(&recipes, |recipe| first_size(recipe) > 400), 0.2);
        near(share(&recipes, |recipe| first_size(recipe) < 230), 0.7 * (230.0 / 400.0 - 0.15) / 0.85);
        let noise = |recipe: &Recipe| {
            recipe
                .steps
                .iter()
                .copied()
                .find(|step| matches!(step, Step::GaussianNoise { .. } | Step::PoissonNoise { .. }))
        };
        near(share(&recipes, |recipe| matches!(noise(recipe), Some(Step::GaussianNoise { .. }))), 0.5);
        near(
            share(&recipes, |recipe| {
                matches!(
                    noise(recipe),
                    Some(Step::GaussianNoise { grey: true, .. } | Step::PoissonNoise { grey: true, .. })
                )
            }),
            0.4,
        );
        near(
            share(
                &recipes,
                |recipe| matches!(noise(recipe), Some(Step::GaussianNoise { sigma, .. }) if sigma < 15.5),
            ),
            0.25,
        );
        for recipe in &recipes {
            for step in &recipe.steps {
                match *step {
                    Step::Jpeg { quality } => assert!((30.0..95.0).contains(&quality)),
                    Step::PoissonNoise { scale, .. } => assert!((0.05..3.0).contains(&scale)),
                    Step::GaussianNoise { sigma, .. } => assert!((1.0..30.0).contains(&sigma)),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn variants_keep_to_their_ranges() {
        let jpegs =
            |recipe: &Recipe| recipe.steps.iter().filter(|step| matches!(step, Step::Jpeg { .. })).count();
        let noises = |recipe: &Recipe| {
            recipe
                .steps
                .iter()
                .filter(|step| matches!(step, Step::GaussianNoise { .. } | Step::PoissonNoise { .. }))
                .count()
        };
        assert!((share(&recipes("invsr-train", 2000), |recipe| noises(recipe) == 2) - 0.5).abs() < 0.04);
        assert!(recipes("invsr-test", 200).iter().all(|recipe| jpegs(recipe) == 2 && noises(recipe) == 1));
        let bicubic = recipes("bicubic", 1).remove(0).steps;
        assert_eq!(bicubic, [Step::ResizeAntialiased { size: [100, 100] }, Step::Quantise]);
    }

    #[test]
    fn senseless_steps_are_errors() {
        let picture = picture(8, 8);
        for step in [
            Step::Resize { size: [0, 8], scale_factor: None, mode: InterpolationMode::Area },
            Step::Resize { size: [1 << 40, 1 << 40], scale_factor: None, mode: InterpolationMode::Area },
            Step::Jpeg { quality: -1.0 },
            Step::Blur(BlurKernel { shape: KernelShape::Sinc { cutoff: f64::NAN }, size: 7 }),
        ] {
            assert!(step.apply(picture.clone()).is_err(), "{step:?}");
        }
    }
}
