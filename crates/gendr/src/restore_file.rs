//! One picture from file to file.

use gendr_image::{EncodeOptions, Notice, OutputFormat, Picture, encode};

use crate::{
    CancelFlag, Cutting, Drift, Error, FileOptions, Job, Observer, RestoreOptions, Restored, Restorer,
    Result, Timings,
    drift::DriftMap,
    files::write_beside,
    recipe::{self, Recipe},
    stream::Opened,
};

/// Ending of the heat map of a result's drift.
const HEAT_MAP: &str = "drift.png";
/// Largest result, in pixels, that is put into a page.
const MAX_PAGE: usize = 100_000_000;

/// A result that was written to a file or stream.
#[derive(Clone, Debug)]
pub struct RestoredFile {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// What was dropped or changed.
    pub notices: Vec<Notice>,
    /// How long restoring took, without reading and writing.
    pub timings: Timings,
    /// How the picture was cut.
    pub cutting: Cutting,
    /// How far the result lies from the input, where that was asked for.
    pub drift: Option<Drift>,
    /// BLAKE3 of the file's content, in hexadecimal.
    pub blake3: String,
}

impl Restorer {
    /// Restores one picture from file to file (or stream): [`Job::read`], [`Restorer::restore`], [`Job::write`].
    ///
    /// # Errors
    /// Theirs, all naming the file; a result that exists is refused before anything is read. A limit error where the result
    /// drifts further from the input than is allowed; nothing is written then.
    pub fn restore_file(
        &self,
        job: &Job,
        options: &RestoreOptions,
        files: &FileOptions,
        observer: &dyn Observer,
        cancel: &CancelFlag,
    ) -> Result<RestoredFile> {
        job.check_output(files)?;
        match self.open_job(job, options, files)? {
            Opened::Streamed(streamed) => {
                self.restore_streamed(job, *streamed, options, files, observer, cancel)
            }
            Opened::Whole(input) => {
                let restored = self.restore_job(job, &input, options, observer, cancel)?;
                self.finish_job(job, &input, restored, options, files)
            }
        }
    }

    /// Restores the picture of a job.
    pub(crate) fn restore_job(
        &self,
        job: &Job,
        input: &Picture,
        options: &RestoreOptions,
        observer: &dyn Observer,
        cancel: &CancelFlag,
    ) -> Result<Restored> {
        self.restore(input, options, observer, cancel).map_err(|error| error.with_path(job.input.to_string()))
    }

    /// Compares, labels and writes a restored picture. What goes beside it goes first, so that a result which is there has
    /// all that belongs to it.
    pub(crate) fn finish_job(
        &self,
        job: &Job,
        input: &Picture,
        mut restored: Restored,
        options: &RestoreOptions,
        files: &FileOptions,
    ) -> Result<RestoredFile> {
        let map = compare(job, input, &restored.picture, files)?;
        let mut recipe = Recipe::of(self, options, files, job.format, restored.cutting);
        recipe.drift = map.as_ref().map(|map| map.drift);
        restored.notices.extend(recipe::store(&recipe, &mut restored.picture.metadata));
        job.check_output(files)?;
        job.make_folder()?;
        if let Some(map) = map.as_ref().filter(|_| files.consistency) {
            write_heat_map(map, job, files)?;
        }
        if let Some(way) = files.before_after {
            if restored.picture.width() * restored.picture.height() > MAX_PAGE {
                let most = MAX_PAGE / 1_000_000;
                let lost = format!("no before and after: the result has over {most} megapixels");
                restored.notices.push(Notice::dropped(lost));
            } else {
                write_beside(job, way.extension(), &way.render(input, &restored.picture)?, files)?;
            }
        }
        let written = job.write(&restored.picture, files)?;
        restored.notices.extend(written.notices);
        Ok(RestoredFile {
            width: restored.picture.width(),
            height: restored.picture.height(),
            notices: restored.notices,
            timings: restored.timings,
            cutting: restored.cutting,
            drift: recipe.drift,
            blake3: written.blake3,
        })
    }
}

/// How far the result lies from the input, where that is asked for.
fn compare(job: &Job, input: &Picture, result: &Picture, files: &FileOptions) -> Result<Option<DriftMap>> {
    if !files.consistency && files.max_drift.is_none() {
        return Ok(None);
    }
    let map = DriftMap::measure(input, result)?;
    allow(Some(map.drift), job, files)?;
    Ok(Some(map))
}

/// Writes the heat map beside the result.
pub(crate) fn write_heat_map(map: &DriftMap, job: &Job, files: &FileOptions) -> Result<()> {
    let options = EncodeOptions::new(OutputFormat::Png);
    write_beside(job, HEAT_MAP, &encode(&map.picture(), &options)?.bytes, files)
}

/// Refuses a result that drifts further than is allowed.
pub(crate) fn allow(drift: Option<Drift>, job: &Job, files: &FileOptions) -> Result<()> {
    match drift.zip(files.max_drift) {
        Some((Drift { worst, .. }, most)) if worst > most => Err(Error::limit(format!(
            "the result drifts {worst:.4} from its input, over the limit of {most}"
        ))
        .with_hint("a higher `--fidelity` stays closer to the input; `--consistency` draws where it drifts")
        .with_path(job.input.to_string())),
        _ => Ok(()),
    }
}
