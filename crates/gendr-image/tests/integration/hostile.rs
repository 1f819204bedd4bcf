//! Damaged, truncated and lying files: an error of one line, never a panic, never much memory.

use gendr_image::{ErrorKind, Limits, decode};
use proptest::prelude::*;

use crate::samples::all;

/// Little enough that a decoder which trusted a lying header would be seen.
const LIMITS: Limits = Limits { max_pixels: 1 << 22, max_bytes: 256 << 20 };

fn check(name: &str, bytes: &[u8]) {
    if let Err(error) = decode(bytes, &LIMITS) {
        assert!(!error.to_string().is_empty() && !error.to_string().contains('\n'), "{name}: {error}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for (name, bytes) in all() {
        let step = (bytes.len() / 60).max(1);
        for length in (0..bytes.len()).step_by(step).chain(bytes.len().saturating_sub(12)..bytes.len()) {
            let cut = &bytes[..length];
            // Formats without an end marker can lose what is not pixels; the last rows they cannot.
            let needless = (name.ends_with(".tga") || name.ends_with(".tif") || name.ends_with("ascii.ppm"))
                && length * 10 > bytes.len() * 3;
            match decode(cut, &LIMITS) {
                Ok(_) => assert!(needless, "{name} cut to {length} of {} was read", bytes.len()),
                Err(error) => assert!(!error.to_string().contains('\n'), "{name}: {error}"),
            }
        }
    }
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(&header);
    bytes.extend(crc(&header).to_be_bytes());
    bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn bmp(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend(b"\x01\0\x18\0");
    bytes.extend([0; 24]);
    bytes
}

fn tiff(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0\x09\0".to_vec();
    for (tag, kind, value) in [
        (256u16, 4u16, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, width.wrapping_mul(height)),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn headers_that_lie_about_the_size_are_refused() {
    let huge = 1u32 << 31;
    let pnm = |size: &str| format!("P6 {size} 255\n").into_bytes();
    let cases = [
        ("a PNG of 0x0", png(0, 0)),
        ("a PNG of 100000x100000", png(100_000, 100_000)),
        ("a PNG of 2^31-1", png(i32::MAX as u32, i32::MAX as u32)),
        ("a PNG without data", png(2000, 2000)),
        ("a BMP of 2^31-1", bmp(i32::MAX, i32::MAX)),
        ("a BMP of -2^31", bmp(i32::MIN, i32::MIN)),
        ("a BMP of 0x0", bmp(0, 0)),
        ("a BMP without data", bmp(2000, 2000)),
        ("a TIFF of 2^31", tiff(huge, huge)),
        ("a TIFF of 2^32-1", tiff(u32::MAX, u32::MAX)),
        ("a TIFF of 0x0", tiff(0, 0)),
        ("a TIFF without data", tiff(2000, 2000)),
        ("a PPM of 2^31", pnm("2147483648 2147483648")),
        ("a PPM of 2^64", pnm("18446744073709551616 1")),
        ("a PPM of 0x0", pnm("0 0")),
        ("a PPM without data", pnm("2000 2000")),
        ("a QOI of 2^32-1", b"qoif\xff\xff\xff\xff\xff\xff\xff\xff\x04\0".to_vec()),
        ("a TGA of 65535x65535", b"\0\0\x02\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\x18\0".to_vec()),
        ("a GIF of 65535x65535", b"GIF89a\xff\xff\xff\xff\0\0\0\x3b".to_vec()),
    ];
    for (name, bytes) in cases {
        let error = decode(&bytes, &LIMITS).expect_err(name);
        assert!(
            matches!(error.kind(), ErrorKind::Input | ErrorKind::Limit | ErrorKind::Unsupported),
            "{name}: {error}"
        );
    }
    let error = decode(&png(100_000, 100_000), &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("100000x100000"), "{error}");
}

#[test]
fn limits_count_pixels_and_bytes() {
    let (name, bytes) = &all()[0];
    let decode = |max_pixels, max_bytes| decode(bytes, &Limits { max_pixels, max_bytes });
    assert!(decode(24 * 16, 1 << 20).is_ok(), "{name}");
    assert_eq!(decode(24 * 16 - 1, 1 << 20).unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(decode(24 * 16, 24 * 16).unwrap_err().kind(), ErrorKind::Limit);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_never_panic(sample: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let samples = all();
        let (name, bytes) = sample.get(&samples);
        let mut bytes = bytes.clone();
        for (place, value) in changes {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        check(name, &bytes);
    }

    #[test]
    fn garbage_behind_a_signature_never_panics(sample: prop::sample::Index, head in 4..40usize, garbage in prop::collection::vec(any::<u8>(), 0..300)) {
        let samples = all();
        let (name, bytes) = sample.get(&samples);
        let mut bytes = bytes[..head.min(bytes.len())].to_vec();
        bytes.extend(garbage);
        check(name, &bytes);
    }
}

#[test]
fn a_gif_frame_to_the_right_of_the_canvas_is_not_seen() {
    let mut bytes = b"GIF89a\x02\0\x02\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    bytes.extend(b"\x2c\xff\xff\0\0\x01\0\x01\0\0\x02\x02\x4c\x01\0\x3b");
    let picture = decode(&bytes, &Limits::default()).unwrap();
    assert_eq!((picture.width(), picture.height()), (2, 2));
    assert!(picture.alpha.unwrap().data().iter().all(|&opacity| opacity == 0.0));
}
