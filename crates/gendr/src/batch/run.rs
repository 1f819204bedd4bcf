//! A batch at work: some threads read ahead and write behind while networks restore, and a journal keeps what is done.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use gendr_image::{Picture, open_file};

use super::{
    Job, Output, Shard,
    budget::Budget,
    journal::{Journal, Record, Recorded, now},
    leftovers,
};
use crate::{
    CancelFlag, Error, ErrorKind, FileOptions, Observer, Progress, RestoreOptions, RestoredFile, Restorer,
    Result, files::hash, stream::Opened,
};

/// Threads beside those that restore: one to read ahead, one to write behind.
const HELPERS: usize = 2;
/// Pictures that wait for their turn take at most this share of the memory, and at most so many bytes.
const WAITING: (u64, u64) = (4, 1 << 30);

/// How a batch is worked through.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    /// Pictures that are restored at once.
    pub jobs: NonZeroUsize,
    /// Whether results are kept that the journal proves to be done, and the rest is done. What failed for its input's sake
    /// is not tried again.
    pub resume: bool,
    /// As `resume`, and all that failed is tried again.
    pub retry_failed: bool,
    /// The part that `jobs` are of the batch, which gets a journal of its own.
    pub shard: Option<Shard>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { jobs: NonZeroUsize::MIN, resume: false, retry_failed: false, shard: None }
    }
}

/// What became of a picture.
#[derive(Debug)]
pub enum Outcome {
    /// It was restored and written, in so many seconds.
    Done(RestoredFile, f64),
    /// It was done in a former run: same input, same options, and the result is still what was written.
    Kept {
        /// Columns of the result.
        width: usize,
        /// Rows of the result.
        height: usize,
    },
    /// It failed in a former run and would fail again.
    FailedBefore(String),
    /// It failed.
    Failed(Error),
}

/// How many pictures came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Restored in this run.
    pub done: usize,
    /// Done in a former run.
    pub kept: usize,
    /// Failed, now or before.
    pub failed: usize,
}

/// Told of a batch's progress, from several threads.
pub trait BatchObserver: Sync {
    /// Picture `index` was read and waits for its turn; `size` is that of its result, width and height.
    fn begun(&self, index: usize, job: &Job, size: (usize, usize));
    /// Picture `index` is being restored.
    fn progress(&self, index: usize, job: &Job, progress: Progress);
    /// Picture `index` is finished; called once for each, in their order.
    fn finished(&self, index: usize, job: &Job, outcome: Outcome);
}

impl Restorer {
    /// Restores the pictures of `jobs`. One that fails does not stop the others; results of a batch, and what failed, go into
    /// the journal of their folder.
    ///
    /// # Errors
    /// An argument error where there is nothing to resume; a resource error where another run is at work in a folder of
    /// results; an I/O error where the journal cannot be written; a cancelled error.
    pub fn restore_batch(
        &self,
        jobs: &[Job],
        options: &RestoreOptions,
        files: &FileOptions,
        batch: &BatchOptions,
        observer: &dyn BatchObserver,
        cancel: &CancelFlag,
    ) -> Result<Summary> {
        let resume = batch.resume || batch.retry_failed;
        let roots: BTreeSet<&PathBuf> = jobs.iter().filter_map(|job| job.root.as_ref()).collect();
        if resume && roots.is_empty() && !jobs.is_empty() {
            return Err(Error::argument("only a batch can be resumed")
                .with_hint("give a folder, or several pictures and a folder for their results with `-o`"));
        }
        let mut journals = HashMap::new();
        for root in roots {
            journals.insert(root.as_path(), Journal::open(root, batch.shard)?);
            if resume {
                leftovers::remove(root)?;
            }
        }
        let single = jobs.len() == 1 && journals.is_empty();
        let (restoring, workers) =
            if single { (1, 1) } else { (batch.jobs.get(), batch.jobs.get() + HELPERS) };
        let memory = self.memory(options);
        let waiting = if single { 0 } else { (memory / WAITING.0).min(WAITING.1) };
        let run = Run {
            restorer: self,
            jobs,
            options: if single { options.clone() } else { self.share_memory(options, waiting, restoring) },
            files,
            resume,
            retry_failed: batch.retry_failed,
            journals,
            reading: Budget::new(1),
            restoring: Budget::new(restoring as u64),
            bytes: Budget::new(waiting),
            cancel,
            stopped: AtomicBool::new(false),
            fatal: Mutex::new(None),
            reports: Mutex::new(Reports { next: 0, waiting: BTreeMap::new(), summary: Summary::default() }),
            observer,
        };
        run.work(workers.min(jobs.len()))
    }
}

/// A batch under way.
struct Run<'a> {
    restorer: &'a Restorer,
    jobs: &'a [Job],
    options: RestoreOptions,
    files: &'a FileOptions,
    resume: bool,
    retry_failed: bool,
    journals: HashMap<&'a Path, Journal>,
    /// One picture is read at a time: what is read is reckoned before the next.
    reading: Budget,
    restoring: Budget,
    /// Bytes of the pictures between reading and writing.
    bytes: Budget,
    cancel: &'a CancelFlag,
    stopped: AtomicBool,
    fatal: Mutex<Option<Error>>,
    reports: Mutex<Reports>,
    observer: &'a dyn BatchObserver,
}

/// Outcomes are told in the order of the jobs.
struct Reports {
    next: usize,
    waiting: BTreeMap<usize, Outcome>,
    summary: Summary,
}

impl Reports {
    fn tell(&mut self, index: usize, job: &Job, outcome: Outcome, observer: &dyn BatchObserver) {
        match &outcome {
            Outcome::Done(..) => self.summary.done += 1,
            Outcome::Kept { .. } => self.summary.kept += 1,
            Outcome::FailedBefore(_) | Outcome::Failed(_) => self.summary.failed += 1,
        }
        observer.finished(index, job, outcome);
    }
}

impl Run<'_> {
    fn work(self, workers: usize) -> Result<Summary> {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while !self.stopped.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = self.jobs.get(index) else { break };
                        match self.one(index, job) {
                            Ok(outcome) => self.report(index, outcome),
                            Err(error) => self.stop(error),
                        }
                    }
                });
            }
        });
        // After a stop, some wait for others that never came.
        let mut reports = self.reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (index, outcome) in std::mem::take(&mut reports.waiting) {
            reports.tell(index, &self.jobs[index], outcome, self.observer);
        }
        match self.fatal.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(reports.summary),
        }
    }

    /// Works on one picture and records what became of it.
    ///
    /// # Errors
    /// What ends the batch: it was cancelled, or the journal cannot be written.
    fn one(&self, index: usize, job: &Job) -> Result<Outcome> {
        self.cancel.check()?;
        let mut entry = Entry {
            journal: job.root.as_ref().and_then(|root| self.journals.get(root.as_path())),
            name: job.name(),
            input: job.input.to_string(),
            input_hash: None,
            options_hash: self.restorer.options_hash(&self.options, self.files, job.format),
        };
        // Whatever a picture does to a library, the others go on.
        let outcome =
            catch_unwind(AssertUnwindSafe(|| self.attempt(index, job, &mut entry))).unwrap_or_else(|_| {
                let error = Error::new(ErrorKind::Resource, "an internal error");
                Ok(Outcome::Failed(error.with_path(job.input.to_string())))
            });
        let outcome = outcome.or_else(|stop| match stop {
            Stop::Batch(error) => Err(error),
            Stop::Picture(error) if error.kind() == ErrorKind::Cancelled => Err(error),
            Stop::Picture(error) => Ok(Outcome::Failed(error)),
        })?;
        match &outcome {
            Outcome::Done(file, seconds) => entry.append(Recorded::Done {
                output_blake3: file.blake3.clone(),
                width: file.width,
                height: file.height,
                seconds: *seconds,
            })?,
            Outcome::Failed(error) => {
                let lasting = matches!(error.kind(), ErrorKind::Input | ErrorKind::Unsupported)
                    && entry.input_hash.is_some();
                entry.append(Recorded::Failed { error: error.to_string(), lasting })?;
            }
            Outcome::Kept { .. } | Outcome::FailedBefore(_) => {}
        }
        Ok(outcome)
    }

    fn attempt(&self, index: usize, job: &Job, entry: &mut Entry<'_>) -> Result<Outcome, Stop> {
        let mut files = *self.files;
        let reading = self.reading.take(1);
        let start = Instant::now();
        self.cancel.check()?;
        if entry.journal.is_none() || !self.resume {
            job.check_output(&files)?;
        }
        if entry.journal.is_some() {
            entry.input_hash = job.hash_input()?;
        }
        if self.resume {
            match self.proven(job, entry) {
                Proven::Outcome(outcome) => return Ok(*outcome),
                Proven::Ours => files.overwrite = true,
                Proven::Nothing => job.check_output(&files)?,
            }
        }
        let opened = self.restorer.open_job(job, &self.options, &files)?;
        entry.append(Recorded::Begun).map_err(Stop::Batch)?;
        let tell = Tell { index, job, observer: self.observer };
        let input = match opened {
            Opened::Whole(input) => input,
            Opened::Streamed(streamed) => {
                self.observer.begun(index, job, streamed.size());
                // It takes all the memory there is.
                let _alone = self.bytes.take(u64::MAX);
                let _turn = self.restoring.take(1);
                let (options, cancel) = (&self.options, self.cancel);
                let file = self.restorer.restore_streamed(job, *streamed, options, &files, &tell, cancel)?;
                return Ok(Outcome::Done(file, start.elapsed().as_secs_f64()));
            }
        };
        let size = self.options.size.resolve(input.width(), input.height())?;
        self.observer.begun(index, job, size);
        let share = self.bytes.take(bytes_of(&input, size));
        drop(reading);

        let turn = self.restoring.take(1);
        let restored = self.restorer.restore_job(job, &input, &self.options, &tell, self.cancel)?;
        drop(turn);

        let file = self.restorer.finish_job(job, &input, restored, &self.options, &files)?;
        drop(share);
        Ok(Outcome::Done(file, start.elapsed().as_secs_f64()))
    }

    /// What the journal proves of a picture whose input has been read.
    fn proven(&self, job: &Job, entry: &Entry<'_>) -> Proven {
        let Some(last) = entry.journal.and_then(|journal| journal.last(&entry.name)) else {
            return Proven::Nothing;
        };
        let same = last.options_blake3 == entry.options_hash && last.input_blake3 == entry.input_hash;
        match &last.result {
            Recorded::Done { output_blake3, width, height, .. } => {
                let Output::File(path) = &job.output else { return Proven::Nothing };
                let content = || open_file(path).ok().and_then(|file| hash(file).ok());
                let whole = || content().as_ref() == Some(output_blake3);
                if same && whole() {
                    return Proven::Outcome(Box::new(Outcome::Kept { width: *width, height: *height }));
                }
                Proven::Ours
            }
            Recorded::Begun => Proven::Ours,
            Recorded::Failed { error, lasting } if same && *lasting && !self.retry_failed => {
                Proven::Outcome(Box::new(Outcome::FailedBefore(error.clone())))
            }
            Recorded::Failed { .. } => Proven::Nothing,
        }
    }

    fn report(&self, index: usize, outcome: Outcome) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.waiting.insert(index, outcome);
        loop {
            let next = reports.next;
            let Some(outcome) = reports.waiting.remove(&next) else { break };
            reports.tell(next, &self.jobs[next], outcome, self.observer);
            reports.next += 1;
        }
    }

    fn stop(&self, error: Error) {
        self.stopped.store(true, Ordering::Relaxed);
        let mut fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner);
        fatal.get_or_insert(error);
    }
}

/// Bytes of a picture and its result of `size`.
fn bytes_of(input: &Picture, size: (usize, usize)) -> u64 {
    let planes = 3 + u64::from(input.alpha.is_some());
    let area = |width: usize, height: usize| width as u64 * height as u64;
    let pixels = area(input.width(), input.height()).saturating_add(area(size.0, size.1));
    pixels.saturating_mul(planes * size_of::<f32>() as u64)
}

/// What an error ends.
enum Stop {
    Picture(Error),
    Batch(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Picture(error)
    }
}

/// What a journal proves.
enum Proven {
    /// There is nothing to do.
    Outcome(Box<Outcome>),
    /// A result of this name is this program's, and to be made again.
    Ours,
    /// Nothing.
    Nothing,
}

/// The journal's view of one picture.
struct Entry<'a> {
    journal: Option<&'a Journal>,
    name: String,
    input: String,
    input_hash: Option<String>,
    options_hash: String,
}

impl Entry<'_> {
    fn append(&self, result: Recorded) -> Result<()> {
        let Some(journal) = self.journal else { return Ok(()) };
        journal.append(&Record {
            output: self.name.clone(),
            input: self.input.clone(),
            input_blake3: self.input_hash.clone(),
            options_blake3: self.options_hash.clone(),
            time: now(),
            result,
        })
    }
}

/// Passes on how far one picture is.
struct Tell<'a> {
    index: usize,
    job: &'a Job,
    observer: &'a dyn BatchObserver,
}

impl Observer for Tell<'_> {
    fn progress(&self, progress: Progress) {
        self.observer.progress(self.index, self.job, progress);
    }
}
