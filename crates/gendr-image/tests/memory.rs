//! Hostile files in a process that counts its memory: never more than the limit, never a panic, never a hang.
//!
//! One test, for the count is of the whole process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "integration/samples.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use more of it")]
mod samples;

mod hostile;

use std::{
    io::Cursor,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use gendr_image::{EncodeOptions, Limits, OutputFormat, Strip, StripReader, decode, encode};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const LIMITS: Limits = Limits { max_pixels: 1 << 24, max_bytes: 128 << 20 };
/// What profiles, texts and the like may take besides the limit.
const BESIDES: usize = 96 << 20;
/// Nothing takes a hundredth of it.
const HANG: Duration = Duration::from_secs(10);

/// Everything that is done with a file of a stranger; whether it was read.
fn handle(bytes: &[u8]) -> bool {
    let by_bands = || -> gendr_image::Result<()> {
        let mut reader = StripReader::new(Cursor::new(bytes.to_vec()), &LIMITS)?;
        while reader.read(64)?.is_some() {}
        Ok(())
    };
    let banded = by_bands();
    let whole = decode(bytes, &LIMITS);
    for error in banded.err().iter().chain(whole.as_ref().err()) {
        let message = error.to_string();
        assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
    }
    let Ok(mut picture) = whole else { return false };
    picture.fill_hidden_color();
    if let Some(space) = picture.color_space() {
        space.to_srgb(&mut picture.color);
        space.from_srgb(&mut picture.color);
    }
    if picture.width() * picture.height() <= 1 << 12 {
        picture.metadata.set_recipe("{}");
        for format in [OutputFormat::Png, OutputFormat::Jpeg, OutputFormat::Webp, OutputFormat::Tiff] {
            let options = EncodeOptions { strip: Strip::Gps, ..EncodeOptions::new(format) };
            let encoded = encode(&picture, &options).unwrap();
            decode(&encoded.bytes, &Limits::default()).unwrap();
        }
    }
    true
}

#[test]
fn hostile_files_cost_no_more_than_the_limit() {
    let (sender, results) = mpsc::channel();
    let files = hostile::files();
    let count = files.len();
    assert!(count >= 300, "{count} files");
    thread::spawn(move || {
        for (name, bytes) in files {
            let before = MEMORY.current_usage();
            MEMORY.reset_peak_usage();
            let start = Instant::now();
            let result = std::panic::catch_unwind(|| handle(&bytes));
            let used = MEMORY.peak_usage().saturating_sub(before);
            if sender.send((name, result.ok(), used, start.elapsed())).is_err() {
                return;
            }
        }
    });
    let (mut read, mut most, mut longest) = (0, (0, String::new()), (Duration::ZERO, String::new()));
    let mut last = "the first".to_owned();
    for _ in 0..count {
        let (name, result, used, time) =
            results.recv_timeout(HANG).unwrap_or_else(|_| panic!("what follows {last} hangs"));
        read += usize::from(result.unwrap_or_else(|| panic!("{name} made the program panic")));
        assert!(used <= LIMITS.max_bytes as usize + BESIDES, "{name} took {} MiB", used >> 20);
        most = most.max((used, name.clone()));
        longest = longest.max((time, name.clone()));
        last = name;
    }
    println!(
        "{count} files, {read} of them readable; most memory {} MiB ({}), longest {:?} ({})",
        most.0 >> 20,
        most.1,
        longest.0,
        longest.1
    );
    assert!(read > 0 && read < count);
}
