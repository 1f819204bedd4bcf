//! Supervised training of a one-step restorer on pairs: towards a teacher's result, the sharp picture, or both.

mod config;
mod losses;
mod run;
mod student;

pub use config::{LossConfig, ModelConfig, RegressConfig, TeacherConfig, TrainingConfig};
pub(crate) use losses::{loss, luma};
pub use run::run;
