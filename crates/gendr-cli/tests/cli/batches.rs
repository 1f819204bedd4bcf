//! Batches as people run them.

use std::{fs, path::Path};

use serde_json::Value;
use snapbox::cmd::{Command, OutputAssert, cargo_bin};

use crate::pictures::{waves, write};

fn gendr(root: &Path, arguments: &str) -> OutputAssert {
    Command::new(cargo_bin!("gendr")).current_dir(root).args(arguments.split(' ')).assert()
}

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (index, name) in ["a.png", "b.png", "sub/c.png", "sub/deep/d.png", "raw/e.png"].iter().enumerate() {
        write(&root.path().join("in").join(name), waves(16, 12, index as f32, 0.1));
    }
    root
}

/// Pictures in `out`.
fn results(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut pending = vec![root.join("out")];
    while let Some(place) = pending.pop() {
        for entry in fs::read_dir(&place).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|ending| ending == "png") {
                names.push(path.strip_prefix(root.join("out")).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    names.sort();
    names
}

#[test]
fn trees_are_mirrored_and_patterns_choose() {
    for (arguments, expected) in [
        ("-r", &["a.png", "b.png", "raw/e.png", "sub/c.png", "sub/deep/d.png"][..]),
        ("-r --include sub/*", &["sub/c.png"]),
        ("-r --include [ab].png --include sub/**", &["a.png", "b.png", "sub/c.png", "sub/deep/d.png"]),
        ("-r --exclude raw/ --exclude b.*", &["a.png", "sub/c.png", "sub/deep/d.png"]),
        ("", &["a.png", "b.png"]),
    ] {
        let root = folder();
        gendr(root.path(), format!("restore in -o out --quiet {arguments}").trim_end()).success();
        assert_eq!(results(root.path()), expected, "{arguments}");
    }
    let root = folder();
    let assert = gendr(root.path(), "restore in -o out --include *.gif").code(2);
    assert!(
        String::from_utf8_lossy(&assert.get_output().stderr)
            .contains("`--include` and `--exclude` leave none")
    );
}

#[test]
fn shards_share_the_work() {
    let root = folder();
    let mut done = 0;
    for shard in ["1/3", "2/3", "3/3"] {
        gendr(root.path(), &format!("restore in -o out -r --quiet --shard {shard}")).success();
        assert!(results(root.path()).len() >= done);
        done = results(root.path()).len();
    }
    assert_eq!(done, 5);
    let assert = gendr(root.path(), "restore in -o out -r --resume --json").success();
    let told = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let kept = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kept"] == true);
    assert_eq!(kept.filter(|&kept| kept).count(), 5);
}

#[test]
fn the_end_lists_what_failed() {
    let root = folder();
    fs::write(root.path().join("in/x.png"), "no picture").unwrap();
    fs::write(root.path().join("in/y.jpg"), "").unwrap();
    let assert = gendr(root.path(), "restore in -o out").code(1);
    let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    let end = "2 of 4 pictures done\n2 failed:\n  not a picture but text: in/x.png\n  the file is empty: in/y.jpg\n";
    assert!(said.ends_with(end), "{said}");
    let assert = gendr(root.path(), "restore in -o out --resume").code(1);
    let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(said.starts_with("failed before: not a picture but text: in/x.png\n"), "{said}");
    assert!(said.contains("2 of 4 pictures done, 2 of them before\n"), "{said}");
    assert_eq!(results(root.path()), ["a.png", "b.png"]);
}

#[test]
fn a_dry_run_tells_tiles_and_memory_and_writes_nothing() {
    let root = folder();
    let assert = gendr(root.path(), "restore in -o out -r --dry-run").success();
    let told = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert_eq!(told.lines().count(), 5);
    assert!(told.starts_with("in/a.png -> out/a.png: 16x12 to 64x48, not cut, up to "), "{told}");
    let assert =
        gendr(root.path(), "restore in/a.png --dry-run --json --tile 64 --overlap 16 --scale 8").success();
    let told: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(
        (&told["width"], &told["cut"]["side"], &told["by_rows"]),
        (&128.into(), &64.into(), &false.into())
    );
    assert!(told["memory_bytes"].as_u64() > Some(1 << 20));
    assert!(!root.path().join("out").exists());
}

#[test]
fn what_cannot_be_resumed_is_said() {
    let root = folder();
    let assert = gendr(root.path(), "restore in/a.png --resume").code(2);
    assert!(
        String::from_utf8_lossy(&assert.get_output().stderr)
            .starts_with("error: only a batch can be resumed\n")
    );
    for wrong in ["--shard 0/3", "--shard x", "--jobs 0", "--include [", "--max-drift -1"] {
        gendr(root.path(), &format!("restore in -o out {wrong}")).code(2);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_size_that_the_system_forbids_leaves_nothing_half_written() {
    let root = folder();
    write(&root.path().join("in/large.png"), waves(120, 90, 0.0, 0.5));
    // Like a full disk: writing beyond 64 KiB fails.
    let script =
        format!("trap '' XFSZ; ulimit -f 64; exec {} restore in -o out", cargo_bin!("gendr").display());
    let run =
        std::process::Command::new("bash").current_dir(root.path()).args(["-c", &script]).output().unwrap();
    assert_eq!(run.status.code(), Some(1), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(String::from_utf8_lossy(&run.stderr).contains("2 of 3 pictures done\n1 failed:\n"));
    assert_eq!(results(root.path()), ["a.png", "b.png"]);
    let hidden = fs::read_dir(root.path().join("out"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".gendr-tmp"));
    assert_eq!(hidden.count(), 0);
    gendr(root.path(), "restore in -o out --resume --quiet").success();
    assert_eq!(results(root.path()), ["a.png", "b.png", "large.png"]);
}
