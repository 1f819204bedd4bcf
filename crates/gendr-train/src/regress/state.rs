//! Everything a run needs to go on where it stopped.

use crate::{AdamW, AdamWConfig, Error, Result, files, parameters::Parameters};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// Weights, their average and the optimiser's memory after some steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) step: u64,
    pub(crate) weights: Parameters,
    pub(crate) average: Vec<Vec<f32>>,
    pub(crate) optimizer: AdamW,
}

impl State {
    pub(crate) fn new(weights: Parameters, config: AdamWConfig) -> Self {
        let optimizer = AdamW::new(config, weights.values.iter().map(Vec::len));
        Self { step: 0, average: weights.values.clone(), weights, optimizer }
    }

    /// The four lists that a checkpoint holds, by the prefix of their names.
    fn lists(&self) -> [(&'static str, &Vec<Vec<f32>>); 4] {
        let AdamW { first_moments, second_moments, .. } = &self.optimizer;
        [
            ("weights", &self.weights.values),
            ("average", &self.average),
            ("first", first_moments),
            ("second", second_moments),
        ]
    }

    /// Writes `checkpoint-STEP.safetensors` and removes all but the newest `keep`.
    pub(crate) fn save(&self, folder: &Path, settings: &str, keep: usize) -> Result<PathBuf> {
        let mut views = Vec::new();
        for (prefix, list) in self.lists() {
            for ((name, shape), values) in self.weights.names.iter().zip(&self.weights.shapes).zip(list) {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
                views.push((format!("{prefix}.{name}"), view.map_err(|error| damaged(folder, &error))?));
            }
        }
        let about = [("step", self.step.to_string()), ("settings", settings.to_owned())];
        let about: HashMap<_, _> = about.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let bytes = safetensors::serialize(views, Some(about)).map_err(|error| damaged(folder, &error))?;
        let path = folder.join(format!("checkpoint-{:08}.safetensors", self.step));
        files::write_atomically(&path, &bytes)?;
        let old = checkpoints(folder)?.into_iter().rev().skip(keep);
        old.for_each(|path| {
            // One too many is no reason to stop.
            let _ = fs::remove_file(path);
        });
        Ok(path)
    }

    /// Continues from the newest checkpoint of `folder`, if there is one; `self` is the start of the same run.
    ///
    /// # Errors
    /// Where it is damaged or belongs to other settings.
    pub(crate) fn resume(mut self, folder: &Path, settings: &str) -> Result<Self> {
        let Some(path) = checkpoints(folder)?.pop() else { return Ok(self) };
        let bytes = files::read(&path)?;
        let about = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(&path, &error))?.1;
        let about = about.metadata().clone().unwrap_or_default();
        if about.get("settings").is_none_or(|found| found != settings) {
            let message = format!("a checkpoint of another configuration: {}", path.display());
            return Err(Error::argument(message).with_hint("give the run a folder of its own"));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(&path, &error))?;
        let step = about.get("step").and_then(|step| step.parse().ok());
        self.step = step.ok_or_else(|| damaged(&path, &"no step"))?;
        self.optimizer.steps = self.step;
        let AdamW { first_moments, second_moments, .. } = &mut self.optimizer;
        let lists = [
            ("weights", &mut self.weights.values),
            ("average", &mut self.average),
            ("first", first_moments),
            ("second", second_moments),
        ];
        for (prefix, list) in lists {
            for (name, values) in self.weights.names.iter().zip(list) {
                let name = format!("{prefix}.{name}");
                let view = file.tensor(&name).map_err(|error| damaged(&path, &error))?;
                if view.dtype() != Dtype::F32 || view.data().len() != 4 * values.len() {
                    return Err(damaged(&path, &format!("{name} has another size")));
                }
                let floats = view.data().as_chunks::<4>().0.iter();
                values.iter_mut().zip(floats).for_each(|(value, bytes)| *value = f32::from_le_bytes(*bytes));
            }
        }
        Ok(self)
    }
}

/// The checkpoints of a folder, oldest first.
fn checkpoints(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| files::with_path("cannot list", folder, error))?;
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("checkpoint-") && name.ends_with(".safetensors")
        })
        .collect();
    found.sort();
    Ok(found)
}

fn damaged(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::input(format!("a damaged checkpoint, {why}: {}", path.display()))
        .with_hint("delete it; the one before it is used then")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(step: u64) -> State {
        let weights = Parameters {
            names: vec!["a.weight".to_owned(), "b".to_owned()],
            shapes: vec![vec![2, 2], vec![3]],
            values: vec![vec![1.0, -2.0, 3.5, 0.25], vec![step as f32, 5.0, 6.0]],
        };
        let mut state = State::new(weights, AdamWConfig::default());
        state.step = step;
        state.optimizer.steps = step;
        state.optimizer.first_moments[1][2] = 0.5;
        state.average[0][3] = 9.0;
        state
    }

    #[test]
    fn a_checkpoint_brings_everything_back_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        for step in [1, 2, 12] {
            state(step).save(folder.path(), "s", 2).unwrap();
        }
        assert_eq!(state(0).resume(folder.path(), "s").unwrap(), state(12));
        assert_eq!(checkpoints(folder.path()).unwrap().len(), 2);
    }

    #[test]
    fn another_configuration_and_damage_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = state(3).save(folder.path(), "s", 2).unwrap();
        assert_eq!(state(0).resume(folder.path(), "other").unwrap_err().kind(), crate::ErrorKind::Argument);
        let bytes = fs::read(&path).unwrap();
        for length in [0, 7, 100, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(state(0).resume(folder.path(), "s").unwrap_err().kind(), crate::ErrorKind::Input);
        }
    }
}
