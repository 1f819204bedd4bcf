//! What is written can be read, and nothing is lost on the way.

use std::io::Cursor;

use gendr_image::{
    AtomicFile, Density, DensityUnit, Depth, EncodeOptions, ErrorKind, Limits, OutputFormat, Picture, Planes,
    Strip, StripWriter, Text, decode, encode, read,
};
use proptest::prelude::*;

use crate::samples::{base, difference, folder, synthetic};

const FORMATS: [OutputFormat; 4] =
    [OutputFormat::Png, OutputFormat::Jpeg, OutputFormat::Webp, OutputFormat::Tiff];

fn round_trip(picture: &Picture, options: &EncodeOptions) -> Picture {
    let encoded = encode(picture, options).unwrap();
    decode(&encoded.bytes, &Limits::default()).unwrap()
}

/// Samples rounded to what a depth holds.
fn rounded(planes: &Planes, depth: Depth) -> Planes {
    let most = match depth {
        Depth::Eight => 255.0,
        Depth::Sixteen => 65_535.0,
        Depth::Float => return planes.clone(),
    };
    let mut result = planes.clone();
    result.map_in_place(|value| ((f64::from(value.clamp(0.0, 1.0)) * most + 0.5).floor() / most) as f32);
    result
}

proptest! {
    #[test]
    fn lossless_formats_give_back_what_was_rounded(
        width in 1..40usize,
        height in 1..40usize,
        grey: bool,
        alpha: bool,
        format in prop::sample::select(vec![OutputFormat::Png, OutputFormat::Webp, OutputFormat::Tiff]),
        depth in prop::sample::select(vec![Depth::Eight, Depth::Sixteen, Depth::Float]),
    ) {
        let mut picture = synthetic(width, height);
        picture.grey = grey;
        if grey {
            let plane = picture.color.plane(0).to_vec();
            picture.color = Planes::from_vec(3, height, width, plane.repeat(3)).unwrap();
        }
        if !alpha {
            picture.alpha = None;
        }
        picture.depth = depth;
        let got = round_trip(&picture, &EncodeOptions::new(format));
        let kept = match (format, depth) {
            (OutputFormat::Webp, _) => Depth::Eight,
            (OutputFormat::Png, Depth::Float) => Depth::Sixteen,
            _ => depth,
        };
        prop_assert_eq!(got.depth, kept);
        prop_assert!(difference(&got.color, &rounded(&picture.color, kept)).0 < 1e-7);
        if alpha {
            prop_assert!(difference(&got.alpha.unwrap(), &rounded(&picture.alpha.unwrap(), kept)).0 < 1e-7);
        } else {
            prop_assert!(got.alpha.is_none());
        }
        // WebP has no grey.
        prop_assert_eq!(got.grey, grey && format != OutputFormat::Webp);
    }

    #[test]
    fn strips_make_the_same_picture(
        width in 1..40usize,
        heights in prop::collection::vec(1..30usize, 1..6),
        grey: bool,
        alpha: bool,
        format in prop::sample::select(vec![OutputFormat::Png, OutputFormat::Tiff]),
        depth in prop::sample::select(vec![Depth::Eight, Depth::Sixteen, Depth::Float]),
    ) {
        let height = heights.iter().sum();
        let mut picture = synthetic(width, height);
        picture.grey = grey;
        picture.depth = depth;
        if !alpha {
            picture.alpha = None;
        }
        let options = EncodeOptions::new(format);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strips");
        let file = AtomicFile::create(&path, &[]).unwrap();
        let (mut writer, _) =
            StripWriter::new(file.handle().unwrap(), &picture, (width, height), &options).unwrap();
        let mut from = 0;
        for rows in heights {
            let strip = |planes: &Planes| planes.crop(0, from, width, rows).unwrap();
            writer.write(&strip(&picture.color), picture.alpha.as_ref().map(strip).as_ref()).unwrap();
            from += rows;
        }
        writer.finish().unwrap();
        file.commit().unwrap();
        let got = read(&path, &Limits::default()).unwrap();
        let want = round_trip(&picture, &options);
        prop_assert_eq!(got, want);
    }

    #[test]
    fn whole_levels_do_not_drift(level: u16) {
        for (depth, most) in [(Depth::Eight, 255.0), (Depth::Sixteen, 65_535.0)] {
            let level = f32::from(level) % (most + 1.0);
            let mut picture = Picture::from_color(Planes::filled(3, 1, 1, level / most));
            picture.depth = depth;
            for _ in 0..3 {
                picture = round_trip(&picture, &EncodeOptions::new(OutputFormat::Png));
            }
            prop_assert_eq!((picture.color.data()[0] * most).round(), level);
            prop_assert!((picture.color.data()[0] * most - level).abs() < 0.01);
        }
    }
}

#[test]
fn halves_round_up_and_the_rest_is_clamped() {
    let values = [0.5 / 255.0, 1.4999 / 255.0, 2.5 / 255.0, -3.0, 7.0, f32::NAN];
    let plane = Planes::from_vec(3, 1, 6, values.repeat(3)).unwrap();
    let got = round_trip(&Picture::from_color(plane), &EncodeOptions::new(OutputFormat::Png));
    let levels: Vec<f32> = got.color.row(0, 0).iter().map(|value| value * 255.0).collect();
    assert_eq!(levels, [1.0, 1.0, 3.0, 0.0, 255.0, 0.0]);
}

#[test]
fn jpeg_keeps_its_colors_at_high_quality() {
    let picture = base("exact");
    let options = EncodeOptions { quality: Some(100), ..EncodeOptions::new(OutputFormat::Jpeg) };
    let (largest, _) = difference(&round_trip(&picture, &options).color, &picture.color);
    assert!(largest < 4.0 / 255.0, "off by {largest}");
    let grey = base("grey");
    let got = round_trip(&grey, &options);
    assert!(got.grey && difference(&got.color, &grey.color).0 < 3.0 / 255.0);
}

#[test]
fn the_quality_of_a_jpeg_is_estimated_and_kept() {
    let picture = base("exact");
    for quality in [1, 10, 35, 49, 50, 51, 75, 80, 90, 95, 98] {
        let options = EncodeOptions { quality: Some(quality), ..EncodeOptions::new(OutputFormat::Jpeg) };
        let got = round_trip(&picture, &options);
        let estimate = got.metadata.jpeg_quality.unwrap();
        assert!(estimate.abs_diff(quality) <= 1, "{estimate}, not {quality}");
        let again = round_trip(&got, &EncodeOptions::new(OutputFormat::Jpeg));
        assert_eq!(again.metadata.jpeg_quality.unwrap(), estimate.max(75));
    }
    for (name, bytes) in folder("near").iter().filter(|(name, _)| name.ends_with("baseline.jpg")) {
        let got = decode(bytes, &Limits::default()).unwrap();
        assert_eq!(got.metadata.jpeg_quality, Some(95), "{name}");
    }
}

#[test]
fn transparency_in_jpeg_is_laid_over_white_and_told() {
    let mut picture = Picture::from_color(Planes::filled(3, 8, 8, 0.0));
    picture.alpha = Some(Planes::filled(1, 8, 8, 0.0));
    let encoded = encode(&picture, &EncodeOptions::new(OutputFormat::Jpeg)).unwrap();
    assert!(encoded.notices.iter().any(|notice| notice.to_string().contains("transparency")));
    let got = decode(&encoded.bytes, &Limits::default()).unwrap();
    assert!(got.color.data().iter().all(|&value| value > 0.99));
}

#[test]
fn strips_that_do_not_fit_are_refused() {
    let picture = base("exact");
    let size = (picture.width(), 2 * picture.height());
    let options = EncodeOptions::new(OutputFormat::Tiff);
    let begin = || StripWriter::new(Cursor::new(Vec::new()), &picture, size, &options).unwrap().0;
    let kind = |result: gendr_image::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(begin().write(&Planes::filled(3, 2, 3, 0.0), None)), ErrorKind::Argument);
    assert_eq!(
        kind(begin().write(&picture.color, Some(&Planes::filled(1, 16, 24, 1.0)))),
        ErrorKind::Argument
    );
    let mut writer = begin();
    writer.write(&picture.color, None).unwrap();
    assert_eq!(kind(writer.finish()), ErrorKind::Argument);
    let mut writer = begin();
    writer.write(&picture.color, None).unwrap();
    writer.write(&picture.color, None).unwrap();
    assert_eq!(kind(writer.write(&picture.color, None)), ErrorKind::Argument);
    let jpeg = EncodeOptions::new(OutputFormat::Jpeg);
    assert!(StripWriter::new(Cursor::new(Vec::new()), &picture, size, &jpeg).is_err());
}

fn described() -> Picture {
    let mut picture = base("exact");
    // Little endian: orientation 6, a maker of 6 letters, a pixel width of 1 in the directory below.
    let mut exif = b"II*\0\x08\0\0\0\x03\0".to_vec();
    exif.extend(b"\x0f\x01\x02\0\x07\0\0\0\x32\0\0\0");
    exif.extend(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0");
    exif.extend(b"\x69\x87\x04\0\x01\0\0\0\x3a\0\0\0");
    exif.extend(b"\0\0\0\0Makers\0\0");
    exif.extend(
        b"\x02\0\x7c\x92\x07\0\x08\0\0\0\x58\0\0\0\x02\xa0\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0maker-no",
    );
    let density = Density { x: 300.0, y: 150.0, unit: DensityUnit::Inch };
    picture.metadata.exif = Some(exif);
    picture.metadata.icc = Some(profile(b"RGB ", 150_000));
    picture.metadata.xmp = Some(b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>gr\xc3\xbcn</x:xmpmeta>".to_vec());
    picture.metadata.iptc = Some(b"\x1c\x02\x05\0\x05Title".to_vec());
    picture.metadata.density = Some(density);
    picture.metadata.texts = vec![Text { keyword: "Comment".into(), value: "a remark, grün".into() }];
    picture
}

/// Something with a profile's header and no meaning.
fn profile(space: &[u8; 4], length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|i| (i * i % 251) as u8).collect();
    bytes[..4].copy_from_slice(&(length as u32).to_be_bytes());
    bytes[16..20].copy_from_slice(space);
    bytes[36..40].copy_from_slice(b"acsp");
    bytes
}

#[test]
fn metadata_go_through_every_format_or_their_loss_is_told() {
    let picture = described();
    for format in FORMATS {
        let encoded = encode(&picture, &EncodeOptions::new(format)).unwrap();
        let got = decode(&encoded.bytes, &Limits::default()).unwrap().metadata;
        let want = &picture.metadata;
        let told = |word: &str| encoded.notices.iter().any(|notice| notice.to_string().contains(word));
        assert_eq!(got.icc, want.icc, "{format:?}");
        assert_eq!(got.xmp, want.xmp, "{format:?}");
        let exif = got.exif.unwrap();
        assert!(exif.windows(8).any(|bytes| bytes == b"maker-no"), "{format:?}: the maker note");
        assert!(exif.windows(6).any(|bytes| bytes == b"Makers"), "{format:?}: the maker");
        assert_eq!(got.iptc.is_none(), told("IPTC"), "{format:?}");
        assert!(got.iptc.is_none() || got.iptc == want.iptc, "{format:?}");
        assert_eq!(got.density.is_none(), told("density"), "{format:?}");
        if let Some((x, y)) = got.density.and_then(|density| density.per_inch()) {
            assert!((x - 300.0).abs() < 0.02 && (y - 150.0).abs() < 0.02, "{format:?}: {x} x {y}");
        }
        assert_eq!(got.texts.is_empty(), told("text"), "{format:?}");
        assert!(got.texts.is_empty() || got.texts == want.texts, "{format:?}");
    }
}

#[test]
fn exif_in_a_container_of_its_own_keeps_every_byte_but_the_corrected_tags() {
    let mut picture = described();
    // WebP would keep it in EXIF.
    picture.metadata.density = None;
    let original = picture.metadata.exif.clone().unwrap();
    for format in [OutputFormat::Png, OutputFormat::Jpeg, OutputFormat::Webp] {
        let got = round_trip(&picture, &EncodeOptions::new(format)).metadata.exif.unwrap();
        assert_eq!(got.len(), original.len());
        let changed: Vec<usize> = (0..got.len()).filter(|&at| got[at] != original[at]).collect();
        // The low byte of the orientation, and of the pixel width.
        assert_eq!(changed, [0x1e, 0x50], "{format:?}");
        assert_eq!((got[0x1e], usize::from(got[0x50])), (1, picture.width()));
    }
}

#[test]
fn stripping_removes_what_is_not_color() {
    for format in FORMATS {
        let options = EncodeOptions { strip: Strip::All, ..EncodeOptions::new(format) };
        let got = round_trip(&described(), &options).metadata;
        assert!(got.icc.is_some(), "{format:?}");
        assert!(
            got.exif.is_none() && got.xmp.is_none() && got.iptc.is_none() && got.texts.is_empty(),
            "{format:?}"
        );
    }
}

#[test]
fn stripping_the_place_removes_it_from_exif_and_xmp_alone() {
    let mut picture = described();
    // A GPS directory with one rational, at the end of the block.
    let mut exif = picture.metadata.exif.take().unwrap();
    let maker = exif.windows(4).position(|bytes| bytes == b"\x0f\x01\x02\0").unwrap();
    exif[maker..maker + 12].copy_from_slice(b"\x25\x88\x04\0\x01\0\0\0\x60\0\0\0");
    exif.extend(b"\x01\0\x02\0\x05\0\x03\0\0\0\x72\0\0\0\0\0\0\0place here and place there");
    picture.metadata.exif = Some(exif);
    picture.metadata.xmp =
        Some(b"<rdf:RDF exif:GPSLatitude=\"52,30N\" dc:title=\"kept\"></rdf:RDF>".to_vec());
    for format in FORMATS {
        let options = EncodeOptions { strip: Strip::Gps, ..EncodeOptions::new(format) };
        let encoded = encode(&picture, &options).unwrap().bytes;
        let got = decode(&encoded, &Limits::default()).unwrap().metadata;
        assert_eq!(got.xmp.as_deref(), Some(&b"<rdf:RDF dc:title=\"kept\"></rdf:RDF>"[..]), "{format:?}");
        let exif = got.exif.unwrap();
        assert!(exif.windows(8).any(|bytes| bytes == b"maker-no"), "{format:?}");
        assert!(!exif.windows(10).any(|bytes| bytes == b"place here"), "{format:?}");
        assert!(!encoded.windows(10).any(|bytes| bytes == b"place here"), "{format:?}");
    }
}

#[test]
fn a_color_profile_never_lands_on_grey_samples() {
    let mut grey = base("grey");
    grey.metadata.icc = Some(profile(b"RGB ", 200));
    let encoded = encode(&grey, &EncodeOptions::new(OutputFormat::Png)).unwrap();
    assert!(encoded.notices.iter().any(|notice| notice.to_string().contains("profile")));
    assert!(decode(&encoded.bytes, &Limits::default()).unwrap().metadata.icc.is_none());
    grey.metadata.icc = Some(profile(b"GRAY", 200));
    assert_eq!(round_trip(&grey, &EncodeOptions::new(OutputFormat::Png)).metadata.icc, grey.metadata.icc);
}

#[test]
fn png_color_statements_are_kept_and_become_a_profile_elsewhere() {
    let mut picture = base("exact");
    picture.metadata.png_color.gamma = Some(55_556);
    picture.metadata.png_color.chromaticities =
        Some([31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000]);
    let got = round_trip(&picture, &EncodeOptions::new(OutputFormat::Png));
    assert_eq!(got.metadata.png_color, picture.metadata.png_color);
    let want = srgb(&picture);
    for format in [OutputFormat::Webp, OutputFormat::Tiff] {
        let got = round_trip(&picture, &EncodeOptions::new(format));
        assert!(got.metadata.icc.as_ref().unwrap().len().is_multiple_of(4), "libpng refuses other lengths");
        assert!(difference(&srgb(&got), &want).0 < 0.001, "{format:?}");
    }
}

fn srgb(picture: &Picture) -> Planes {
    let mut color = picture.color.clone();
    picture.color_space().expect("not sRGB").to_srgb(&mut color);
    color
}

#[test]
fn senseless_requests_are_refused() {
    let picture = base("exact");
    for quality in [0, 101] {
        let options = EncodeOptions { quality: Some(quality), ..EncodeOptions::new(OutputFormat::Jpeg) };
        assert_eq!(encode(&picture, &options).unwrap_err().kind(), ErrorKind::Argument);
    }
    let empty = Picture::from_color(Planes::filled(3, 0, 5, 0.0));
    assert_eq!(
        encode(&empty, &EncodeOptions::new(OutputFormat::Png)).unwrap_err().kind(),
        ErrorKind::Argument
    );
    for (format, width) in [(OutputFormat::Webp, 16_384), (OutputFormat::Jpeg, 65_536)] {
        let wide = Picture::from_color(Planes::filled(3, 1, width, 0.5));
        assert_eq!(encode(&wide, &EncodeOptions::new(format)).unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let mut crooked = base("exact");
    crooked.alpha = Some(Planes::filled(1, 3, 3, 1.0));
    assert_eq!(
        encode(&crooked, &EncodeOptions::new(OutputFormat::Png)).unwrap_err().kind(),
        ErrorKind::Argument
    );
}
