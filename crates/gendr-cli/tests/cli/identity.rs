//! With a network that leaves everything as it is (`--fidelity 1` gives the plainly enlarged input), a file differs from a
//! plain upscale by at most one level at its own depth, through every format that is lossless.

use std::{fs, path::Path};

use gendr_image::{
    Depth, EncodeOptions, Limits, OutputFormat, Picture, Planes, PngColor, Resampling, encode, read, resize,
    upscale,
};
use snapbox::cmd::{Command, cargo_bin};

/// Noise of many levels, colours outside sRGB among them where the space is larger.
fn noise(width: usize, height: usize, depth: Depth, grey: bool, alpha: bool) -> Picture {
    let value = |i: usize| ((i * 40_503 + i * i % 977) % 65_536) as f32 / 65_535.0;
    let area = width * height;
    let color = (0..3 * area).map(|i| value(if grey { i % area } else { i })).collect();
    let mut picture = Picture::from_color(Planes::from_vec(3, height, width, color).unwrap());
    // Never wholly transparent: hidden colour would be filled.
    let opacity = (0..area).map(|i| 0.1 + 0.9 * value(7 * i + 3)).collect();
    picture.alpha = alpha.then(|| Planes::from_vec(1, height, width, opacity).unwrap());
    (picture.grey, picture.depth) = (grey, depth);
    picture
}

/// Display P3 as PNG chunks; other formats get it as a profile.
fn display_p3() -> PngColor {
    PngColor {
        gamma: Some(45_455),
        chromaticities: Some([31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000]),
        ..PngColor::default()
    }
}

fn check(root: &Path, picture: &Picture, format: OutputFormat, scale: usize) {
    let what =
        format!("{format:?} {:?} grey {} alpha {}", picture.depth, picture.grey, picture.alpha.is_some());
    let (before, after) = (
        root.join("in").with_extension(format.extension()),
        root.join("out").with_extension(format.extension()),
    );
    fs::write(&before, encode(picture, &EncodeOptions::new(format)).unwrap().bytes).unwrap();
    let scaled = scale.to_string();
    Command::new(cargo_bin!("gendr"))
        .args([
            "restore",
            "--fidelity",
            "1",
            "--color-fix",
            "none",
            "--overwrite",
            "--quiet",
            "--scale",
            &scaled,
        ])
        .arg(&before)
        .arg("-o")
        .arg(&after)
        .assert()
        .success();
    let [source, result] = [&before, &after].map(|path| read(path, &Limits::default()).unwrap());
    assert_eq!((result.depth, result.grey), (source.depth, source.grey), "{what}");
    assert_eq!(result.metadata.icc, source.metadata.icc, "{what}");
    assert_eq!(result.metadata.png_color, source.metadata.png_color, "{what}");

    let size = (source.width() * scale, source.height() * scale);
    let mut color = source.color.clone();
    let space = source.color_space();
    if let Some(space) = &space {
        space.to_srgb(&mut color);
    }
    let mut color = upscale(&color, size.0, size.1).unwrap();
    if let Some(space) = &space {
        space.from_srgb(&mut color);
    }
    let level = match source.depth {
        Depth::Eight => 1.0 / 255.0,
        Depth::Sixteen => 1.0 / 65_535.0,
        Depth::Float => 1e-5,
    };
    let worst = |got: &Planes, want: &Planes| {
        let pairs = got.data().iter().zip(want.data());
        pairs.map(|(got, want)| (got - want.clamp(0.0, 1.0)).abs()).fold(0.0, f32::max) / level
    };
    // Half a level and more is rounding of the file itself.
    assert!(worst(&result.color, &color) <= 1.0, "{what}: off by {} levels", worst(&result.color, &color));
    assert_eq!(result.alpha.is_some(), source.alpha.is_some(), "{what}");
    if let (Some(got), Some(alpha)) = (&result.alpha, &source.alpha) {
        let want = resize(alpha, size.0, size.1, Resampling::PILLOW_BICUBIC).unwrap();
        assert!(worst(got, &want) <= 1.0, "{what}: opacity off by {} levels", worst(got, &want));
    }
}

#[test]
fn nothing_but_the_size_changes_where_the_network_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let kinds = [
        (OutputFormat::Png, Depth::Eight),
        (OutputFormat::Png, Depth::Sixteen),
        (OutputFormat::Tiff, Depth::Eight),
        (OutputFormat::Tiff, Depth::Sixteen),
        (OutputFormat::Tiff, Depth::Float),
        (OutputFormat::Webp, Depth::Eight),
    ];
    for (format, depth) in kinds {
        for (grey, alpha) in [(false, false), (false, true), (true, false), (true, true)] {
            // WebP has no grey.
            if !(grey && format == OutputFormat::Webp) {
                check(root.path(), &noise(23, 18, depth, grey, alpha), format, 2);
            }
        }
        let mut wide = noise(23, 18, depth, false, false);
        wide.metadata.png_color = display_p3();
        check(root.path(), &wide, format, 1);
    }
}
