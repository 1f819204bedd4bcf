//! Small pictures for tests.

use std::{fs, path::Path};

use gendr_image::{EncodeOptions, OutputFormat, Picture, Planes, encode};

/// Waves of colour with noise of the given strength, the same on every machine.
pub(crate) fn waves(width: usize, height: usize, phase: f32, noise: f32) -> Planes {
    let value = |index: usize| {
        let (x, y) = ((index % width) as f32, (index / width % height) as f32);
        let wave = (0.2 * x + phase).sin() * (0.17 * y).cos();
        0.5 + 0.3 * wave + noise * ((index * 7919 % 101) as f32 / 101.0 - 0.5)
    };
    Planes::from_vec(3, height, width, (0..3 * width * height).map(value).collect()).unwrap()
}

/// Writes a PNG, with the folders it needs.
pub(crate) fn write(path: &Path, color: Planes) {
    let file = encode(&Picture::from_color(color), &EncodeOptions::new(OutputFormat::Png)).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, file.bytes).unwrap();
}
