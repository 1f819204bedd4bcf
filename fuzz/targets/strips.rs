//! Any bytes as a picture file, read in bands: the same pixels or an error as at once.

#![no_main]

use std::io::Cursor;

use gendr_fuzz::{LIMITS, check, tolerate_panics_of_others};
use gendr_image::{Result, StripReader, decode};
use libfuzzer_sys::fuzz_target;

fn bands(bytes: &[u8]) -> Result<Vec<f32>> {
    let mut reader = StripReader::new(Cursor::new(bytes.to_vec()), &LIMITS)?;
    let mut red = Vec::new();
    while let Some(band) = reader.read(7)? {
        red.extend_from_slice(band.color.plane(0));
    }
    Ok(red)
}

fuzz_target!(init: tolerate_panics_of_others(), |bytes: &[u8]| {
    match (bands(bytes), decode(bytes, &LIMITS)) {
        (Ok(red), Ok(picture)) => assert_eq!(red, picture.color.plane(0)),
        (Err(error), _) => check(&error),
        // Bands need less memory, and do not read what is not needed.
        (Ok(_), Err(_)) => {}
    }
});
