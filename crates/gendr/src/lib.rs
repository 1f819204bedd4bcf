//! GenDR, a one-step generative photo restorer: the library people call.
//!
//! A [`Restorer`] is a model on a device. It takes a [`Picture`] and [`RestoreOptions`], the one request type of
//! command, server and bindings, and gives a [`Restored`] picture of exactly the size asked for. Progress is told to an
//! [`Observer`], and a [`CancelFlag`] stops the work. For files, [`plan`] names every result before the first picture is
//! read, and [`Restorer::restore_file`] takes one of its jobs from file to file.
//!
//! ```no_run
//! use gendr::{CancelFlag, Compute, ModelSource, RestoreOptions, Restorer, Silent};
//!
//! # fn main() -> gendr::Result<()> {
//! let restorer = Restorer::open(&ModelSource::BuiltIn, Compute::default())?;
//! let picture = gendr::read(std::path::Path::new("photo.jpg"), &gendr::Limits::default())?;
//! let restored = restorer.restore(&picture, &RestoreOptions::default(), &Silent, &CancelFlag::new())?;
//! assert_eq!(restored.picture.width(), 4 * picture.width());
//! # Ok(())
//! # }
//! ```

mod batch;
mod before_after;
mod device;
mod drift;
mod error;
mod fast_vae;
mod files;
mod footprint;
mod forecast;
mod kernel_bench;
mod memory;
mod options;
mod pixels;
mod plan;
mod progress;
mod recipe;
mod restore;
mod restore_file;
mod restorer;
mod retry;
mod self_test;
mod stream;
mod target_size;
mod timings;

pub use batch::{
    BatchObserver, BatchOptions, Input, JOURNAL, Job, Naming, Outcome, Output, Patterns, Shard, Summary, plan,
};
pub use before_after::BeforeAfter;
pub use device::DeviceChoice;
pub use drift::Drift;
pub use error::{Error, ErrorKind, Result};
pub use files::{FileOptions, Written};
pub use forecast::Forecast;
pub use gendr_image::{
    ColorFix, Depth, Limits, Notice, OutputFormat, Picture, Planes, Strip, read, write_atomic,
};
pub use gendr_model::Precision;
pub use kernel_bench::{
    KernelCase, KernelPeak, KernelTime, Part as KernelPart, Work as KernelWork, full_size_cases, kernel_peak,
    time_kernels,
};
pub use memory::{available_memory, format_bytes, peak_memory};
pub use options::{MIN_TILE, RestoreOptions, TILE_STEP, Tiling, VaeTiling};
pub use plan::Cutting;
pub use progress::{CancelFlag, Observer, Progress, Silent, Stage};
pub use recipe::{Recipe, RecipeFile, RecipeModel};
pub use restore::Restored;
pub use restore_file::RestoredFile;
pub use restorer::{BUILT_IN, Compute, ModelSource, Restorer, built_in_file};
pub use self_test::SelfTest;
pub use target_size::{MAX_SCALE, MAX_SIDE, TargetSize};
pub use timings::Timings;
