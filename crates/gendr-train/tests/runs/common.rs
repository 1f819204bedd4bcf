//! Pictures to learn from, and runs on them.

use gendr_train::Paths;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Enough for one held-out picture.
const PICTURES: usize = 18;
const SIDE: usize = 48;

/// A folder with `photos/*.png`.
pub(crate) fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).expect("a new folder");
    for index in 0..PICTURES {
        write_picture(&photos.join(format!("{index:02}.png")), index, SIDE);
    }
    folder
}

/// Waves and edges, other ones for every index.
pub(crate) fn write_picture(path: &Path, index: usize, side: usize) {
    let value = |x: usize, y: usize, c: usize| {
        let (x, y, i) = (x as f64, y as f64, index as f64 + 1.0);
        let wave = (x * 0.11 * i).sin() * (y * 0.07 * i + c as f64).cos();
        let edge = if (x + y * 0.3 * i) % 17.0 < 6.0 { 0.3 } else { -0.2 };
        (128.0 + 70.0 * wave + 90.0 * edge) as u8
    };
    let bytes: Vec<u8> = (0..3 * side * side).map(|i| value(i / 3 % side, i / 3 / side, i % 3)).collect();
    let file = fs::File::create(path).expect("room");
    let mut encoder = png::Encoder::new(file, side as u32, side as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("room");
    writer.write_image_data(&bytes).expect("room");
}

pub(crate) fn paths(data: &Path, run: &str) -> Paths {
    let device = std::env::var("GENDR_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let device = gendr_train::device(&device).expect("a device");
    Paths { data: data.to_owned(), cache: data.join("cache"), run: data.join(run), device }
}

/// The newest checkpoint of a run.
pub(crate) fn newest_checkpoint(run: &Path) -> PathBuf {
    let entries = fs::read_dir(run).expect("a run").map(|entry| entry.expect("readable").path());
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    entries.filter(|path| name(path).starts_with("checkpoint-")).max().expect("a checkpoint")
}

/// The numbers called `key` in the log of a run.
pub(crate) fn logged(run: &Path, key: &str) -> Vec<f64> {
    let text = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    lines.filter_map(|line| line[key].as_f64()).collect()
}

/// True from the `n`-th time on.
pub(crate) fn after(n: usize) -> impl Fn() -> bool {
    let count = std::cell::Cell::new(0);
    move || {
        count.set(count.get() + 1);
        count.get() > n
    }
}
