//! Batches that are killed at random moments, and runs that meet in one folder.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use snapbox::cmd::cargo_bin;

use crate::pictures::{waves, write};

/// A number from the environment, for longer runs of the same test.
fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

fn restore(root: &Path, arguments: &str) -> Command {
    let mut command = Command::new(cargo_bin!("gendr"));
    command.current_dir(root).arg("restore").args(arguments.split(' '));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// All files of a folder and the folders in it, but the journals.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(place) = pending.pop() {
        for entry in fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                pending.push(path);
            } else if !name.starts_with(".gendr-journal") {
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn journal(folder: &Path) -> Vec<Value> {
    let text = fs::read(folder.join(".gendr-journal.jsonl")).unwrap_or_default();
    text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// The results in `out` are those in `whole`, nothing else lies beside them, and nothing was begun again once it was done.
/// How often pictures were begun.
fn check(root: &Path, pictures: usize) -> usize {
    assert_eq!(files(&root.join("out")), files(&root.join("whole")));
    let (mut done, mut begun) = (HashSet::new(), 0);
    for line in journal(&root.join("out")) {
        let name = line["output"].as_str().unwrap().to_owned();
        assert!(!done.contains(&name), "{name} was begun again though it was done");
        match line["result"].as_str() {
            Some("done") => drop(done.insert(name)),
            _ => begun += 1,
        }
    }
    assert_eq!(done.len(), pictures);
    begun
}

#[test]
fn a_batch_survives_being_killed() {
    let (pictures, kills) = (number("GENDR_TEST_PICTURES", 40), number("GENDR_TEST_KILLS", 12));
    let root = tempfile::tempdir().unwrap();
    for index in 0..pictures {
        let name = if index % 5 == 0 { format!("in/sub/{index}.png") } else { format!("in/{index}.png") };
        write(&root.path().join(name), waves(24 + index % 7, 20, index as f32, 0.1));
    }
    let start = Instant::now();
    assert!(restore(root.path(), "in -o whole -r --jobs 2").status().unwrap().success());
    let whole = start.elapsed();

    // Kills are spread over the work, however long the start takes.
    let idle = Instant::now();
    assert!(restore(root.path(), "in/1.png -o one.png").status().unwrap().success());
    let longest = idle.elapsed() + 2 * whole / kills as u32;
    let resume = || restore(root.path(), "in -o out -r --jobs 2 --resume");
    let (mut seed, mut killed, mut batches, mut begun) = (0x2545_f491_u64, 0, 1, 0);
    while killed < kills {
        let mut child = resume().spawn().unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(longest.mul_f64((seed >> 33) as f64 / (1u64 << 31) as f64));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.success() {
            // It ended before the kill, which does not count; the others are for the next batch.
            begun += check(root.path(), pictures);
            fs::remove_dir_all(root.path().join("out")).unwrap();
            batches += 1;
        } else {
            assert!(!cfg!(unix) || status.code().is_none(), "the batch failed by itself");
            killed += 1;
        }
    }
    assert!(resume().status().unwrap().success());
    begun += check(root.path(), pictures);
    println!("{killed} kills at work, {batches} batches of {pictures} pictures, {begun} starts of pictures");
}

#[test]
#[cfg(unix)]
fn two_runs_do_not_meet_in_one_folder() {
    let root = tempfile::tempdir().unwrap();
    for index in 0..30 {
        write(&root.path().join(format!("in/{index}.png")), waves(48, 40, index as f32, 0.1));
    }
    let mut first = restore(root.path(), "in -o out").spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !journal(&root.path().join("out")).iter().any(|line| line["result"] == "begun") {
        assert!(Instant::now() < deadline, "the first run does not begin");
        thread::sleep(Duration::from_millis(5));
    }
    let signal = |name: &str| Command::new("kill").args([name, &first.id().to_string()]).status().unwrap();
    // The first is halted, so that it is at work for as long as the second looks.
    assert!(signal("-STOP").success());
    let second = restore(root.path(), "in -o out").stderr(Stdio::piped()).output().unwrap();
    assert!(signal("-CONT").success());
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.starts_with("error: another run of gendr is working on this folder: out\nhint: "), "{said}");
    assert!(first.wait().unwrap().success());
    assert_eq!(files(&root.path().join("out")).len(), 30);
}
