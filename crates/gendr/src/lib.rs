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
mod device;
mod error;
mod fast_vae;
mod files;
mod footprint;
mod memory;
mod options;
mod pixels;
mod plan;
mod progress;
mod restore;
mod restorer;
mod target_size;
mod timings;

pub use batch::{Input, Job, Naming, Output, plan};
pub use device::DeviceChoice;
pub use error::{Error, ErrorKind, Result};
pub use files::FileOptions;
pub use gendr_image::{ColorFix, Depth, Limits, OutputFormat, Picture, Planes, Strip, read, write_atomic};
pub use memory::{available_memory, format_bytes, peak_memory};
pub use options::{MIN_TILE, RestoreOptions, TILE_STEP, Tiling, VaeTiling};
pub use progress::{CancelFlag, Observer, Progress, Silent, Stage};
pub use restore::Restored;
pub use restorer::{BUILT_IN, Compute, ModelSource, Restorer};
pub use target_size::{MAX_SCALE, MAX_SIDE, TargetSize};
pub use timings::Timings;
