//! Batches: what is done stays done, what is not is done again, and nobody's files are harmed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use gendr::{
    BatchObserver, BatchOptions, CancelFlag, ErrorKind, FileOptions, JOURNAL, Job, Naming, Outcome, Progress,
    RestoreOptions, Restorer, Result, Shard, Summary,
};
use gendr_image::{EncodeOptions, OutputFormat, encode};
use serde_json::Value;

use crate::support::{built_in, picture};

/// A folder with pictures `in/0.png` and so on, one in a folder of its own, and one that is no picture.
fn folder(count: usize) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for index in 0..count {
        put(&root.path().join(format!("in/{index}.png")), 10 + index);
    }
    put(&root.path().join("in/sub/deep.png"), 9);
    fs::write(root.path().join("in/bad.png"), "no picture").unwrap();
    root
}

fn put(path: &Path, width: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = encode(&picture(width, 8), &EncodeOptions::new(OutputFormat::Png)).unwrap();
    fs::write(path, file.bytes).unwrap();
}

fn jobs(root: &Path) -> Vec<Job> {
    let naming = Naming { output: Some(root.join("out")), recursive: true, ..Naming::default() };
    gendr::plan(&[root.join("in")], &naming).unwrap()
}

/// What became of the pictures, in words and in the order told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl BatchObserver for Told {
    fn begun(&self, _: usize, _: &Job, _: (usize, usize)) {}
    fn progress(&self, _: usize, _: &Job, _: Progress) {}

    fn finished(&self, index: usize, job: &Job, outcome: Outcome) {
        let word = match outcome {
            Outcome::Done(..) => "done".to_owned(),
            Outcome::Kept { .. } => "kept".to_owned(),
            Outcome::FailedBefore(_) => "failed before".to_owned(),
            Outcome::Failed(error) => format!("failed: {:?}", error.kind()),
        };
        let name = PathBuf::from(job.output.to_string());
        let name = name.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut told = self.0.lock().unwrap();
        assert_eq!(told.len(), index, "told in order");
        told.push(format!("{name} {word}"));
    }
}

fn run(restorer: &Restorer, root: &Path, batch: BatchOptions) -> (Summary, Vec<String>) {
    run_with(restorer, &jobs(root), &RestoreOptions::default(), batch).unwrap()
}

fn run_with(
    restorer: &Restorer,
    jobs: &[Job],
    options: &RestoreOptions,
    batch: BatchOptions,
) -> Result<(Summary, Vec<String>)> {
    let told = Told::default();
    let files = FileOptions::default();
    let summary = restorer.restore_batch(jobs, options, &files, &batch, &told, &CancelFlag::new())?;
    Ok((summary, told.0.into_inner().unwrap()))
}

fn resume() -> BatchOptions {
    BatchOptions { resume: true, ..BatchOptions::default() }
}

fn lines(root: &Path) -> Vec<Value> {
    let journal = fs::read_to_string(root.join("out").join(JOURNAL)).unwrap();
    journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_batch_keeps_a_journal_and_is_resumed() {
    let (root, restorer) = (folder(3), built_in());
    let (summary, told) = run(&restorer, root.path(), BatchOptions::default());
    assert_eq!(told, ["0 done", "1 done", "2 done", "bad failed: Input", "deep done"]);
    assert_eq!(summary, Summary { done: 4, kept: 0, failed: 1 });
    let done: Vec<Value> = lines(root.path()).into_iter().filter(|line| line["result"] == "done").collect();
    assert_eq!(done.len(), 4);
    let deep = done.iter().find(|line| line["output"] == "sub/deep.png").unwrap();
    let hash = |path: &str| blake3::hash(&fs::read(root.path().join(path)).unwrap()).to_string();
    assert_eq!(deep["input_blake3"], hash("in/sub/deep.png"));
    assert_eq!(deep["output_blake3"], hash("out/sub/deep.png"));
    assert!(deep["time"].as_f64() > Some(1e9) && deep["options_blake3"].as_str().unwrap().len() == 64);

    let before = lines(root.path()).len();
    let (summary, told) = run(&restorer, root.path(), resume());
    assert_eq!(told, ["0 kept", "1 kept", "2 kept", "bad failed before", "deep kept"]);
    assert_eq!(summary, Summary { done: 0, kept: 4, failed: 1 });
    assert_eq!(lines(root.path()).len(), before);
}

#[test]
fn what_is_not_proven_is_done_again() {
    let (root, restorer) = (folder(4), built_in());
    run(&restorer, root.path(), BatchOptions::default());
    let path = |name: &str| root.path().join(name);
    let whole = fs::read(path("out/1.png")).unwrap();
    // The result is damaged, another is gone, an input is another picture, a bad one was mended.
    fs::write(path("out/1.png"), &whole[..whole.len() / 2]).unwrap();
    fs::remove_file(path("out/2.png")).unwrap();
    put(&path("in/3.png"), 20);
    put(&path("in/bad.png"), 12);
    fs::write(path("out/.1.png.gendr-tmp"), "left by a killed run").unwrap();
    let (_, told) = run(&restorer, root.path(), resume());
    assert_eq!(told, ["0 kept", "1 done", "2 done", "3 done", "bad done", "deep kept"]);
    assert_eq!(fs::read(path("out/1.png")).unwrap(), whole);
    assert!(!path("out/.1.png.gendr-tmp").exists());
    // Other options make other results.
    let options = RestoreOptions { fidelity: 0.5, ..RestoreOptions::default() };
    let (summary, _) = run_with(&restorer, &jobs(root.path()), &options, resume()).unwrap();
    assert_eq!(summary, Summary { done: 6, kept: 0, failed: 0 });
}

#[test]
fn failures_are_tried_again_on_request_or_where_they_may_pass() {
    let (root, restorer) = (folder(1), built_in());
    run(&restorer, root.path(), BatchOptions::default());
    let retry = BatchOptions { retry_failed: true, ..BatchOptions::default() };
    assert_eq!(run(&restorer, root.path(), retry).1, ["0 kept", "bad failed: Input", "deep kept"]);
    // A place that cannot be written to is no fault of the input.
    fs::create_dir(root.path().join("out/blocked.png")).unwrap();
    put(&root.path().join("in/blocked.png"), 12);
    assert_eq!(run(&restorer, root.path(), resume()).1[2], "blocked failed: Argument");
    fs::remove_dir(root.path().join("out/blocked.png")).unwrap();
    assert_eq!(run(&restorer, root.path(), resume()).1[2], "blocked done");
}

#[test]
fn what_others_put_there_is_not_replaced() {
    let (root, restorer) = (folder(2), built_in());
    fs::create_dir(root.path().join("out")).unwrap();
    fs::write(root.path().join("out/0.png"), "mine").unwrap();
    for batch in [BatchOptions::default(), resume(), resume()] {
        let told = run(&restorer, root.path(), batch).1;
        assert_eq!(told[0], "0 failed: Argument");
        assert_eq!(fs::read(root.path().join("out/0.png")).unwrap(), b"mine");
    }
}

#[test]
fn an_input_that_goes_away_is_reported_and_the_rest_goes_on() {
    let (root, restorer) = (folder(2), built_in());
    let jobs = jobs(root.path());
    fs::remove_file(root.path().join("in/1.png")).unwrap();
    let run = |batch| run_with(&restorer, &jobs, &RestoreOptions::default(), batch).unwrap().1;
    assert_eq!(run(BatchOptions::default())[..2], ["0 done", "1 failed: Input"]);
    put(&root.path().join("in/1.png"), 12);
    assert_eq!(run(resume())[..2], ["0 kept", "1 done"]);
}

#[test]
fn many_at_once_give_the_same_files() {
    let restorer = built_in();
    let [one, many] = [1, 4].map(|jobs| {
        let root = folder(9);
        let batch = BatchOptions { jobs: jobs.try_into().unwrap(), ..BatchOptions::default() };
        assert_eq!(run(&restorer, root.path(), batch).0, Summary { done: 10, kept: 0, failed: 1 });
        (0..9)
            .map(|index| fs::read(root.path().join(format!("out/{index}.png"))).unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(one, many);
}

#[test]
fn shards_do_each_picture_once_and_the_whole_can_be_resumed() {
    let (root, restorer) = (folder(9), built_in());
    let mut done = 0;
    for index in 1..=3 {
        let shard = Shard::new(index, 3).unwrap();
        let part: Vec<Job> = jobs(root.path()).into_iter().filter(|job| shard.holds(job)).collect();
        let batch = BatchOptions { shard: Some(shard), ..BatchOptions::default() };
        done += run_with(&restorer, &part, &RestoreOptions::default(), batch).unwrap().0.done;
    }
    assert_eq!(done, 10);
    assert_eq!(run(&restorer, root.path(), resume()).0, Summary { done: 0, kept: 10, failed: 1 });
}

#[test]
fn pictures_on_their_own_have_no_journal() {
    let (root, restorer) = (folder(1), built_in());
    let input = root.path().join("in/0.png");
    let naming =
        Naming { output: Some(root.path().join("in/")), suffix: "_x4".to_owned(), ..Naming::default() };
    let alone = gendr::plan(&[input], &Naming { output: None, ..naming }).unwrap();
    let refused = run_with(&restorer, &alone, &RestoreOptions::default(), resume()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Argument);
    let (summary, _) =
        run_with(&restorer, &alone, &RestoreOptions::default(), BatchOptions::default()).unwrap();
    assert_eq!(summary.done, 1);
    assert!(root.path().join("in/0_x4.png").exists() && !root.path().join("in").join(JOURNAL).exists());
}

#[test]
fn a_cancelled_batch_ends_and_can_be_resumed() {
    struct After(CancelFlag);
    impl BatchObserver for After {
        fn begun(&self, _: usize, _: &Job, _: (usize, usize)) {}
        fn progress(&self, _: usize, _: &Job, _: Progress) {}
        fn finished(&self, _: usize, _: &Job, _: Outcome) {
            self.0.cancel();
        }
    }
    let (root, restorer) = (folder(12), built_in());
    let cancel = CancelFlag::new();
    let (options, files) = (RestoreOptions::default(), FileOptions::default());
    let batch = BatchOptions::default();
    let stopped =
        restorer.restore_batch(&jobs(root.path()), &options, &files, &batch, &After(cancel.clone()), &cancel);
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Cancelled);
    let summary = run(&restorer, root.path(), resume()).0;
    assert!(summary.kept >= 1 && summary.done >= 1 && summary.kept + summary.done == 13, "{summary:?}");
}
