//! Profiles are honoured, and leaving a colour space and coming back changes nothing that is seen.

use gendr_image::{EncodeOptions, Limits, OutputFormat, Picture, Planes, decode, encode};
use moxcms::{ColorProfile, Layout, TransformOptions, Vector3d};

use crate::samples::{base, difference, synthetic};

fn profiles() -> Vec<(&'static str, ColorProfile)> {
    vec![
        ("Display P3", ColorProfile::new_display_p3()),
        ("Adobe RGB", ColorProfile::new_adobe_rgb()),
        ("ProPhoto", ColorProfile::new_pro_photo_rgb()),
        ("BT.2020", ColorProfile::new_bt2020()),
    ]
}

fn with_profile(mut picture: Picture, profile: &ColorProfile) -> Picture {
    picture.metadata.icc = Some(profile.encode().unwrap());
    picture
}

#[test]
fn srgb_needs_no_conversion() {
    assert!(base("exact").color_space().is_none());
    assert!(with_profile(base("exact"), &ColorProfile::new_srgb()).color_space().is_none());
}

#[test]
fn conversions_agree_with_those_of_another_program_inside_srgb() {
    for (name, profile) in profiles() {
        let picture = with_profile(synthetic(40, 30), &profile);
        let space = picture.color_space().unwrap_or_else(|| panic!("{name} is not sRGB"));
        let mut got = picture.color.clone();
        space.to_srgb(&mut got);
        let srgb = ColorProfile::new_srgb();
        let transform = profile
            .create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, TransformOptions::default())
            .unwrap();
        let area = 40 * 30;
        for index in 0..area {
            let pixel = [0, 1, 2].map(|channel| picture.color.data()[channel * area + index]);
            let bytes = pixel.map(|value| (value * 255.0).round() as u8);
            let mut want = [0; 3];
            transform.transform(&bytes, &mut want).unwrap();
            for channel in 0..3 {
                let got = got.data()[channel * area + index] * 255.0;
                if (3.0..252.0).contains(&got) && want.iter().all(|&level| (3..252).contains(&level)) {
                    assert!(
                        (got - f32::from(want[channel])).abs() < 4.0,
                        "{name}: {got}, not {}",
                        want[channel]
                    );
                }
            }
        }
    }
}

#[test]
fn there_and_back_is_within_a_level_of_sixteen_bits() {
    for (name, profile) in profiles() {
        let picture = with_profile(synthetic(40, 30), &profile);
        let space = picture.color_space().unwrap();
        let mut color = picture.color.clone();
        space.to_srgb(&mut color);
        space.from_srgb(&mut color);
        let (largest, mean) = difference(&color, &picture.color);
        // Deep shades beside bright primaries suffer from the f32 in between.
        assert!(mean < 0.2 / 65_535.0 && largest < 40.0 / 65_535.0, "{name}: {largest} {mean}");
    }
}

#[test]
fn grey_profiles_keep_grey() {
    let picture = with_profile(base("grey"), &ColorProfile::new_gray_with_gamma(1.8));
    let space = picture.color_space().expect("not sRGB");
    let mut color = picture.color.clone();
    space.to_srgb(&mut color);
    assert!(difference(&color, &picture.color).0 > 0.02);
    assert_eq!(color.plane(0), color.plane(2));
    space.from_srgb(&mut color);
    assert!(difference(&color, &picture.color).0 < 1e-6);
}

#[test]
fn png_chunks_count_in_their_order() {
    let mut picture = base("exact");
    picture.metadata.png_color.gamma = Some(45_455);
    assert!(picture.color_space().is_none(), "the gamma of sRGB");
    picture.metadata.png_color.gamma = Some(100_000);
    let mut color = Planes::filled(3, 1, 1, 0.5);
    picture.color_space().expect("linear light").to_srgb(&mut color);
    assert!((color.data()[0] - 0.7354).abs() < 1e-3, "{}", color.data()[0]);
    picture.metadata.png_color.srgb_intent = Some(0);
    assert!(picture.color_space().is_none(), "sRGB counts before gamma");
    picture.metadata.png_color.cicp = Some([12, 13, 0, 1]);
    let mut red = Planes::from_vec(3, 1, 1, vec![1.0, 0.0, 0.0]).unwrap();
    picture.color_space().expect("P3 counts before all").to_srgb(&mut red);
    let expected = [1.0930, -0.2267, -0.1501];
    assert!(red.data().iter().zip(expected).all(|(got, want)| (got - want).abs() < 2e-3), "{:?}", red.data());
}

#[test]
fn profiles_that_cannot_be_used_are_told_and_kept() {
    for (what, icc) in [
        ("garbage", vec![7; 300]),
        ("empty", vec![]),
        ("cut", ColorProfile::new_adobe_rgb().encode().unwrap()[..200].to_vec()),
    ] {
        let mut picture = base("exact");
        picture.metadata.icc = Some(icc.clone());
        assert!(picture.color_space().is_none(), "{what}");
        let bytes = encode(&picture, &EncodeOptions::new(OutputFormat::Tiff)).unwrap().bytes;
        let got = decode(&bytes, &Limits::default()).unwrap();
        assert!(
            got.notices.iter().any(|notice| notice.to_string().contains("sRGB")),
            "{what}: {:?}",
            got.notices
        );
        assert_eq!(got.metadata.icc.unwrap_or_default(), icc, "{what}");
    }
    let mut hdr = base("exact");
    hdr.metadata.png_color.cicp = Some([9, 16, 0, 1]);
    let bytes = encode(&hdr, &EncodeOptions::new(OutputFormat::Png)).unwrap().bytes;
    let got = decode(&bytes, &Limits::default()).unwrap();
    assert!(got.notices.iter().any(|notice| notice.to_string().contains("sRGB")), "{:?}", got.notices);
}

/// The colour difference CIEDE2000 of two CIELAB colours (Sharma, Wu and Dalal 2005).
fn delta_e([l1, a1, b1]: [f64; 3], [l2, a2, b2]: [f64; 3]) -> f64 {
    let seventh = |c: f64| (c.powi(7) / (c.powi(7) + 25f64.powi(7))).sqrt();
    let g = 0.5 * (1.0 - seventh((a1.hypot(b1) + a2.hypot(b2)) / 2.0));
    let polar = |a: f64, b: f64| {
        let a = a * (1.0 + g);
        (a.hypot(b), if a == 0.0 && b == 0.0 { 0.0 } else { b.atan2(a).to_degrees().rem_euclid(360.0) })
    };
    let ((c1, h1), (c2, h2)) = (polar(a1, b1), polar(a2, b2));
    let (dl, dc) = (l2 - l1, c2 - c1);
    let gray = c1 * c2 == 0.0;
    let turn = |d: f64| {
        if d > 180.0 {
            d - 360.0
        } else if d < -180.0 {
            d + 360.0
        } else {
            d
        }
    };
    let dh_angle = if gray { 0.0 } else { turn(h2 - h1) };
    let dh = 2.0 * (c1 * c2).sqrt() * (dh_angle / 2.0).to_radians().sin();
    let (l, c) = ((l1 + l2) / 2.0, (c1 + c2) / 2.0);
    let h = if gray { h1 + h2 } else { (h1 + dh_angle / 2.0).rem_euclid(360.0) };
    let cosine = |factor: f64, shift: f64| (factor * h + shift).to_radians().cos();
    let t = 1.0 - 0.17 * cosine(1.0, -30.0) + 0.24 * cosine(2.0, 0.0) + 0.32 * cosine(3.0, 6.0)
        - 0.2 * cosine(4.0, -63.0);
    let turned = 30.0 * (-((h - 275.0) / 25.0).powi(2)).exp();
    let sl = 1.0 + 0.015 * (l - 50.0).powi(2) / (20.0 + (l - 50.0).powi(2)).sqrt();
    let (sc, sh) = (1.0 + 0.045 * c, 1.0 + 0.015 * c * t);
    let rt = -(2.0 * turned).to_radians().sin() * 2.0 * seventh(c);
    let (x, y, z) = (dl / sl, dc / sc, dh / sh);
    (x * x + y * y + z * z + rt * y * z).sqrt()
}

#[test]
fn the_color_difference_is_that_of_the_paper() {
    // Pairs 1, 7, 17 and 25 of its table.
    for (one, two, want) in [
        ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
        ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
        ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
        ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
    ] {
        assert!((delta_e(one, two) - want).abs() < 1e-4, "{}", delta_e(one, two));
    }
}

/// Encoded values to light.
type ToneCurve = fn(f64) -> f64;

/// CIELAB (D50) of a pixel by a profile's matrix and the published curve of its space.
fn lab(profile: &ColorProfile, curve: ToneCurve, pixel: [f32; 3]) -> [f64; 3] {
    let light = pixel.map(|value| curve(f64::from(value)));
    let [x, y, z] = profile.rgb_to_xyz_matrix().mul_vector(Vector3d { v: light }).v;
    let f = |t: f64| if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 };
    let [x, y, z] = [f(x / 0.9642), f(y), f(z / 0.8249)];
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

#[test]
fn colors_come_back_through_srgb_even_those_outside_it() {
    let srgb = |v: f64| if v > 0.04045 { ((v + 0.055) / 1.055).powf(2.4) } else { v / 12.92 };
    let kinds: [(&str, ColorProfile, ToneCurve); 3] =
        [
            ("Display P3", ColorProfile::new_display_p3(), srgb),
            ("Adobe RGB", ColorProfile::new_adobe_rgb(), |v| v.powf(563.0 / 256.0)),
            ("ProPhoto", ColorProfile::new_pro_photo_rgb(), |v| {
                if v < 1.0 / 32.0 { v / 16.0 } else { v.powf(1.8) }
            }),
        ];
    for (name, profile, curve) in kinds {
        let picture = with_profile(synthetic(64, 48), &profile);
        let space = picture.color_space().unwrap();
        let mut restored = picture.clone();
        space.to_srgb(&mut restored.color);
        // What a network sees and gives, and what it does not.
        let beyond = restored.color.split_beyond().expect("colours outside sRGB");
        restored.color.add(&beyond);
        space.from_srgb(&mut restored.color);
        let file = encode(&restored, &EncodeOptions::new(OutputFormat::Tiff)).unwrap().bytes;
        let got = decode(&file, &Limits::default()).unwrap();
        let area = 64 * 48;
        let pixel = |planes: &Planes, at: usize| [0, 1, 2].map(|channel| planes.data()[channel * area + at]);
        let differences = (0..area).map(|at| {
            delta_e(
                lab(&profile, curve, pixel(&got.color, at)),
                lab(&profile, curve, pixel(&picture.color, at)),
            )
        });
        let mean = differences.sum::<f64>() / area as f64;
        assert!(mean < 0.5, "{name}: mean difference {mean}");
    }
}

#[test]
fn the_rounding_of_a_profile_makes_no_other_space_of_srgb() {
    let mut profile = ColorProfile::new_srgb();
    profile.cicp = None;
    profile.red_colorant.x += 2e-4;
    profile.green_colorant.y -= 2e-4;
    assert!(with_profile(synthetic(8, 8), &profile).color_space().is_none());
    profile.red_colorant.x += 0.02;
    assert!(with_profile(synthetic(8, 8), &profile).color_space().is_some());
}
