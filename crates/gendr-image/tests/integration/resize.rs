//! Resampling against the libraries it follows, and windows against the whole.

use crate::fixture::Fixture;
use gendr_image::{Planes, Rect, Resampling, Resize, resize, upscale};
use proptest::prelude::*;

/// The resampling that a tensor's name speaks of.
fn resampling(kind: &str) -> Resampling {
    match kind {
        "torch_bicubic" | "opencv_cubic" => Resampling::TORCH_BICUBIC,
        "torch_bilinear" => Resampling::TORCH_BILINEAR,
        "torch_area" => Resampling::TORCH_AREA,
        "torch_aa_bicubic" | "pil_bicubic" => Resampling::PILLOW_BICUBIC,
        "torch_aa_bilinear" | "pil_bilinear" => Resampling::PILLOW_BILINEAR,
        "pil_lanczos" => Resampling::PILLOW_LANCZOS,
        "pil_box" => Resampling::PILLOW_BOX,
        "matlab_bicubic" => Resampling::MATLAB_BICUBIC,
        other => panic!("unknown resampling {other}"),
    }
}

/// `x0.43` and `x1_4` are factors, `84x64` is a size.
fn factor(target: &str) -> Option<f64> {
    let text = target.strip_prefix('x')?;
    Some(match text.split_once('_') {
        Some((numerator, denominator)) => {
            numerator.parse::<f64>().unwrap() / denominator.parse::<f64>().unwrap()
        }
        None => text.parse().unwrap(),
    })
}

#[test]
fn fixtures_resize_match_the_libraries() {
    for fixture in Fixture::all("resize") {
        let mut cases = 0;
        for (name, want) in fixture.expected() {
            let (kind, target) = name.split_once('.').unwrap();
            let bytes = kind.strip_suffix("_u8");
            let source = &fixture.tensor(if bytes.is_some() { "bytes.src" } else { "float.src" });
            let picture = &source.pictures()[0];
            let input = (picture.width(), picture.height());
            let output = (want.shape[want.shape.len() - 1], want.shape[want.shape.len() - 2]);
            let resampling = resampling(bytes.unwrap_or(kind));
            let plan = match factor(target) {
                Some(factor) => Resize::by_factor(input, output, factor, resampling),
                None => Resize::to_size(input, output, resampling),
            }
            .unwrap();
            let got: Vec<f32> = if bytes.is_some() {
                let levels: Vec<u8> = source.values.iter().map(|&value| value as u8).collect();
                plan.apply_bytes(&levels).unwrap().into_iter().map(f32::from).collect()
            } else {
                source.pictures().iter().flat_map(|picture| plan.apply(picture).unwrap().into_vec()).collect()
            };
            fixture.check(name, &got);
            cases += 1;
        }
        assert!(cases > 0, "{}: no case", fixture.name);
    }
}

#[test]
fn fixtures_pipeline_upscale() {
    let mut cases = 0;
    for fixture in Fixture::all("pipeline") {
        for (name, want) in fixture.expected().filter(|(name, _)| name.ends_with(".upscaled")) {
            let source = fixture.tensor(&name.replace(".upscaled", ".lr"));
            let (height, width) = (want.shape[2], want.shape[3]);
            let got =
                source.pictures().into_iter().flat_map(|p| upscale(&p, width, height).unwrap().into_vec());
            fixture.check(name, &got.collect::<Vec<_>>());
            cases += 1;
        }
    }
    assert!(cases > 0, "no upscale among the pipeline's tensors");
}

fn ramp(width: usize, height: usize) -> Planes {
    let value = |i: usize| ((i * 7919) % 1009) as f32 / 1008.0;
    Planes::from_vec(2, height, width, (0..2 * width * height).map(value).collect()).unwrap()
}

const ALL: [Resampling; 8] = [
    Resampling::TORCH_BICUBIC,
    Resampling::TORCH_BILINEAR,
    Resampling::TORCH_AREA,
    Resampling::PILLOW_BICUBIC,
    Resampling::PILLOW_BILINEAR,
    Resampling::PILLOW_LANCZOS,
    Resampling::PILLOW_BOX,
    Resampling::MATLAB_BICUBIC,
];

proptest! {
    #[test]
    fn a_window_is_the_same_rectangle_of_the_whole(
        kind in 0..ALL.len(),
        input in (1..40usize, 1..40usize),
        output in (1..90usize, 1..90usize),
        corner in (0.0..1.0f64, 0.0..1.0f64),
        extent in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let source = ramp(input.0, input.1);
        let plan = Resize::to_size(input, output, ALL[kind]).unwrap();
        let whole = plan.apply(&source).unwrap();
        let x = (corner.0 * output.0 as f64) as usize;
        let y = (corner.1 * output.1 as f64) as usize;
        let width = 1 + (extent.0 * (output.0 - x - 1) as f64) as usize;
        let height = 1 + (extent.1 * (output.1 - y - 1) as f64) as usize;
        let window = Rect { x, y, width, height };
        let needed = plan.source_of(window);
        let part = source.crop(needed.x, needed.y, needed.width, needed.height).unwrap();
        let got = plan.window(&part, (needed.x, needed.y), window).unwrap();
        prop_assert_eq!(got, whole.crop(x, y, width, height).unwrap());
    }

    #[test]
    fn a_flat_picture_stays_flat(
        kind in 0..ALL.len(),
        input in (1..20usize, 1..20usize),
        output in (1..50usize, 1..50usize),
    ) {
        let source = Planes::filled(1, input.1, input.0, 0.25);
        let got = resize(&source, output.0, output.1, ALL[kind]).unwrap();
        prop_assert!(got.data().iter().all(|value| (value - 0.25).abs() < 1e-6));
    }
}

#[test]
fn the_same_size_changes_nothing() {
    let source = ramp(13, 9);
    for resampling in ALL {
        let got = resize(&source, 13, 9, resampling).unwrap();
        let drift = got.data().iter().zip(source.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(drift < 1e-6, "{resampling:?} drifts by {drift}");
    }
}

#[test]
fn windows_of_huge_pictures_need_little() {
    let plan = Resize::to_size((250_000_000, 3), (1_000_000_000, 12), Resampling::TORCH_BICUBIC).unwrap();
    let window = Rect { x: 999_999_000, y: 0, width: 1000, height: 12 };
    let needed = plan.source_of(window);
    assert_eq!((needed.x, needed.width, needed.height), (249_999_748, 252, 3));
    let part = Planes::filled(1, 3, 252, 0.5);
    let got = plan.window(&part, (needed.x, needed.y), window).unwrap();
    assert!(got.data().iter().all(|value| (value - 0.5).abs() < 1e-6));
}

#[test]
fn senseless_requests_are_refused() {
    let kind = Resampling::TORCH_BICUBIC;
    assert!(Resize::to_size((0, 4), (8, 8), kind).is_err());
    assert!(Resize::to_size((4, 4), (8, 0), kind).is_err());
    for factor in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-18, 1e18] {
        assert!(Resize::by_factor((4, 4), (8, 8), factor, kind).is_err(), "{factor}");
    }
    let plan = Resize::to_size((4, 4), (8, 8), kind).unwrap();
    assert!(plan.apply(&ramp(5, 4)).is_err());
    assert!(plan.window(&ramp(4, 4), (0, 0), Rect { x: 4, y: 0, width: 5, height: 1 }).is_err());
    assert!(plan.window(&ramp(2, 4), (0, 0), Rect { x: 4, y: 0, width: 4, height: 1 }).is_err());
    assert!(plan.apply_bytes(&[0; 17]).is_err());
}
