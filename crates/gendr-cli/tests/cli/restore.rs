//! `gendr restore` on pictures that are well.

use std::{fs, path::Path};

use gendr_image::{Limits, Picture, read};
use serde_json::Value;
use snapbox::cmd::{Command, cargo_bin};

use crate::pictures::{waves, write};

fn gendr(root: &Path) -> Command {
    Command::new(cargo_bin!("gendr")).current_dir(root)
}

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("a.png"), waves(40, 30, 0.0, 0.1));
    root
}

fn open(path: &Path) -> Picture {
    read(path, &Limits::default()).unwrap()
}

#[test]
fn a_picture_comes_back_four_times_as_large_beside_its_input() {
    let root = folder();
    let before = fs::read(root.path().join("a.png")).unwrap();
    gendr(root.path())
        .args(["restore", "a.png"])
        .assert()
        .success()
        .stdout_eq("")
        .stderr_eq("a_x4.png: 160x120 in [..] s\n");
    let result = open(&root.path().join("a_x4.png"));
    assert_eq!((result.width(), result.height()), (160, 120));
    assert_eq!(fs::read(root.path().join("a.png")).unwrap(), before);
    gendr(root.path())
        .args(["restore", "a.png"])
        .assert()
        .code(1)
        .stderr_eq("error: the result exists already: a_x4.png\nhint: `--overwrite` replaces it\n");
}

#[test]
fn threads_and_repetitions_give_the_same_file() {
    let root = folder();
    for (name, threads) in [("one.png", "1"), ("two.png", "2"), ("again.png", "2")] {
        let arguments = ["restore", "a.png", "-o", name, "--threads", threads, "--tile", "64", "--strip"];
        gendr(root.path()).args(arguments).assert().success();
    }
    let [one, two, again] =
        ["one.png", "two.png", "again.png"].map(|name| fs::read(root.path().join(name)).unwrap());
    assert!(one == two && two == again);
}

#[test]
fn sizes_formats_and_streams() {
    let root = folder();
    let cases: [(&[&str], (usize, usize)); 5] = [
        (&["--scale", "2.5"], (100, 75)),
        (&["--width", "77"], (77, 58)),
        (&["--height", "200"], (267, 200)),
        (&["--long-side", "100"], (100, 75)),
        (&["--scale", "1"], (40, 30)),
    ];
    for (number, (size, expected)) in cases.into_iter().enumerate() {
        let name = format!("{number}.webp");
        gendr(root.path()).args(["restore", "a.png", "-o", &name]).args(size).assert().success();
        let result = open(&root.path().join(name));
        assert_eq!((result.width(), result.height()), expected, "{size:?}");
    }
    let input = fs::read(root.path().join("a.png")).unwrap();
    let assert =
        gendr(root.path()).args(["restore", "-", "-o", "-", "--format", "jpeg"]).stdin(input).assert();
    assert!(assert.success().get_output().stdout.starts_with(&[0xff, 0xd8]));
}

#[test]
fn files_of_a_pixel_and_of_a_line_are_restored() {
    let root = tempfile::tempdir().unwrap();
    for (width, height) in [(1, 1), (7, 3), (3, 20_000)] {
        write(&root.path().join("in.png"), waves(width, height, 0.0, 0.1));
        for extension in ["png", "tif", "jpg", "webp"] {
            let name = format!("{width}.{extension}");
            let assert = gendr(root.path()).args(["restore", "in.png", "-o", &name]).assert();
            if height > 7 && matches!(extension, "jpg" | "webp") {
                // JPEG ends at 65,535 rows, WebP at 16,383.
                assert.code(1).stderr_eq(format!("error: [..]: {name}\nhint: [..]\n"));
                assert!(!root.path().join(name).exists());
            } else {
                assert.success();
                let result = open(&root.path().join(&name));
                assert_eq!((result.width(), result.height()), (4 * width, 4 * height), "{name}");
            }
        }
    }
}

#[test]
fn json_is_one_object_a_picture() {
    let root = folder();
    let assert = gendr(root.path()).args(["restore", "a.png", "none.png", "-o", "out", "--json"]).assert();
    let assert = assert.code(1);
    let output = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0]["width"].as_u64(), lines[0]["height"].as_u64()), (Some(160), Some(120)));
    assert_eq!(lines[1]["error"], "no such file: none.png");
}
