//! The training stages of GenDR.

mod adamw;
mod config;
mod ema;
mod error;
mod files;
mod pairs;
mod parameters;
mod photos;
mod progress;
pub mod regress;
mod schedule;
mod teacher;

pub use adamw::{AdamW, AdamWConfig, clip_gradients, gradient_norm};
pub use config::{parse_config, read_config};
pub use ema::{half_life_decay, update_average, warm_decay};
pub use error::{Error, ErrorKind, Result};
pub use photos::PhotosConfig;
pub use progress::{Event, Progress, Silent};
pub use schedule::Schedule;
