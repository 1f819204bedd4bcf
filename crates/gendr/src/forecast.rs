//! What restoring a picture will take, told before it is done.

use gendr_image::StripReader;

use crate::{Cutting, Error, FileOptions, Input, Job, RestoreOptions, Restorer, Result, plan::Plan};

/// What restoring a picture will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Columns and rows of the input.
    pub input: (usize, usize),
    /// Columns and rows of the result.
    pub size: (usize, usize),
    /// How the picture will be cut.
    pub cutting: Cutting,
    /// Bytes of memory, at most, beside the model and the samples of the file.
    pub bytes: u64,
    /// Whether rows will come and go, as the whole is too large for the memory.
    pub by_rows: bool,
}

impl Restorer {
    /// Plans a job without doing it. Of PNG and TIFF only the head is read.
    ///
    /// # Errors
    /// Those that restoring would have before the network is at work: the result exists, the input cannot be read, the
    /// memory does not suffice.
    pub fn forecast(&self, job: &Job, options: &RestoreOptions, files: &FileOptions) -> Result<Forecast> {
        self.check(options)?;
        job.check_output(files)?;
        let Input::File(path) = &job.input else {
            return Err(Error::argument("standard input cannot be looked at beforehand").with_path("-"));
        };
        let reader = StripReader::open(path, &files.limits)?;
        let input = reader.size();
        let by_rows = self.goes_by_rows(job, input, options)?;
        let plan = if by_rows {
            self.plan_by_rows(&reader, options)
        } else {
            Plan::new(&self.model, input, options, self.memory(options))
        };
        let plan = plan.map_err(|error| error.with_path(path))?;
        let cutting = plan.cutting(self.has_autoencoder());
        Ok(Forecast { input, size: plan.target, cutting, bytes: plan.bytes, by_rows })
    }
}
