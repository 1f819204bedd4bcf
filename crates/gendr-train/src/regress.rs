//! Supervised training of a one-step restorer on pairs: towards a teacher's result, the sharp picture, or both.

mod config;
mod losses;
mod run;
mod state;
mod student;

pub use config::{
    CheckpointConfig, DataConfig, LossConfig, ModelConfig, RegressConfig, TeacherConfig, TrainingConfig,
    ValidationConfig,
};
pub use run::{Report, run};

use crate::{
    Result,
    pairs::{Pairs, PairsConfig, Teacher, load_or_make, pairs_folder},
    photos::{Photos, Split},
    progress::Progress,
    teacher::RealEsrgan,
};
use std::path::PathBuf;

/// Folders of a run.
#[derive(Clone, Debug)]
pub struct Paths {
    /// What the data and teacher paths of the configuration are relative to.
    pub data: PathBuf,
    /// Where training pairs are kept between runs.
    pub cache: PathBuf,
    /// Where the log, the checkpoints and the result go.
    pub run: PathBuf,
}

/// Reads the training pairs, making those that are missing.
pub(crate) fn training_pairs(
    config: &RegressConfig,
    paths: &Paths,
    teacher: Option<(&str, &dyn Teacher)>,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Pairs> {
    let degradation = config.data.degradation()?;
    let photos = Photos::list(&config.data.photos, &paths.data, Split::Training)?;
    let pairs = PairsConfig { seed: config.seed, photos: &config.data.photos, degradation: &degradation };
    let folder = pairs_folder(&paths.cache, &pairs, &photos)?;
    load_or_make(&folder, &pairs, &photos, teacher, config.data.pairs, progress, cancelled)
}

/// Makes the training pairs and the teacher's results, those that exist excepted.
///
/// # Errors
/// As `run`.
pub fn prepare(config: &RegressConfig, paths: &Paths, progress: &dyn Progress) -> Result<usize> {
    let teacher = match &config.teacher {
        Some(teacher) => Some(RealEsrgan::open(&paths.data.join(&teacher.weights))?),
        None => None,
    };
    let teacher = teacher.as_ref().map(|teacher| ("x4plus", teacher as &dyn Teacher));
    Ok(training_pairs(config, paths, teacher, progress, &|| false)?.count)
}
