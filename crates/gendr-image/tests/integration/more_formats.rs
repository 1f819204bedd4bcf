//! JPEG XL and AVIF, which are features of the build.

use gendr_image::{EncodeOptions, ErrorKind, Format, Limits, OutputFormat, decode, encode};

use crate::samples::{base, folder};

#[test]
#[cfg(not(feature = "jxl"))]
fn a_build_without_jpeg_xl_says_so() {
    for (name, bytes) in folder("jxl") {
        assert_eq!(Format::detect(&bytes).unwrap(), Format::Jxl, "{name}");
        let error = decode(&bytes, &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
        assert!(error.hint().unwrap().contains("--features jxl"), "{name}");
    }
    refused(OutputFormat::Jxl);
}

#[test]
#[cfg(not(feature = "avif"))]
fn a_build_without_avif_says_so() {
    refused(OutputFormat::Avif);
}

#[cfg(not(all(feature = "jxl", feature = "avif")))]
fn refused(format: OutputFormat) {
    let asked = format.check_available().unwrap_err();
    let tried = encode(&base("exact"), &EncodeOptions::new(format)).unwrap_err();
    assert_eq!((asked.kind(), tried.kind()), (ErrorKind::Unsupported, ErrorKind::Unsupported));
    assert!(asked.hint().is_some());
}

#[cfg(feature = "jxl")]
mod jxl {
    use super::*;
    use crate::samples::{difference, synthetic};
    use gendr_image::{Depth, Planes};

    #[test]
    fn files_of_libjxl_are_read() {
        for (name, bytes) in folder("jxl") {
            assert_eq!(Format::detect(&bytes).unwrap(), Format::Jxl, "{name}");
            let got = decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let kind = name.trim_start_matches("jxl/").split(['_', '.']).next().unwrap();
            let (largest, mean) =
                difference(&got.color, &base(if kind == "near" { "exact" } else { kind }).color);
            match kind {
                "near" => assert!(mean < 0.03, "{name}: {mean}"),
                _ => assert!(largest < 1e-6, "{name}: {largest}"),
            }
            assert_eq!(got.grey, kind == "grey", "{name}");
            assert_eq!(got.alpha.is_some(), kind == "alpha", "{name}");
            assert_eq!(got.depth == Depth::Sixteen, name.contains("sixteen"), "{name}");
            assert!(got.notices.is_empty(), "{name}: {:?}", got.notices);
            for length in (0..bytes.len()).step_by(7) {
                assert!(decode(&bytes[..length], &Limits::default()).is_err(), "{name} cut to {length}");
            }
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        for (grey, alpha, depth) in [
            (false, false, Depth::Eight),
            (false, true, Depth::Eight),
            (true, false, Depth::Eight),
            (true, true, Depth::Eight),
            (false, false, Depth::Sixteen),
            (true, false, Depth::Sixteen),
            (false, true, Depth::Sixteen),
            (true, true, Depth::Sixteen),
        ] {
            let mut picture = synthetic(33, 21);
            picture.depth = depth;
            picture.grey = grey;
            if grey {
                picture.color = Planes::from_vec(3, 21, 33, picture.color.plane(0).repeat(3)).unwrap();
            }
            picture.alpha = picture.alpha.filter(|_| alpha);
            picture.metadata.xmp = Some(b"<xmp/>".to_vec());
            picture.metadata.exif = Some(b"II*\0\x08\0\0\0\0\0\0\0\0\0".to_vec());
            let encode = |format| encode(&picture, &EncodeOptions::new(format)).unwrap().bytes;
            let got = decode(&encode(OutputFormat::Jxl), &Limits::default()).unwrap();
            let want = decode(&encode(OutputFormat::Png), &Limits::default()).unwrap();
            assert!(difference(&got.color, &want.color).0 < 1e-6, "{grey} {alpha} {depth:?}");
            // The encoder cannot write 16-bit grey with opacity as such.
            let stays_grey = grey && !(alpha && depth == Depth::Sixteen);
            assert_eq!((got.grey, got.depth, &got.alpha), (stays_grey, depth, &want.alpha));
            assert_eq!((got.metadata.xmp, got.metadata.exif), (want.metadata.xmp, want.metadata.exif));
        }
    }

    #[test]
    fn a_line_of_pixels_is_refused() {
        let error = encode(&synthetic(1, 5), &EncodeOptions::new(OutputFormat::Jxl)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hint().is_some());
    }
}

#[cfg(feature = "avif")]
mod avif {
    use super::*;
    use crate::samples::difference;
    use gendr_image::Depth;
    use moxcms::ColorProfile;

    #[test]
    fn files_of_libavif_are_read() {
        for (name, bytes) in folder("avif") {
            assert_eq!(Format::detect(&bytes).unwrap(), Format::Avif, "{name}");
            let got = decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            for length in (0..bytes.len()).step_by(bytes.len() / 60 + 1) {
                assert!(decode(&bytes[..length], &Limits::default()).is_err(), "{name} cut to {length}");
            }
            let kind = name.trim_start_matches("avif/").split(['_', '.']).next().unwrap();
            if kind == "grid" {
                assert_eq!((got.width(), got.height()), (192, 128));
                let want = base("exact").color;
                let (mut sum, area) = (0.0, 192 * 128);
                for at in 0..3 * area {
                    let (channel, y, x) = (at / area, at % area / 192, at % 192);
                    sum += (got.color.data()[at] - want.row(channel, y / 8)[x / 8]).abs();
                }
                let mean = sum / (3 * area) as f32;
                assert!(mean < 0.01, "{name}: {mean}");
                continue;
            }
            let want = base(if kind == "near" { "exact" } else { kind });
            let (largest, mean) = difference(&got.color, &want.color);
            let most = match name.trim_start_matches("avif/") {
                name if name.contains("premultiplied") => 1.0,
                name if name.starts_with("exact") || name.contains("lossless") => 1e-6,
                "near_ten.avif" | "near_twelve.avif" | "grey_400.avif" => 0.02,
                // Little is left of colours that change at every pixel.
                _ => 1.0,
            };
            assert!(largest <= most && mean < 0.08, "{name}: {largest}, mean {mean}");
            assert_eq!(got.grey, kind == "grey", "{name}");
            assert_eq!(
                got.depth == Depth::Sixteen,
                name.contains("ten") || name.contains("twelve"),
                "{name}"
            );
            assert_eq!(got.alpha, want.alpha, "{name}");
            assert!(got.notices.is_empty(), "{name}: {:?}", got.notices);
        }
    }

    #[test]
    fn what_is_written_can_be_read_with_profile_and_metadata() {
        for name in ["exact", "grey", "alpha"] {
            let mut picture = base(name);
            picture.metadata.xmp = Some(b"<xmp/>".to_vec());
            picture.metadata.exif = Some(b"II*\0\x08\0\0\0\0\0\0\0\0\0".to_vec());
            picture.metadata.icc = (name != "grey").then(|| ColorProfile::new_adobe_rgb().encode().unwrap());
            let options = EncodeOptions { quality: Some(98), ..EncodeOptions::new(OutputFormat::Avif) };
            let encoded = encode(&picture, &options).unwrap();
            assert!(encoded.notices.is_empty(), "{name}: {:?}", encoded.notices);
            let got = decode(&encoded.bytes, &Limits::default()).unwrap();
            let (_, mean) = difference(&got.color, &picture.color);
            assert!(mean < 0.02, "{name}: {mean}");
            assert_eq!(got.alpha.is_some(), picture.alpha.is_some(), "{name}");
            assert_eq!(got.metadata.exif, picture.metadata.exif, "{name}");
            assert_eq!(got.metadata.xmp, picture.metadata.xmp, "{name}");
            assert_eq!(got.metadata.icc, picture.metadata.icc, "{name}");
        }
    }

    #[test]
    fn changed_bytes_are_errors_at_worst() {
        let limits = Limits { max_pixels: 1 << 20, max_bytes: 64 << 20 };
        for (name, bytes) in folder("avif") {
            // The boxes; streams are the decoder's own affair.
            for at in 0..bytes.len().min(420) {
                let mut changed = bytes.clone();
                changed[at] ^= 0x81;
                if let Err(error) = decode(&changed, &limits) {
                    assert!(!error.to_string().contains('\n'), "{name}: {error}");
                }
            }
        }
    }
}

#[cfg(feature = "webp-lossy")]
#[test]
fn lossy_webp_is_written_where_a_quality_is_asked_for() {
    use crate::samples::difference;
    for name in ["exact", "grey", "alpha"] {
        let mut picture = base(name);
        picture.metadata.xmp = Some(b"<xmp/>".to_vec());
        picture.metadata.exif = Some(b"II*\0\x08\0\0\0\0\0\0\0\0\0".to_vec());
        let options = EncodeOptions { quality: Some(90), ..EncodeOptions::new(OutputFormat::Webp) };
        let encoded = encode(&picture, &options).unwrap();
        assert!(encoded.bytes.windows(4).any(|kind| kind == b"VP8 "), "{name}");
        let got = decode(&encoded.bytes, &Limits::default()).unwrap();
        assert!(difference(&got.color, &picture.color).1 < 0.15, "{name}");
        assert_eq!(got.alpha, picture.alpha, "{name}");
        assert_eq!(
            (&got.metadata.exif, &got.metadata.xmp),
            (&picture.metadata.exif, &picture.metadata.xmp),
            "{name}"
        );
        let lossless = encode(&picture, &EncodeOptions::new(OutputFormat::Webp)).unwrap();
        assert!(lossless.bytes.windows(4).any(|kind| kind == b"VP8L"), "{name}");
    }
}
