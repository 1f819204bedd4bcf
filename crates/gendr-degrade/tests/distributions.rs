//! What the preset `realesrgan` draws against the distributions that Real-ESRGAN states, value by value.

use gendr_degrade::{DegradationConfig, InterpolationMode, KernelShape, Recipe, Step};
use std::{collections::BTreeMap, f64::consts::PI};

const COUNT: u64 = 6000;
const SIDE: usize = 400;

/// The drawn values of many recipes, by what they are.
#[derive(Default)]
struct Drawn {
    values: BTreeMap<&'static str, Vec<f64>>,
    counts: BTreeMap<&'static str, BTreeMap<String, usize>>,
}

impl Drawn {
    fn value(&mut self, name: &'static str, value: f64) {
        self.values.entry(name).or_default().push(value);
    }

    fn count(&mut self, name: &'static str, what: impl Into<String>) {
        *self.counts.entry(name).or_default().entry(what.into()).or_default() += 1;
    }

    /// Kolmogorov and Smirnov's test: by chance a right distribution fails once in ten thousand.
    fn assert_follows(&self, name: &str, distribution: impl Fn(f64) -> f64) {
        let mut values = self.values[name].clone();
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        assert!(n > 100.0, "{name}: {n} values");
        let worst = values.iter().enumerate().fold(0.0f64, |worst, (i, &value)| {
            let expected = distribution(value);
            worst.max((expected - i as f64 / n).abs()).max(((i + 1) as f64 / n - expected).abs())
        });
        assert!(worst * n.sqrt() < 2.23, "{name}: {worst} over {n} values");
    }

    fn assert_uniform(&self, name: &str, [low, high]: [f64; 2]) {
        self.assert_follows(name, |value| ((value - low) / (high - low)).clamp(0.0, 1.0));
    }

    /// Every count within four deviations of a binomial.
    fn assert_shares(&self, name: &str, shares: &[(&str, f64)]) {
        let counts = &self.counts[name];
        let n: usize = counts.values().sum();
        assert!(
            counts.keys().all(|found| shares.iter().any(|(known, _)| known == found)),
            "{name}: {counts:?}"
        );
        for (what, share) in shares {
            let found = counts.get(*what).copied().unwrap_or(0) as f64;
            let deviation = (n as f64 * share * (1.0 - share)).sqrt();
            assert!((found - n as f64 * share).abs() < 4.0 * deviation, "{name}, {what}: {found} of {n}");
        }
    }
}

fn stage_names(second: bool) -> [&'static str; 13] {
    match second {
        false => [
            "size 1",
            "kernel 1",
            "sigma 1",
            "theta 1",
            "generalized beta 1",
            "plateau beta 1",
            "cut-off 1",
            "mode 1",
            "noise 1",
            "grey 1",
            "gaussian 1",
            "poisson 1",
            "quality 1",
        ],
        true => [
            "size 2",
            "kernel 2",
            "sigma 2",
            "theta 2",
            "generalized beta 2",
            "plateau beta 2",
            "cut-off 2",
            "mode 2",
            "noise 2",
            "grey 2",
            "gaussian 2",
            "poisson 2",
            "quality 2",
        ],
    }
}

fn note(drawn: &mut Drawn, step: &Step, second: bool) {
    let [
        size,
        kind,
        sigma,
        theta,
        generalized,
        plateau,
        cutoff,
        mode,
        noise,
        grey,
        gaussian,
        poisson,
        quality,
    ] = stage_names(second);
    let mode_name = |mode: &InterpolationMode| format!("{mode:?}");
    match *step {
        Step::Blur(kernel) => {
            drawn.count(size, kernel.size.to_string());
            let (name, sigmas, angle) = match kernel.shape {
                KernelShape::Sinc { cutoff: value } => {
                    // The range depends on the size; as a share of it the value is uniform.
                    let low = if kernel.size < 13 { PI / 3.0 } else { PI / 5.0 };
                    drawn.value(cutoff, (value - low) / (PI - low));
                    drawn.count(kind, "sinc");
                    return;
                }
                KernelShape::Gaussian { sigma, theta } => ("gaussian", sigma, theta),
                KernelShape::GeneralizedGaussian { sigma, theta, beta } => {
                    drawn.value(generalized, beta);
                    ("generalized", sigma, theta)
                }
                KernelShape::Plateau { sigma, theta, beta } => {
                    drawn.count(plateau, (beta == 1.0).to_string());
                    if beta != 1.0 {
                        drawn.value(plateau, beta);
                    }
                    ("plateau", sigma, theta)
                }
            };
            let isotropic = sigmas[0] == sigmas[1];
            drawn.count(kind, format!("{name} {}", if isotropic { "round" } else { "long" }));
            drawn.value(sigma, sigmas[0]);
            if !isotropic {
                drawn.value(sigma, sigmas[1]);
                drawn.value(theta, angle);
            }
        }
        Step::Resize { mode: how, .. } => drawn.count(mode, mode_name(&how)),
        Step::GaussianNoise { sigma, grey: one, .. } => {
            drawn.count(noise, "gaussian");
            drawn.count(grey, one.to_string());
            drawn.value(gaussian, f64::from(sigma));
        }
        Step::PoissonNoise { scale, grey: one, .. } => {
            drawn.count(noise, "poisson");
            drawn.count(grey, one.to_string());
            drawn.value(poisson, f64::from(scale));
        }
        Step::Jpeg { quality: value } => drawn.value(quality, value),
        ref other => panic!("{other:?} is no step of a stage"),
    }
}

/// Which way a stage resizes; the scale, as a share of its range, where it is drawn.
fn note_scale(drawn: &mut Drawn, names: [&'static str; 3], scale: f64) {
    let [kind, up, down] = names;
    drawn.count(
        kind,
        if scale > 1.0 {
            "up"
        } else if scale < 1.0 {
            "down"
        } else {
            "keep"
        },
    );
    if scale > 1.0 {
        drawn.value(up, scale);
    } else if scale < 1.0 {
        drawn.value(down, scale);
    }
}

fn draw() -> Drawn {
    let config = DegradationConfig::preset("realesrgan", 4).expect("a preset");
    let mut drawn = Drawn::default();
    for index in 0..COUNT {
        let recipe = Recipe::draw(&config, 11, index, SIDE, SIDE).expect("large enough");
        // Blur, resize, noise, JPEG; then perhaps blur, resize, noise: the second JPEG is that of the end.
        let (first, rest) = recipe.steps.split_at(4);
        first.iter().for_each(|step| note(&mut drawn, step, false));
        let Step::Resize { scale_factor: Some(scale), .. } = first[1] else { panic!("{:?}", first[1]) };
        note_scale(&mut drawn, ["resize 1", "up 1", "down 1"], scale);
        let blurred = matches!(rest[0], Step::Blur(_));
        drawn.count("second blur", blurred.to_string());
        let (second, last) = rest.split_at(if blurred { 3 } else { 2 });
        second.iter().for_each(|step| note(&mut drawn, step, true));
        let Step::Resize { size: [height, _], .. } = second[second.len() - 2] else { panic!("{second:?}") };
        // Relative to the final size: whole pixels of a hundred.
        drawn.count(
            "resize 2",
            if height > 100 {
                "up"
            } else if height < 100 {
                "down"
            } else {
                "keep"
            },
        );
        if height < 100 {
            drawn.value("down 2", height as f64 / 100.0 + 0.005);
        }
        for step in last {
            match *step {
                Step::Blur(kernel) => {
                    drawn.count("last size", kernel.size.to_string());
                    let KernelShape::Sinc { cutoff } = kernel.shape else { panic!("{kernel:?}") };
                    drawn.value("last cut-off", cutoff);
                }
                Step::Resize { size, mode, .. } => {
                    assert_eq!(size, [SIDE / 4; 2]);
                    drawn.count("last mode", format!("{mode:?}"));
                }
                Step::Jpeg { quality } => drawn.value("last quality", quality),
                Step::Quantise => (),
                ref other => panic!("{other:?} at the end"),
            }
        }
        let sharpened = last.iter().any(|step| matches!(step, Step::Blur(_)));
        drawn.count("last sinc", sharpened.to_string());
        drawn
            .count("order", if matches!(last[0], Step::Jpeg { .. }) { "JPEG first" } else { "resize first" });
    }
    drawn
}

#[test]
fn every_drawn_value_follows_its_distribution() {
    let drawn = draw();
    let eighths: Vec<(String, f64)> = (7..=21).step_by(2).map(|size| (size.to_string(), 0.125)).collect();
    let eighths: Vec<(&str, f64)> = eighths.iter().map(|(size, share)| (size.as_str(), *share)).collect();
    let kinds = [
        ("sinc", 0.1),
        ("gaussian round", 0.9 * 0.45),
        ("gaussian long", 0.9 * 0.25),
        ("generalized round", 0.9 * 0.12),
        ("generalized long", 0.9 * 0.03),
        ("plateau round", 0.9 * 0.12),
        ("plateau long", 0.9 * 0.03),
    ];
    let thirds = [("Area", 1.0 / 3.0), ("Bilinear", 1.0 / 3.0), ("Bicubic", 1.0 / 3.0)];
    for (second, sigma, gaussian, poisson) in
        [(false, [0.2, 3.0], [1.0, 30.0], [0.05, 3.0]), (true, [0.2, 1.5], [1.0, 25.0], [0.05, 2.5])]
    {
        let [
            size,
            kind,
            sigmas,
            theta,
            generalized,
            plateau,
            cutoff,
            mode,
            noise,
            grey,
            normal,
            counts,
            quality,
        ] = stage_names(second);
        drawn.assert_shares(size, &eighths);
        drawn.assert_shares(kind, &kinds);
        drawn.assert_uniform(sigmas, sigma);
        drawn.assert_uniform(theta, [-PI, PI]);
        // Half of them from 0.5 to 1, half from 1 to 4.
        drawn.assert_follows(generalized, |beta| match beta {
            ..1.0 => beta - 0.5,
            beta => 0.5 + (beta - 1.0) / 6.0,
        });
        drawn.assert_shares(plateau, &[("true", 0.5), ("false", 0.5)]);
        drawn.assert_uniform(plateau, [1.0, 2.0]);
        drawn.assert_uniform(cutoff, [0.0, 1.0]);
        drawn.assert_shares(mode, &thirds);
        drawn.assert_shares(noise, &[("gaussian", 0.5), ("poisson", 0.5)]);
        drawn.assert_shares(grey, &[("true", 0.4), ("false", 0.6)]);
        drawn.assert_uniform(normal, gaussian);
        drawn.assert_uniform(counts, poisson);
        if !second {
            drawn.assert_uniform(quality, [30.0, 95.0]);
        }
    }
    drawn.assert_shares("resize 1", &[("up", 0.2), ("down", 0.7), ("keep", 0.1)]);
    drawn.assert_uniform("up 1", [1.0, 1.5]);
    drawn.assert_uniform("down 1", [0.15, 1.0]);
    drawn.assert_shares("second blur", &[("true", 0.8), ("false", 0.2)]);
    // An enlargement by less than a hundredth is none in whole pixels.
    drawn.assert_shares("resize 2", &[("up", 0.3 * 0.95), ("down", 0.4), ("keep", 0.3 + 0.3 * 0.05)]);
    drawn.assert_uniform("down 2", [0.3, 1.0]);
    drawn.assert_shares("last sinc", &[("true", 0.8), ("false", 0.2)]);
    drawn.assert_shares("last size", &eighths);
    drawn.assert_uniform("last cut-off", [PI / 3.0, PI]);
    drawn.assert_shares("last mode", &thirds);
    drawn.assert_uniform("last quality", [30.0, 95.0]);
    drawn.assert_shares("order", &[("JPEG first", 0.5), ("resize first", 0.5)]);
}

/// Gaussian fields have the mean, the deviation and the shape they should; Poisson ones vary with the brightness.
#[test]
fn noise_follows_its_distribution() {
    let grey = gendr_image::Planes::filled(3, 256, 256, 0.5);
    let step = Step::GaussianNoise { sigma: 12.0, grey: false, seed: 3 };
    let noisy = step.apply(grey.clone()).expect("a step");
    let mut values: Vec<f64> =
        noisy.data().iter().map(|value| (f64::from(*value) - 0.5) * 255.0 / 12.0).collect();
    let n = values.len() as f64;
    let moment = |power: i32| values.iter().map(|value| value.powi(power)).sum::<f64>() / n;
    assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.02 && (moment(4) - 3.0).abs() < 0.1);
    values.sort_by(f64::total_cmp);
    // 15.87 % lie more than one deviation below.
    assert!((values[(0.158_655 * n) as usize] + 1.0).abs() < 0.02);
    let one = Step::GaussianNoise { sigma: 12.0, grey: true, seed: 3 }.apply(grey).expect("a step");
    assert_eq!(one.plane(0), one.plane(2), "one field for all channels");

    // Two levels of brightness: 2^1 values, so that noise is Poisson(2 x) / 2 - x.
    let data = (0..3 * 256 * 256).map(|i| if i % 2 == 0 { 51.0 / 255.0 } else { 102.0 / 255.0 }).collect();
    let picture = gendr_image::Planes::from_vec(3, 256, 256, data).expect("sizes fit");
    let noisy =
        Step::PoissonNoise { scale: 0.2, grey: false, seed: 4 }.apply(picture.clone()).expect("a step");
    for (start, level) in [(0, 0.2), (1, 0.4)] {
        let differences = noisy.data().iter().zip(picture.data()).skip(start).step_by(2);
        // Noise below black is clipped, which takes of the mean; the probability of no count at all is not touched by it.
        let none = differences.filter(|(noisy, clean)| (**noisy - **clean * 0.8).abs() < 1e-4).count() as f64;
        let share = none / (3.0 * 128.0 * 256.0);
        let expected = (-2.0f64 * level).exp();
        assert!((share - expected).abs() < 0.01, "{share} for {expected}");
    }
}
