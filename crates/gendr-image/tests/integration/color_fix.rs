//! Colour correction against the reference numbers.

use crate::fixture::Fixture;
use gendr_image::{ChannelStatistics, ColorFix, Planes, apply_color_fix, match_statistics};

/// What a tensor's last name asks of a restored picture and its reference.
fn answer(kind: &str, restored: &Planes, reference: &Planes) -> Planes {
    let fix = |fix, reference: &Planes| apply_color_fix(fix, restored, reference, (1, 1)).unwrap();
    let black = Planes::filled(restored.channels(), restored.height(), restored.width(), 0.0);
    match kind {
        "adain" => fix(ColorFix::Adain, reference),
        "wavelet" => fix(ColorFix::Wavelet, reference),
        "ycbcr" => fix(ColorFix::Ycbcr, reference),
        // Against black, the reference gives no low band: what stays is the detail.
        "sr_high" => fix(ColorFix::Wavelet, &black),
        "sr_low" => apply_color_fix(ColorFix::Wavelet, &black, restored, (1, 1)).unwrap(),
        other => panic!("unknown colour fix {other}"),
    }
}

#[test]
fn fixtures_colorfix_match_the_reference() {
    let mut cases = 0;
    for fixture in Fixture::all("colorfix") {
        for (name, _) in fixture.expected() {
            let (case, kind) = name.split_once('.').unwrap();
            let restored = fixture.tensor(&format!("{case}.sr")).pictures();
            let reference = fixture.tensor(&format!("{case}.lr")).pictures();
            let mut got: Vec<f32> = (restored.iter().zip(&reference))
                .flat_map(|(restored, reference)| answer(kind, restored, reference).into_vec())
                .collect();
            let meaning = fixture.json["tensors"][name]["meaning"].as_str().unwrap();
            if meaning.contains("truncated to 8 bits") {
                got.iter_mut().for_each(|value| *value = (value.clamp(0.0, 1.0) * 255.0).floor() / 255.0);
            }
            fixture.check(name, &got);
            cases += 1;
        }
    }
    assert!(cases > 0, "no colour fix among the fixtures");
}

fn ramp(width: usize, height: usize, step: usize) -> Planes {
    let value = |i: usize| ((i * step) % 997) as f32 / 996.0;
    Planes::from_vec(3, height, width, (0..3 * width * height).map(value).collect()).unwrap()
}

#[test]
fn statistics_of_parts_merge_to_those_of_the_whole() {
    let (restored, reference) = (ramp(31, 20, 617), ramp(31, 20, 331));
    let merged = |planes: &Planes| {
        let part = |y, height| ChannelStatistics::of(&planes.crop(0, y, 31, height).unwrap());
        part(0, 7).merge(&part(7, 13)).unwrap()
    };
    let got = match_statistics(&restored, &merged(&restored), &merged(&reference)).unwrap();
    let want = apply_color_fix(ColorFix::Adain, &restored, &reference, (1, 1)).unwrap();
    for (got, want) in got.data().iter().zip(want.data()) {
        assert!((got - want).abs() < 1e-6, "{got}, not {want}");
    }
}

#[test]
fn no_fix_returns_the_picture_and_tiny_pictures_work() {
    let restored = ramp(1, 1, 617);
    assert_eq!(apply_color_fix(ColorFix::None, &restored, &ramp(9, 9, 1), (1, 1)).unwrap(), restored);
    for fix in [ColorFix::Adain, ColorFix::Wavelet, ColorFix::Ycbcr, ColorFix::Projection] {
        let got = apply_color_fix(fix, &restored, &ramp(1, 1, 331), (1, 1)).unwrap();
        assert!(got.data().iter().all(|value| value.is_finite()), "{fix:?}");
    }
}

#[test]
fn references_that_do_not_fit_are_refused() {
    let restored = ramp(4, 4, 617);
    assert!(apply_color_fix(ColorFix::Wavelet, &restored, &ramp(5, 4, 1), (1, 1)).is_err());
    assert!(apply_color_fix(ColorFix::Ycbcr, &restored, &ramp(5, 4, 1), (1, 1)).is_err());
    assert!(apply_color_fix(ColorFix::Adain, &restored, &Planes::filled(1, 4, 4, 0.0), (1, 1)).is_err());
    let grey = Planes::filled(1, 4, 4, 0.5);
    assert!(apply_color_fix(ColorFix::Ycbcr, &grey, &grey, (1, 1)).is_err());
}
