//! Files of other programs are read as they were meant.

use gendr_image::{Depth, ErrorKind, Format, Limits, decode};

use crate::samples::{base, difference, folder};

#[test]
fn lossless_files_give_the_exact_pixels() {
    let want = base("exact");
    for (name, bytes) in folder("exact") {
        let got = decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (largest, _) = difference(&got.color, &want.color);
        assert!(largest < 1e-6, "{name}: off by {largest}");
        assert!(got.alpha.is_none() && !got.grey, "{name}");
        let depth = match name.as_str() {
            name if name.contains("sixteen") => Depth::Sixteen,
            name if name.contains("float") => Depth::Float,
            _ => Depth::Eight,
        };
        assert_eq!(got.depth, depth, "{name}");
        assert!(got.notices.is_empty(), "{name}: {:?}", got.notices);
    }
}

#[test]
fn metadata_of_a_bigtiff_are_read() {
    let files = folder("exact");
    let (_, bytes) = files.iter().find(|(name, _)| name.ends_with("bigtiff.tif")).unwrap();
    let metadata = decode(bytes, &Limits::default()).unwrap().metadata;
    assert_eq!(metadata.icc.unwrap().get(36..40), Some(&b"acsp"[..]));
    let (x, y) = metadata.density.unwrap().per_inch().unwrap();
    assert!((x - 300.0).abs() < 0.5 && (y - 300.0).abs() < 0.5, "{x} {y}");
}

#[test]
fn lossy_files_come_near_and_conversions_are_told() {
    let want = base("exact");
    for (name, bytes) in folder("near") {
        let got = decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (_, mean) = difference(&got.color, &want.color);
        assert!(mean < 0.03, "{name}: off by {mean}");
        let told = |word: &str| got.notices.iter().any(|notice| notice.to_string().contains(word));
        assert_eq!(name.contains("animated"), told("animation"), "{name}: {:?}", got.notices);
        assert_eq!(name.contains("cmyk"), told("CMYK"), "{name}: {:?}", got.notices);
        assert!(
            !name.contains("palette") || name.ends_with("bmp") || told("palette"),
            "{name}: {:?}",
            got.notices
        );
    }
}

#[test]
fn grey_stays_grey() {
    let want = base("grey");
    for (name, bytes) in folder("grey") {
        let got = decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (_, mean) = difference(&got.color, &want.color);
        assert!(mean < if name.ends_with("jpg") { 0.02 } else { 1e-6 }, "{name}: off by {mean}");
        assert!(got.grey, "{name}");
    }
}

#[test]
fn one_bit_files_agree() {
    let want = base("bilevel");
    assert!(want.color.data().iter().all(|&value| value == 0.0 || value == 1.0));
    for (name, bytes) in folder("bilevel") {
        let got = decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(got.color, want.color, "{name}");
        assert!(got.grey && got.depth == Depth::Eight, "{name}");
    }
}

#[test]
fn opacity_is_read_and_color_is_not_multiplied_by_it() {
    let want = base("alpha");
    let opacity = want.alpha.as_ref().unwrap();
    for (name, bytes) in folder("alpha") {
        let got = decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (largest, _) = difference(got.alpha.as_ref().unwrap(), opacity);
        assert!(largest < 1e-6, "{name}: opacity off by {largest}");
        // Where next to nothing is seen, eight bits of a product say little of the colour.
        let area = got.width() * got.height();
        for (index, (got, want)) in got.color.data().iter().zip(want.color.data()).enumerate() {
            let visible = opacity.data()[index % area];
            assert!((got - want).abs() * visible < 0.005, "{name}: {got}, not {want}");
        }
    }
}

#[test]
fn all_orientations_come_out_upright_once() {
    let want = base("exact");
    for (name, bytes) in folder("upright") {
        let got = decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (_, mean) = difference(&got.color, &want.color);
        assert!(mean < if name.ends_with("jpg") { 0.02 } else { 1e-6 }, "{name}: off by {mean}");
        if let Some(exif) = &got.metadata.exif {
            let tag =
                exif.windows(4).position(|bytes| bytes == [0x01, 0x12, 0, 3] || bytes == [0x12, 0x01, 3, 0]);
            let value = &exif[tag.unwrap() + 8..][..2];
            assert!(value.contains(&1) && value.contains(&0), "{name}: the tag still says {value:?}");
        }
    }
}

#[test]
fn hidden_color_is_filled_from_what_is_visible() {
    let mut picture = base("exact");
    let (width, height) = (picture.width(), picture.height());
    picture.color.map_in_place(|_| 0.5);
    let mut alpha = vec![0.0; width * height];
    alpha[5 * width + 7] = 1.0;
    for channel in 0..3 {
        let plane = picture.color.plane_mut(channel);
        plane[5 * width + 7] = 0.25;
        plane[0] = f32::MAX;
    }
    let visible = gendr_image::Planes::from_vec(1, height, width, alpha).unwrap();
    picture.alpha = Some(visible.clone());
    picture.fill_hidden_color();
    assert!(picture.color.data().iter().all(|&value| value == 0.25));

    let mut unseen = base("exact");
    unseen.alpha = Some(gendr_image::Planes::filled(1, height, width, 0.0));
    let before = unseen.clone();
    unseen.fill_hidden_color();
    assert_eq!(unseen, before);
}

#[test]
fn the_content_tells_the_format_and_its_absence_is_said_plainly() {
    let refused = |bytes: &[u8]| decode(bytes, &Limits::default()).unwrap_err();
    for (bytes, words, kind) in [
        (&b""[..], "empty", ErrorKind::Input),
        (b"Dear reader,\nthis is no picture.\n", "text", ErrorKind::Input),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09", "not a picture", ErrorKind::Input),
        (b"\0\0\0\x20ftypheic\0\0\0\0", "HEIC", ErrorKind::Unsupported),
        (b"8BPS\0\x01", "Photoshop", ErrorKind::Unsupported),
        (b"%PDF-1.4", "PDF", ErrorKind::Unsupported),
    ] {
        let error = refused(bytes);
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    assert_eq!(base("exact").format, Format::Png);
}
