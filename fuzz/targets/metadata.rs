//! Any bytes as profile, EXIF, XMP and IPTC: edited, written and read again.

#![no_main]

use gendr_fuzz::{LIMITS, tolerate_panics_of_others};
use gendr_image::{Depth, EncodeOptions, OutputFormat, Picture, Planes, Strip, Text, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: tolerate_panics_of_others(), |bytes: &[u8]| {
    let Some((&choice, block)) = bytes.split_first() else { return };
    let format = [OutputFormat::Png, OutputFormat::Jpeg, OutputFormat::Webp, OutputFormat::Tiff][usize::from(choice & 3)];
    let strip = if choice & 4 == 0 { Strip::Nothing } else { Strip::Gps };
    let mut picture = Picture::from_color(Planes::filled(3, 2, 3, 0.5));
    picture.depth = if choice & 8 == 0 { Depth::Eight } else { Depth::Sixteen };
    let metadata = &mut picture.metadata;
    match choice >> 4 & 7 {
        0 => metadata.icc = Some(block.to_vec()),
        1 => metadata.xmp = Some(block.to_vec()),
        2 => metadata.iptc = Some(block.to_vec()),
        3 => {
            let value = String::from_utf8_lossy(block).into_owned();
            metadata.texts.push(Text { keyword: "Comment".to_owned(), value });
        }
        _ => metadata.exif = Some(block.to_vec()),
    }
    if choice & 128 != 0 && metadata.set_recipe("{\"model\": \"a\"}") {
        assert_eq!(metadata.recipe().as_deref(), Some("{\"model\": \"a\"}"));
    }
    if let Some(space) = picture.color_space() {
        let mut color = picture.color.clone();
        space.to_srgb(&mut color);
        assert!(color.data().iter().all(|value| value.is_finite()));
        space.from_srgb(&mut color);
        assert!(color.data().iter().all(|value| (value - 0.5).abs() < 0.01), "{:?}", color.data());
    }
    let encoded = encode(&picture, &EncodeOptions { strip, ..EncodeOptions::new(format) }).expect("a picture is written");
    let read = decode(&encoded.bytes, &LIMITS).expect("what was written is read");
    assert_eq!((read.width(), read.height()), (3, 2));
});
