//! Profiles are honoured, and leaving a colour space and coming back changes nothing that is seen.

use gendr_image::{EncodeOptions, Limits, OutputFormat, Picture, Planes, decode, encode};
use moxcms::{ColorProfile, Layout, TransformOptions};

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
