//! Any bytes as a picture file.

#![no_main]

use gendr_fuzz::{LIMITS, check, tolerate_panics_of_others};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: tolerate_panics_of_others(), |bytes: &[u8]| {
    match gendr_image::decode(bytes, &LIMITS) {
        Ok(picture) => {
            assert!((picture.width() * picture.height()) as u64 <= LIMITS.max_pixels);
            assert!(picture.color.data().iter().all(|value| value.is_finite()));
        }
        Err(error) => check(&error),
    }
});
