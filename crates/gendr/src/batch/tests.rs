use std::fs;

use super::*;
use crate::ErrorKind;

/// A folder with empty files of the given names.
fn folder_of(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    folder
}

fn naming(output: Option<PathBuf>) -> Naming {
    Naming { output, suffix: "_x4".to_owned(), ..Naming::default() }
}

fn outputs(jobs: &[Job], root: &Path) -> Vec<String> {
    jobs.iter()
        .map(|job| match &job.output {
            Output::Stdout => "-".to_owned(),
            Output::File(path) => path.strip_prefix(root).unwrap().display().to_string(),
        })
        .collect()
}

#[test]
fn a_result_stands_beside_its_input_in_the_same_format() {
    let folder = folder_of(&["a.JPG", "b.tar.png", "c.bmp", "d"]);
    let inputs: Vec<PathBuf> = ["a.JPG", "b.tar.png", "c.bmp", "d"].map(|n| folder.path().join(n)).into();
    let jobs = plan(&inputs, &naming(None)).unwrap();
    assert_eq!(outputs(&jobs, folder.path()), ["a_x4.JPG", "b.tar_x4.png", "c_x4.png", "d_x4.png"]);
    let formats: Vec<OutputFormat> = jobs.iter().map(|job| job.format).collect();
    assert_eq!(formats, [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::Png, OutputFormat::Png]);
}

#[test]
fn one_file_goes_to_the_file_or_into_the_folder_named() {
    let folder = folder_of(&["a.jpg", "out/x.txt"]);
    let one = |output: &str| {
        let jobs = plan(&[folder.path().join("a.jpg")], &naming(Some(folder.path().join(output)))).unwrap();
        outputs(&jobs, folder.path()).remove(0)
    };
    assert_eq!(one("b.png"), "b.png");
    assert_eq!(one("out"), "out/a.jpg");
    assert_eq!(one("new/"), "new/a.jpg");
}

#[test]
fn a_tree_is_mirrored_and_the_results_inside_it_are_passed_over() {
    let folder =
        folder_of(&["a.png", "sub/b.jpg", ".hidden.png", "notes.txt", "out/a.png", "sub/deep/c.webp"]);
    let recursive = Naming { recursive: true, ..naming(Some(folder.path().join("out"))) };
    let jobs = plan(&[folder.path().to_owned()], &recursive).unwrap();
    assert_eq!(outputs(&jobs, folder.path()), ["out/a.png", "out/sub/b.jpg", "out/sub/deep/c.webp"]);
    let flat = plan(&[folder.path().to_owned()], &naming(Some(folder.path().join("out")))).unwrap();
    assert_eq!(flat.len(), 1);
}

#[test]
fn a_folder_without_output_gets_a_folder_beside_it() {
    let folder = folder_of(&["old/a.png"]);
    let jobs = plan(&[folder.path().join("old")], &naming(None)).unwrap();
    assert_eq!(outputs(&jobs, folder.path()), ["old_x4/a.png"]);
}

#[test]
fn the_format_asked_for_renames() {
    let folder = folder_of(&["a.jpg"]);
    let webp = Naming { format: Some(OutputFormat::Webp), ..naming(None) };
    let jobs = plan(&[folder.path().join("a.jpg")], &webp).unwrap();
    assert_eq!(outputs(&jobs, folder.path()), ["a_x4.webp"]);
    let wrong = Naming { output: Some(folder.path().join("b.png")), ..webp };
    let error = plan(&[folder.path().join("a.jpg")], &wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Argument);
}

#[test]
fn streams_take_one_picture() {
    let jobs = plan(&[PathBuf::from("-")], &naming(None)).unwrap();
    assert_eq!((&jobs[0].input, &jobs[0].output), (&Input::Stdin, &Output::Stdout));
    let error = plan(&["a.png".into(), "b.png".into()], &naming(Some("-".into()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Argument);
}

#[test]
fn what_would_lose_a_file_is_refused_before_the_start() {
    let folder = folder_of(&["a.png", "b/a.png", "c.bmp", "c.gif", "empty/notes.txt"]);
    let path = |name: &str| folder.path().join(name);
    let refused = |inputs: &[PathBuf], output: Option<PathBuf>| plan(inputs, &naming(output)).unwrap_err();

    let same_name = refused(&[path("a.png"), path("b/a.png")], Some(path("out")));
    assert_eq!(
        (same_name.kind(), same_name.path()),
        (ErrorKind::Argument, Some(path("out/a.png").as_path()))
    );
    let same_stem = refused(&[path("c.bmp"), path("c.gif")], None);
    assert_eq!(same_stem.kind(), ErrorKind::Argument);
    let onto_itself = refused(&[path("a.png")], Some(path("b/../a.png")));
    assert_eq!(onto_itself.kind(), ErrorKind::Argument);
    assert_eq!(refused(&[path("b")], Some(path("b"))).kind(), ErrorKind::Argument);
    assert_eq!(refused(&[path("a.png")], Some(path("none/b.png"))).kind(), ErrorKind::Io);
    assert_eq!(refused(&[path("a.png")], Some(path("b.xyz"))).kind(), ErrorKind::Argument);
    assert_eq!(refused(&[path("b"), path("a.png")], Some(path("a.png"))).kind(), ErrorKind::Argument);
    assert_eq!(refused(&[path("empty")], None).kind(), ErrorKind::Input);
}
