//! What all stages share: networks in training, states to resume from, and the loop.

mod config;
mod part;
mod resident;
mod run;
mod state;

pub use config::{CheckpointConfig, DataConfig, Paths, Presets, StepsConfig, ValidationConfig};
pub(crate) use config::{Rule, check_rules, one};
pub use part::{Part, PartConfig};
pub use run::Report;
pub(crate) use run::{Plan, Scores, Stage, settings_text, train};
pub(crate) use state::State;
