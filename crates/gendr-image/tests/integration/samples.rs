//! Small pictures made by other programs, sorted into folders by what they have in common.

use std::{fs, path::PathBuf};

use gendr_image::{Limits, Picture, Planes, decode};

/// Name and content of every file of a folder; fails where there is none.
pub(crate) fn folder(name: &str) -> Vec<(String, Vec<u8>)> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples")).join(name);
    let mut files: Vec<_> = fs::read_dir(root)
        .expect("the folder of samples")
        .map(|entry| entry.unwrap().path())
        .map(|path| (format!("{name}/{}", path.file_name().unwrap().display()), fs::read(&path).unwrap()))
        .collect();
    assert!(!files.is_empty(), "no samples in {name}");
    files.sort();
    files
}

/// Every sample.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    ["exact", "near", "grey", "alpha", "upright", "bilevel"].into_iter().flat_map(folder).collect()
}

/// The picture that the samples of a folder show.
pub(crate) fn base(folder: &str) -> Picture {
    let path = format!("{}/tests/samples/{folder}/base.png", env!("CARGO_MANIFEST_DIR"));
    decode(&fs::read(path).unwrap(), &Limits::default()).unwrap()
}

/// The largest and the mean difference of two pictures of one size.
pub(crate) fn difference(a: &Planes, b: &Planes) -> (f32, f32) {
    assert_eq!((a.channels(), a.width(), a.height()), (b.channels(), b.width(), b.height()));
    let differences = a.data().iter().zip(b.data()).map(|(a, b)| (a - b).abs());
    let sum: f32 = differences.clone().sum();
    (differences.fold(0.0, f32::max), sum / a.data().len() as f32)
}

/// A picture of many colours with opacity, wholly deterministic.
pub(crate) fn synthetic(width: usize, height: usize) -> Picture {
    let value = |i: usize| ((i * 40_503) % 65_536) as f32 / 65_535.0;
    let area = width * height;
    let mut picture =
        Picture::from_color(Planes::from_vec(3, height, width, (0..3 * area).map(value).collect()).unwrap());
    picture.alpha =
        Some(Planes::from_vec(1, height, width, (0..area).map(|i| value(7 * i + 3)).collect()).unwrap());
    picture
}
