//! Pictures read in bands are those that are read at once.

use std::io::Cursor;

use gendr_image::{
    Band, EncodeOptions, ErrorKind, Limits, OutputFormat, Picture, Planes, StripReader, decode, encode,
};
use proptest::prelude::*;

use crate::samples::{all, base, folder, synthetic};

fn open(bytes: &[u8]) -> StripReader {
    StripReader::new(Cursor::new(bytes.to_vec()), &Limits::default()).unwrap()
}

/// All bands of `rows` rows joined, with what the header says.
fn joined(mut reader: StripReader, rows: usize) -> Picture {
    let (width, height) = reader.size();
    let mut color = vec![Vec::new(); 3];
    let mut opacity = Vec::new();
    while let Some(Band { color: band, alpha }) = reader.read(rows).unwrap() {
        assert_eq!(band.width(), width);
        assert!(band.height() == rows || reader.remaining() == 0);
        for (channel, plane) in color.iter_mut().enumerate() {
            plane.extend_from_slice(band.plane(channel));
        }
        opacity.extend(alpha.map(Planes::into_vec).unwrap_or_default());
    }
    let mut picture = reader.header().clone();
    picture.color = Planes::from_vec(3, height, width, color.concat()).unwrap();
    picture.alpha = picture.alpha.map(|_| Planes::from_vec(1, height, width, opacity).unwrap());
    picture
}

#[test]
fn bands_of_every_sample_make_the_whole() {
    for (name, bytes) in all() {
        let want = decode(&bytes, &Limits::default()).unwrap();
        for rows in [1, 5, 1000] {
            let got = joined(open(&bytes), rows);
            assert_eq!(got.metadata, want.metadata, "{name}");
            assert_eq!(got.notices, want.notices, "{name}");
            assert_eq!(got, want, "{name} in bands of {rows}");
        }
    }
}

#[test]
fn png_and_tiff_that_stand_upright_are_not_held() {
    let mut picture = synthetic(512, 512);
    picture.metadata.xmp = Some(b"<xmp/>".to_vec());
    for format in [OutputFormat::Png, OutputFormat::Tiff] {
        let bytes = encode(&picture, &EncodeOptions::new(format)).unwrap().bytes;
        let reader = open(&bytes);
        let held = reader.held_bytes();
        assert!(format == OutputFormat::Png || held < 1 << 20, "{format:?}: {held}");
        assert_eq!(joined(reader, 100), decode(&bytes, &Limits::default()).unwrap(), "{format:?}");
    }
    let reader = open(&encode(&picture, &EncodeOptions::new(OutputFormat::Webp)).unwrap().bytes);
    assert_eq!(reader.held_bytes(), 512 * 512 * 4);
}

#[test]
fn texts_behind_the_pixels_are_known_before_them() {
    let mut bytes = encode(&base("exact"), &EncodeOptions::new(OutputFormat::Png)).unwrap().bytes;
    let end = bytes.len() - 12;
    bytes.splice(end..end, *b"\0\0\0\x0btEXtAuthor\0Anna\xd8\xf5\x84\x54");
    let reader = open(&bytes);
    assert_eq!(reader.header().metadata.texts[0].value, "Anna");
    assert_eq!(joined(reader, 7), decode(&bytes, &Limits::default()).unwrap());
}

#[test]
fn damage_is_told_when_it_is_reached() {
    for (name, bytes) in folder("exact") {
        for length in (0..bytes.len()).step_by(bytes.len() / 20 + 1) {
            let read = |bytes: &[u8]| -> gendr_image::Result<()> {
                let mut reader = StripReader::new(Cursor::new(bytes.to_vec()), &Limits::default())?;
                while reader.read(3)?.is_some() {}
                Ok(())
            };
            let (by_bands, at_once) = (read(&bytes[..length]), decode(&bytes[..length], &Limits::default()));
            assert_eq!(by_bands.is_err(), at_once.is_err(), "{name} cut to {length}: {by_bands:?}");
        }
    }
    assert_eq!(open(&folder("exact")[0].1).read(0).unwrap_err().kind(), ErrorKind::Argument);
    let limits = Limits { max_pixels: 10, ..Limits::default() };
    for (name, bytes) in folder("exact") {
        let error = StripReader::new(Cursor::new(bytes), &limits).err().unwrap_or_else(|| panic!("{name}"));
        assert_eq!(error.kind(), ErrorKind::Limit, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_bytes_never_panic(sample: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let samples = all();
        let (name, bytes) = sample.get(&samples);
        let mut bytes = bytes.clone();
        for (place, value) in changes {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        let limits = Limits { max_pixels: 1 << 22, max_bytes: 256 << 20 };
        let read = || -> gendr_image::Result<()> {
            let mut reader = StripReader::new(Cursor::new(bytes.clone()), &limits)?;
            while reader.read(50)?.is_some() {}
            Ok(())
        };
        if let Err(error) = read() {
            prop_assert!(!error.to_string().contains('\n'), "{name}: {error}");
        }
    }
}
