//! The journal of a folder of results: what was begun, done and failed, a JSON object a line, only ever appended to.
//!
//! Each line is on the disk before the work goes on, so that whatever ends the program, the journal never claims more
//! than is true. Shards write files of their own and all are read.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::Shard;
use crate::{Error, ErrorKind, Result};

/// The journal in a folder of results.
pub const JOURNAL: &str = ".gendr-journal.jsonl";
/// What the names of all journals begin with, those of shards too.
const PREFIX: &str = ".gendr-journal";

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The result's path in the folder, with `/` between its parts.
    pub(super) output: String,
    /// The input, as it was given.
    pub(super) input: String,
    /// BLAKE3 of the input's content; absent where it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input_blake3: Option<String>,
    /// BLAKE3 of program, model and all options that shape the result.
    pub(super) options_blake3: String,
    /// Seconds since 1970.
    pub(super) time: f64,
    #[serde(flatten)]
    pub(super) result: Recorded,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub(super) enum Recorded {
    /// Work on it began: a file of that name that appears now is this program's.
    Begun,
    /// The result is whole.
    Done {
        /// BLAKE3 of the result's content.
        output_blake3: String,
        /// Columns of the result.
        width: usize,
        /// Rows of the result.
        height: usize,
        /// How long it took.
        seconds: f64,
    },
    /// There is no result.
    Failed {
        /// Why, in one line.
        error: String,
        /// Whether the input itself is at fault, so that another try would end alike.
        lasting: bool,
    },
}

/// An open journal, locked against other runs.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    /// Held by shards: the journal of the whole, shared.
    _whole: Option<File>,
    latest: HashMap<String, Record>,
}

impl Journal {
    /// Opens the journal of `folder`, which is created.
    ///
    /// # Errors
    /// A resource error where another run works on the folder, or on this shard of it; an I/O error.
    pub(super) fn open(folder: &Path, shard: Option<Shard>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| Error::io(error, folder))?;
        let whole = folder.join(JOURNAL);
        let path =
            shard.map_or_else(|| whole.clone(), |shard| folder.join(format!("{PREFIX}-{shard}.jsonl")));
        let held = shard.map(|_| open_file(&whole)).transpose()?;
        if let Some(held) = &held {
            locked(&held.try_lock_shared(), folder)?;
        }
        let mut file = open_file(&path)?;
        locked(&file.try_lock(), folder)?;
        end_last_line(&mut file).map_err(|error| Error::io(error, &path))?;
        let latest = latest(folder)?;
        Ok(Self { path, file: Mutex::new(file), _whole: held, latest })
    }

    /// The last line about a result from former runs.
    pub(super) fn last(&self, output: &str) -> Option<&Record> {
        self.latest.get(output)
    }

    /// Appends a line and waits until it is on the disk.
    ///
    /// # Errors
    /// A resource error where the disk is full, else an I/O error.
    pub(super) fn append(&self, record: &Record) -> Result<()> {
        let line = serde_json::to_string(record)
            .map_err(|error| Error::new(ErrorKind::Io, "a line that cannot be written").with_source(error))?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_data());
        written.map_err(|error| Error::io(error, &self.path))
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1000.0).round() / 1000.0
}

fn open_file(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).open(path).map_err(|error| Error::io(error, path))
}

fn locked(result: &Result<(), TryLockError>, folder: &Path) -> Result<()> {
    match result {
        // A file system without locks: go on without.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(ErrorKind::Resource, "another run of gendr is working on this folder")
                .with_hint("wait for it, choose another folder, or give both runs parts with `--shard`")
                .with_path(folder))
        }
    }
}

/// A line that a killed run left half-written must not join with the next one.
fn end_last_line(file: &mut File) -> std::io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// The last record of every result in all journals of the folder. A line that is damaged proves nothing and is passed over.
fn latest(folder: &Path) -> Result<HashMap<String, Record>> {
    let mut latest: HashMap<String, Record> = HashMap::new();
    for path in journals(folder)? {
        let file = File::open(&path).map_err(|error| Error::io(error, &path))?;
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(|error| Error::io(error, &path))?;
            let Ok(record) = serde_json::from_slice::<Record>(&line) else { continue };
            let known = latest.get(&record.output);
            if known.is_none_or(|known| known.time <= record.time) {
                latest.insert(record.output.clone(), record);
            }
        }
    }
    Ok(latest)
}

fn journals(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |error| Error::io(error, folder);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(".jsonl") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(output: &str, result: Recorded) -> Record {
        Record {
            output: output.to_owned(),
            input: "in/a.png".to_owned(),
            input_blake3: Some("00".to_owned()),
            options_blake3: "11".to_owned(),
            time: now(),
            result,
        }
    }

    fn done() -> Recorded {
        Recorded::Done { output_blake3: "22".to_owned(), width: 4, height: 3, seconds: 0.5 }
    }

    #[test]
    fn the_last_line_about_a_result_counts() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), None).unwrap();
        journal.append(&record("a.png", Recorded::Begun)).unwrap();
        journal.append(&record("a.png", done())).unwrap();
        journal.append(&record("b.png", Recorded::Begun)).unwrap();
        drop(journal);
        let journal = Journal::open(folder.path(), None).unwrap();
        assert_eq!(journal.last("a.png").unwrap().result, done());
        assert_eq!(journal.last("b.png").unwrap().result, Recorded::Begun);
        assert!(journal.last("c.png").is_none());
    }

    #[test]
    fn a_line_cut_short_proves_nothing_and_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(JOURNAL);
        let whole = serde_json::to_string(&record("a.png", done())).unwrap();
        for cut in 1..whole.len() {
            fs::write(&path, format!("{whole}\n{}", &whole.replace("a.png", "b.png")[..cut])).unwrap();
            let journal = Journal::open(folder.path(), None).unwrap();
            assert!(journal.last("b.png").is_none(), "cut at {cut}");
            journal.append(&record("c.png", done())).unwrap();
            drop(journal);
            let journal = Journal::open(folder.path(), None).unwrap();
            assert!(journal.last("a.png").is_some() && journal.last("c.png").is_some(), "cut at {cut}");
        }
    }

    #[test]
    fn one_run_at_a_time_but_shards_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            |shard: Option<&str>| Journal::open(folder.path(), shard.map(|text| text.parse().unwrap()));
        let whole = open(None).unwrap();
        for shard in [None, Some("1/2")] {
            let error = open(shard).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Resource);
            assert!(error.hint().is_some());
        }
        drop(whole);
        let first = open(Some("1/2")).unwrap();
        first.append(&record("a.png", done())).unwrap();
        let second = open(Some("2/2")).unwrap();
        assert!(second.last("a.png").is_some());
        assert!(open(Some("2/2")).is_err() && open(None).is_err());
        drop((first, second));
        assert!(open(None).unwrap().last("a.png").is_some());
    }
}
