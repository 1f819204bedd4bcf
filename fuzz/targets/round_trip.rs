//! Any bytes as a picture file; what can be read is written in every format, and read again.

#![no_main]

use gendr_fuzz::{LIMITS, tolerate_panics_of_others};
use gendr_image::{EncodeOptions, Limits, OutputFormat, Strip, decode, encode};
use libfuzzer_sys::fuzz_target;

const SMALL: Limits = Limits { max_pixels: 1 << 14, ..LIMITS };

fuzz_target!(init: tolerate_panics_of_others(), |bytes: &[u8]| {
    let Ok(picture) = decode(bytes, &SMALL) else { return };
    for format in [OutputFormat::Png, OutputFormat::Jpeg, OutputFormat::Webp, OutputFormat::Tiff] {
        for strip in [Strip::Nothing, Strip::Gps] {
            let options = EncodeOptions { strip, ..EncodeOptions::new(format) };
            let encoded = encode(&picture, &options).expect("a picture that was read is written");
            let again = decode(&encoded.bytes, &LIMITS).expect("what was written is read");
            assert_eq!((again.width(), again.height()), (picture.width(), picture.height()));
            assert_eq!(again.alpha.is_some(), picture.alpha.is_some() && format != OutputFormat::Jpeg);
        }
    }
});
