//! GenDR, a one-step generative photo restorer: the library people call.

mod device;
mod error;
mod memory;
mod options;
mod progress;
mod target_size;

pub use device::DeviceChoice;
pub use error::{Error, ErrorKind, Result};
pub use gendr_image::ColorFix;
pub use memory::{available_memory, format_bytes, peak_memory};
pub use options::{MIN_TILE, RestoreOptions, TILE_STEP, Tiling, VaeTiling};
pub use progress::{CancelFlag, Observer, Silent, Stage};
pub use target_size::{MAX_SCALE, MAX_SIDE, TargetSize};
