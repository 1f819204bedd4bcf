//! Files appear whole or not at all.

use std::{fs, io::Write, path::Path};
#[cfg(unix)]
use std::{process::Command, sync::mpsc, thread, time::Duration};

#[cfg(unix)]
use gendr_image::StripReader;
use gendr_image::{AtomicFile, ErrorKind, Limits, read, read_file, write_atomic};

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_appears_only_when_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.png");
    let mut file = AtomicFile::create(&path, &[]).unwrap();
    file.write_all(b"half").unwrap();
    assert_eq!(entries(folder.path()), [".out.png.gendr-tmp"]);
    drop(file);
    assert!(entries(folder.path()).is_empty());
    write_atomic(&path, b"whole", &[]).unwrap();
    write_atomic(&path, b"again", &[]).unwrap();
    assert_eq!(entries(folder.path()), ["out.png"]);
    assert_eq!(fs::read(&path).unwrap(), b"again");
}

#[test]
fn what_a_killed_process_left_is_used_again_and_a_living_one_is_respected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.png");
    fs::write(folder.path().join(".out.png.gendr-tmp"), "a long remainder of a former run").unwrap();
    let first = AtomicFile::create(&path, &[]).unwrap();
    let error = AtomicFile::create(&path, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Resource, "{error}");
    drop(first);
    write_atomic(&path, b"new", &[]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn an_input_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.png");
    fs::write(&input, "precious").unwrap();
    let detour = folder.path().join(".").join("in.png");
    let link = folder.path().join("link.png");
    fs::hard_link(&input, &link).unwrap();
    for output in [&input, &detour, &link] {
        let error = write_atomic(output, b"new", &[&input]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument);
        assert!(error.hint().is_some());
    }
    assert_eq!(fs::read(&input).unwrap(), b"precious");
    assert_eq!(entries(folder.path()), ["in.png", "link.png"]);
}

#[test]
fn each_failure_has_its_own_words_and_the_path_comes_last() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for (output, words) in [
        (folder.path().join("missing/out.png"), "folder does not exist"),
        (file.join("out.png"), "folder does not exist"),
        (folder.path().to_path_buf(), "is a folder"),
    ] {
        let error = write_atomic(&output, b"", &[]).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().ends_with(&output.display().to_string()), "{error}");
    }
    let limits = Limits { max_bytes: 3, ..Limits::default() };
    fs::write(&file, "four").unwrap();
    for (input, kind, words) in [
        (folder.path().join("none.png"), ErrorKind::Input, "no such file"),
        (folder.path().to_path_buf(), ErrorKind::Input, "folder"),
        (file.clone(), ErrorKind::Limit, "limit"),
    ] {
        let error = read_file(&input, &limits).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().ends_with(&input.display().to_string()), "{error}");
    }
    let error = read(&file, &Limits::default()).unwrap_err();
    assert!(error.to_string().ends_with(&file.display().to_string()), "{error}");
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.png");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [&pipe, Path::new("/dev/zero")] {
        let (sender, errors) = mpsc::channel();
        let asked = path.to_owned();
        thread::spawn(move || {
            let opened = StripReader::open(&asked, &Limits::default()).map(drop);
            sender.send([read_file(&asked, &Limits::default()).map(drop), opened]).unwrap();
        });
        let results = errors.recv_timeout(Duration::from_secs(10)).expect("no waiting for a writer");
        for error in results.map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::Input);
            assert_eq!(error.to_string(), format!("a pipe or a device, not a file: {}", path.display()));
            assert!(error.hint().unwrap().contains("standard input"));
        }
    }
}

/// Linux has a device that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_called_so() {
    let mut full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = gendr_image::Error::from(full.write_all(b"data").unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Resource);
    assert_eq!(error.to_string(), "the disk is full");
}
