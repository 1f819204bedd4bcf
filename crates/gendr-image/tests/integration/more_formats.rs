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
            assert_eq!((got.grey, got.depth, &got.alpha), (grey, depth, &want.alpha));
            assert_eq!((got.metadata.xmp, got.metadata.exif), (want.metadata.xmp, want.metadata.exif));
        }
    }

    #[test]
    fn opacity_in_sixteen_bits_is_refused() {
        let mut picture = synthetic(5, 5);
        picture.depth = Depth::Sixteen;
        let error = encode(&picture, &EncodeOptions::new(OutputFormat::Jxl)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hint().is_some());
    }
}

#[test]
#[cfg(feature = "avif")]
fn avif_files_are_such_and_colors_are_converted() {
    use moxcms::ColorProfile;
    for folder in ["exact", "grey", "alpha"] {
        let mut picture = base(folder);
        let encoded = encode(&picture, &EncodeOptions::new(OutputFormat::Avif)).unwrap();
        assert_eq!(&encoded.bytes[4..12], b"ftypavif", "{folder}");
        assert!(encoded.notices.is_empty(), "{folder}: {:?}", encoded.notices);
        picture.grey = false;
        picture.metadata.icc = Some(ColorProfile::new_adobe_rgb().encode().unwrap());
        let encoded = encode(&picture, &EncodeOptions::new(OutputFormat::Avif)).unwrap();
        assert!(encoded.notices.iter().any(|notice| notice.to_string().contains("sRGB")), "{folder}");
    }
}
