//! Pictures larger than memory: rows in, rows out, and a row of tiles in between.
//!
//! For networks that go tile by tile and formats that are written from top to bottom. The pixels are those of the same tiles
//! with everything in memory.

mod comparison;
mod finish;
mod generate;
mod row_buffer;
mod source;
mod spool;

use std::{
    fs::File,
    io::{Seek, SeekFrom},
    ops::Range,
    path::Path,
    time::Instant,
};

use gendr_image::{
    AtomicFile, Depth, EncodeOptions, Notice, OutputFormat, Picture, StripReader, StripWriter,
};

use self::{
    comparison::Comparison,
    finish::{Finisher, Fit, Last},
    generate::Generator,
    source::{Enlarged, Part, Source},
};
use crate::{
    CancelFlag, Error, FileOptions, Input, Job, Observer, Output, Progress, Recipe, RestoreOptions,
    RestoredFile, Restorer, Result, Stage, Timings,
    files::hash,
    plan::Plan,
    recipe,
    restore_file::{allow, write_heat_map},
};

/// Rows that are worked on at a time.
const BAND: usize = 64;

/// The input of a job.
pub(crate) enum Opened<'a> {
    /// Read as a whole.
    Whole(Box<Picture>),
    /// To be restored from top to bottom.
    Streamed(Box<StreamedJob<'a>>),
}

/// A picture that will be restored from top to bottom.
pub(crate) struct StreamedJob<'a> {
    input: &'a Path,
    output: &'a Path,
    reader: StripReader,
    plan: Plan,
}

impl StreamedJob<'_> {
    /// Width and height of the result.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.plan.target
    }
}

impl Restorer {
    /// Reads the input of a job, or only its head where it is to be restored from top to bottom: where the whole would take
    /// more than half of the memory, and network and formats can.
    ///
    /// # Errors
    /// Those of reading, naming the file, and of planning.
    pub(crate) fn open_job<'a>(
        &self,
        job: &'a Job,
        options: &RestoreOptions,
        files: &FileOptions,
    ) -> Result<Opened<'a>> {
        let (Input::File(input), Output::File(output)) = (&job.input, &job.output) else {
            return Ok(Opened::Whole(Box::new(job.read(files)?)));
        };
        if !self.can_go_by_rows(job) {
            return Ok(Opened::Whole(Box::new(job.read(files)?)));
        }
        let reader = StripReader::open(input, &files.limits)?;
        if !self.goes_by_rows(job, reader.size(), options)? {
            let picture = read_all(reader).map_err(|error| Error::from(error).with_path(input))?;
            return Ok(Opened::Whole(Box::new(picture)));
        }
        let plan = self.plan_by_rows(&reader, options).map_err(|error| error.with_path(input))?;
        Ok(Opened::Streamed(Box::new(StreamedJob { input, output, reader, plan })))
    }

    /// Whether network and format can.
    fn can_go_by_rows(&self, job: &Job) -> bool {
        let file = matches!(job.output, Output::File(_));
        let writable = matches!(job.format, OutputFormat::Png | OutputFormat::Tiff);
        file && writable && generate::is_possible(&self.model.networks)
    }

    /// Whether a picture of `size` is restored from top to bottom.
    ///
    /// # Errors
    /// Those of a size that makes no sense.
    pub(crate) fn goes_by_rows(
        &self,
        job: &Job,
        size: (usize, usize),
        options: &RestoreOptions,
    ) -> Result<bool> {
        let whole = Plan::bytes_of_pictures(&self.model, size, options)?;
        Ok(self.can_go_by_rows(job) && whole > self.memory(options) / 2)
    }

    /// Plans to restore a picture from top to bottom.
    ///
    /// # Errors
    /// As [`Plan::by_rows`].
    pub(crate) fn plan_by_rows(&self, reader: &StripReader, options: &RestoreOptions) -> Result<Plan> {
        // As many readers work at once: of the network, the colours, those beyond, the comparison, and the first.
        let memory = self.memory(options).saturating_sub(5 * reader.held_bytes());
        Plan::by_rows(&self.model, reader.size(), options, memory)
    }

    /// Restores a picture from top to bottom, file to file.
    ///
    /// # Errors
    /// As [`Restorer::restore_file`]; a limit error where something is asked for that needs the whole picture.
    pub(crate) fn restore_streamed(
        &self,
        job: &Job,
        streamed: StreamedJob<'_>,
        options: &RestoreOptions,
        files: &FileOptions,
        observer: &dyn Observer,
        cancel: &CancelFlag,
    ) -> Result<RestoredFile> {
        self.check(options)?;
        let start = Instant::now();
        let StreamedJob { input, output, reader, plan } = streamed;
        let mut like = Picture { notices: Vec::new(), ..reader.header().clone() };
        let mut notices = reader.header().notices.clone();
        let whole = like.alpha.is_some().then(|| gendr_image::read(input, &files.limits)).transpose()?;
        let source = match &whole {
            Some(picture) => Source::whole(input, &files.limits, picture),
            None => Source::strips(input, &files.limits, reader),
        };
        let alpha = whole.and_then(|picture| picture.alpha);
        let cutting = plan.cutting(false);
        let recipe = Recipe::of(self, options, files, job.format, cutting);
        notices.extend(recipe::store(&recipe, &mut like.metadata));
        if files.before_after.is_some() {
            notices.push(Notice::dropped("no before and after: the picture is larger than memory"));
        }

        job.check_output(files)?;
        job.make_folder()?;
        let file = AtomicFile::create(output, &[input])?;
        let FileOptions { quality, depth, strip, .. } = *files;
        let encoding = EncodeOptions { format: job.format, quality, depth, strip };
        let (writer, lost) = StripWriter::new(file.handle()?, &like, plan.target, &encoding)
            .map_err(|error| Error::from(error).with_path(output))?;
        notices.extend(lost);
        let compared = files.consistency || files.max_drift.is_some();
        let comparison = compared.then(|| {
            Comparison::new(source.again(Part::All)?, like.color_space(), alpha.as_ref(), plan.target)
        });
        let has_beyond = like.color_space().is_some() || like.depth == Depth::Float;
        let beyond = has_beyond.then(|| Enlarged::new(source.again(Part::Beyond)?, plan.target));
        let plain = (options.fidelity > 0.0).then(|| Enlarged::new(source.again(Part::Within)?, plan.target));
        let last = Last {
            writer,
            space: like.color_space(),
            grey: like.grey,
            alpha,
            target: plan.target,
            fit: Fit::new(&plan)?,
            fidelity: options.fidelity,
            plain: plain.transpose()?,
            comparison: comparison.transpose()?,
            beyond: beyond.transpose()?,
        };
        let fix = options.color_fix.unwrap_or(self.color_fix);
        let enlarged = Enlarged::new(source.again(Part::Within)?, plan.working)?;
        let read = source.again(Part::Within)?;
        drop(source);
        let mut finisher = Finisher::new(enlarged, fix, &plan, output, last)?;
        let network = self.on_threads(|| {
            let mut generator = Generator::new(self, &plan, f64::from(options.guidance), read)?;
            let mut done = 0;
            let tell = |done: usize| {
                let total = cutting.tiles;
                let fraction = done as f64 / total as f64;
                observer.progress(Progress { stage: Stage::Network, done, total, fraction });
            };
            tell(0);
            let tile_done = || {
                done += 1;
                tell(done);
                cancel.check()
            };
            generator.run(tile_done, |band| finisher.push(&band))?;
            let network = start.elapsed();
            Ok::<_, Error>((network, finisher.end()?))
        });
        let (network, map) = network.map_err(|error| error.with_path(input))?;
        let drift = map.as_ref().map(|map| map.drift);
        allow(drift, job, files)?;
        let blake3 = hash_of(file.handle()?).map_err(|error| Error::io(error, output))?;
        if let Some(map) = map.filter(|_| files.consistency) {
            write_heat_map(&map, job, files)?;
        }
        file.commit()?;
        let timings = Timings { network, total: start.elapsed(), ..Timings::default() };
        let (width, height) = plan.target;
        Ok(RestoredFile { width, height, notices, timings, cutting, drift, blake3 })
    }
}

/// The whole picture out of a reader.
fn read_all(mut reader: StripReader) -> gendr_image::Result<Picture> {
    let (_, height) = reader.size();
    let band = reader.read(height)?.ok_or_else(|| gendr_image::Error::input("a picture without rows"))?;
    Ok(Picture { color: band.color, alpha: band.alpha, ..reader.header().clone() })
}

/// `rows` in bands.
fn bands(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(BAND).map(move |start| start..(start + BAND).min(end))
}

/// BLAKE3 of all that was written.
fn hash_of(mut file: File) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    hash(file)
}

#[cfg(test)]
mod tests;
