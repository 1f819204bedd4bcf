//! Pictures and requests that cannot be restored: one line that ends with the file, and nothing written.

use std::{fs, path::Path};

use gendr_image::{EncodeOptions, OutputFormat, Picture, encode};
use snapbox::cmd::{Command, cargo_bin};

use crate::pictures::{waves, write};

/// Restores `input` inside `root` and checks the exit status and what is said; only the input may be there afterwards.
fn refused(root: &Path, arguments: &[&str], status: i32, said: &str) {
    let before = names(root);
    let command = Command::new(cargo_bin!("gendr")).current_dir(root).arg("restore").args(arguments);
    command.assert().code(status).stdout_eq("").stderr_eq(said.to_owned());
    assert_eq!(names(root), before, "{arguments:?}");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn bytes(format: OutputFormat) -> Vec<u8> {
    encode(&Picture::from_color(waves(40, 30, 0.0, 0.1)), &EncodeOptions::new(format)).unwrap().bytes
}

/// A PNG without pixels whose header claims this size.
fn png_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut file = bytes(OutputFormat::Png);
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32(&file[12..29]);
    file[29..33].copy_from_slice(&sum.to_be_bytes());
    file
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[test]
fn damaged_files_are_named_with_the_reason() {
    let half = |format| {
        let file = bytes(format);
        file[..file.len() / 2].to_vec()
    };
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("empty.png", Vec::new(), "the file is empty"),
        ("half.png", half(OutputFormat::Png), "the PNG ends early"),
        ("half.jpg", half(OutputFormat::Jpeg), "the JPEG ends early"),
        ("text.png", b"These are words, and no picture.\n".repeat(9), "not a picture but text"),
        ("none.png", png_of_size(0, 0), "damaged PNG file: Invalid image dimensions"),
        (
            "huge.png",
            png_of_size(100_000, 100_000),
            "100000x100000 is 10000 megapixels, over the limit of 1073",
        ),
    ];
    for (name, content, reason) in cases {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(name), content).unwrap();
        refused(root.path(), &[name, "-o", "out.png"], 1, &format!("error: {reason}: {name}\n"));
    }
}

#[test]
fn what_is_not_there_is_said_before_anything_is_written() {
    let root = tempfile::tempdir().unwrap();
    refused(root.path(), &["a.png"], 1, "error: no such file: a.png\n");
    write(&root.path().join("a.png"), waves(16, 16, 0.0, 0.0));
    refused(root.path(), &["a.png", "-o", "b/c.png"], 2, "error: no such folder: b\n");
}

#[test]
#[cfg(unix)]
fn a_pipe_without_a_writer_is_refused_and_standard_input_is_read() {
    let root = tempfile::tempdir().unwrap();
    let pipe = root.path().join("pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let said = "error: a pipe or a device, not a file: pipe.png\n\
                hint: save its content as a file, or let `gendr restore -` read it as standard input\n";
    let commands: [&[&str]; 4] = [
        &["restore", "pipe.png"],
        &["restore", "pipe.png", "-o", "out.webp"],
        &["restore", "pipe.png", "--dry-run"],
        &["recipe", "pipe.png"],
    ];
    let command = || {
        let command = Command::new(cargo_bin!("gendr")).current_dir(root.path());
        command.timeout(std::time::Duration::from_secs(60))
    };
    for arguments in commands {
        command().args(arguments).assert().code(1).stderr_eq(said);
    }
    // A folder holds files alone.
    write(&root.path().join("in/a.png"), waves(16, 16, 0.0, 0.0));
    fs::rename(&pipe, root.path().join("in/pipe.png")).unwrap();
    command().args(["restore", "in", "-o", "out", "--quiet"]).assert().success();
    assert_eq!(names(&root.path().join("out")), [".gendr-journal.jsonl", "a.png"]);
    let picture = bytes(OutputFormat::Png);
    command().args(["restore", "-", "-o", "out.png"]).stdin(picture).assert().success();
    assert!(root.path().join("out.png").exists());
}

#[test]
#[cfg(target_os = "linux")]
fn a_place_that_cannot_be_written_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("a.png"), waves(16, 16, 0.0, 0.0));
    // Nobody, root included, may make files in /proc.
    let command = || Command::new(cargo_bin!("gendr")).current_dir(root.path()).args(["restore", "a.png"]);
    command().args(["-o", "/proc/out.png"]).assert().code(1).stderr_eq("error: [..]: /proc/out.png\n");
    // /dev/full is a disk without space.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(cargo_bin!("gendr"))
        .current_dir(root.path())
        .args(["restore", "a.png", "-o", "-"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: no space left on the disk: -\n");
    assert_eq!(names(root.path()), ["a.png"]);
}

#[test]
fn senseless_scales_are_refused() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("a.png"), waves(16, 16, 0.0, 0.0));
    for scale in ["0", "-1", "NaN", "inf", "1e9"] {
        let said = "error: the scale must be more than 0 and at most 64, not [..]\n";
        refused(root.path(), &["a.png", "--scale", scale], 2, said);
    }
}

#[test]
fn senseless_options_are_refused_on_one_line() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("a.png"), waves(16, 16, 0.0, 0.0));
    let cases: [(&[&str], &str); 10] = [
        (&["--tile", "1"], "error: the tile must be a multiple of 8 and at least 64 pixels, not 1\n"),
        (&["--tile", "-8"], "error: invalid value '-8' for '--tile <N>': [..]\nhint: [..]\n"),
        (&["--overlap", "10000"], "error: the overlap of 10000 is more than half the tile of 1024\n"),
        (&["--fidelity", "2"], "error: fidelity must be from 0 to 1, not 2\n"),
        (&["--guidance", "nan"], "error: guidance must be from 0 to 100, not NaN\n"),
        (&["--threads", "0"], "error: invalid value '0' for '--threads <N>': [..]\nhint: [..]\n"),
        (&["--threads", "100000"], "error: at most 1024 threads are possible, not 100000\n"),
        (&["--precision", "f16"], "error: the processor computes in f32 or bf16, not f16\nhint: [..]\n"),
        (&["--device", "cuda"], "error: [..]: this build has no device `cuda`\nhint: [..]\n"),
        (&["--scale", "2", "--width", "9"], "error: [..] cannot be used with [..]\nhint: [..]\n"),
    ];
    for (options, said) in cases {
        refused(root.path(), &[&["a.png"], options].concat(), 2, said);
    }
    refused(root.path(), &["-", "-"], 2, "error: standard input can be read once\n");
    refused(root.path(), &["--nosuch"], 2, "error: unexpected argument '--nosuch' found\nhint: [..]\n");
}

#[test]
fn an_instruction_set_that_the_machine_lacks_is_refused() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("a.png"), waves(16, 16, 0.0, 0.0));
    let command = Command::new(cargo_bin!("gendr")).current_dir(root.path()).env("GENDR_SIMD", "mmx");
    let assert = command.args(["restore", "a.png"]).assert();
    assert.code(2).stderr_eq("error: GENDR_SIMD=mmx: this machine has only scalar[..]\n");
    let command = Command::new(cargo_bin!("gendr")).current_dir(root.path()).env("GENDR_SIMD", "scalar");
    command.args(["restore", "a.png"]).assert().success();
}

#[test]
#[cfg(not(feature = "train"))]
fn training_that_is_not_built_in_says_how_to_build_it() {
    for arguments in [&["train"][..], &["train", "regress", "--config", "x.toml"]] {
        let assert = Command::new(cargo_bin!("gendr")).args(arguments).assert();
        assert.code(2).stdout_eq("").stderr_eq(
            "error: this build of gendr cannot train\n\
             hint: build it with `cargo build --release -p gendr-cli --features train`\n",
        );
    }
}

#[test]
fn one_bad_file_does_not_stop_the_others() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("in/a.png"), waves(16, 16, 0.0, 0.0));
    fs::write(root.path().join("in/b.png"), "no picture").unwrap();
    write(&root.path().join("in/c.png"), waves(16, 16, 1.0, 0.0));
    let command = Command::new(cargo_bin!("gendr")).current_dir(root.path());
    command.args(["restore", "in", "-o", "out"]).assert().code(1).stderr_eq(
        "out/a.png: 64x64 in [..]\nerror: not a picture but text: in/b.png\nout/c.png: 64x64 in [..]\n\
         2 of 3 pictures done\n1 failed:\n  not a picture but text: in/b.png\n",
    );
    assert_eq!(names(&root.path().join("out")), [".gendr-journal.jsonl", "a.png", "c.png"]);
}
