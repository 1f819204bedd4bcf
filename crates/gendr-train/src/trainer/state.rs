//! Everything a run needs to go on where it stopped.

use super::Part;
use crate::{Error, Result, files};
use burn::tensor::{Device, TensorData};
use gendr_model::{ElementType, Precision, Safetensors, SafetensorsWriter, StoredTensor};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The networks of a run after some steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) step: u64,
    pub(crate) parts: Vec<Part>,
}

impl Part {
    /// The lists that a checkpoint holds, by what their names start with.
    fn lists(&self) -> impl Iterator<Item = (&'static str, &Vec<Vec<f32>>)> {
        let average = self.average.as_ref().map(|average| ("average", average));
        let optimizer =
            [("first", &self.optimizer.first_moments), ("second", &self.optimizer.second_moments)];
        [("weights", &self.weights.values)].into_iter().chain(average).chain(optimizer)
    }

    fn lists_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Vec<Vec<f32>>)> {
        let average = self.average.as_mut().map(|average| ("average", average));
        let (first, second) = (&mut self.optimizer.first_moments, &mut self.optimizer.second_moments);
        let optimizer = [("first", first), ("second", second)];
        [("weights", &mut self.weights.values)].into_iter().chain(average).chain(optimizer)
    }
}

impl State {
    /// A run before its first step.
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        Self { step: 0, parts }
    }

    /// The network called `name`.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn part(&mut self, name: &str) -> Result<&mut Part> {
        let found = self.parts.iter_mut().find(|part| part.name == name);
        found.ok_or_else(|| Error::argument(format!("no network {name} in this run")))
    }

    /// Moves the networks' numbers to `device` if that is not the processor, whose memory they are in.
    pub(crate) fn reside_on(&mut self, device: &Device) {
        let device = device.clone().without_autodiff();
        if device != Device::flex() {
            self.parts.iter_mut().for_each(|part| part.reside_on(&device));
        }
    }

    /// Writes `checkpoint-STEP.safetensors`, then removes all but the newest `keep`.
    pub(crate) fn save(&mut self, folder: &Path, settings: &str, keep: usize) -> Result<PathBuf> {
        let path = folder.join(format!("checkpoint-{:08}.safetensors", self.step));
        self.write(&path, settings)?;
        let old = checkpoints(folder)?.into_iter().rev().skip(keep);
        old.for_each(|path| {
            // One too many is no reason to stop.
            let _ = fs::remove_file(path);
        });
        Ok(path)
    }

    /// Writes `offending-STEP.safetensors`, which no run resumes from: what a step that went wrong started with.
    pub(crate) fn save_offending(&mut self, folder: &Path, settings: &str) -> Result<PathBuf> {
        let path = folder.join(format!("offending-{:08}.safetensors", self.step));
        self.write(&path, settings)?;
        Ok(path)
    }

    /// Continues from the newest checkpoint of `folder`, if there is one; `self` is the start of the same run.
    ///
    /// # Errors
    /// Where it is damaged or belongs to other settings.
    pub(crate) fn resume(mut self, folder: &Path, settings: &str) -> Result<Self> {
        let Some(path) = checkpoints(folder)?.pop() else { return Ok(self) };
        let file = Safetensors::open(&path).map_err(|error| damaged(&path, &error))?;
        let about = file.metadata();
        if about.get("settings").is_none_or(|found| found != settings) {
            let message = format!("a checkpoint of another configuration: {}", path.display());
            return Err(Error::argument(message).with_hint("give the run a folder of its own"));
        }
        let count = |key: &str| -> Result<u64> {
            let text = about.get(key).and_then(|text| text.parse().ok());
            text.ok_or_else(|| damaged(&path, &format!("no number of steps `{key}`")))
        };
        self.step = count("step")?;
        for part in &mut self.parts {
            part.optimizer.steps = count(&format!("step.{}", part.name))?;
            let (name, names) = (part.name.clone(), part.weights.names.clone());
            for (list, values) in part.lists_mut() {
                for (tensor, values) in names.iter().zip(values) {
                    let name = format!("{name}.{list}.{tensor}");
                    let stored = file.tensors().get(&name);
                    let stored = stored.ok_or_else(|| damaged(&path, &format!("no tensor {name}")))?;
                    read(stored, values)
                        .ok_or_else(|| damaged(&path, &format!("{name} has another size")))?;
                }
            }
        }
        Ok(self)
    }

    /// One tensor at a time, so that a state is in memory once.
    fn write(&mut self, path: &Path, settings: &str) -> Result<()> {
        self.parts.iter_mut().try_for_each(Part::settle)?;
        let mut about = BTreeMap::from([
            ("step".to_owned(), self.step.to_string()),
            ("settings".to_owned(), settings.to_owned()),
        ]);
        let mut tensors = Vec::new();
        for part in &self.parts {
            about.insert(format!("step.{}", part.name), part.optimizer.steps.to_string());
            for (list, _) in part.lists() {
                let named = part.weights.names.iter().zip(&part.weights.shapes);
                let full = |name: &String| format!("{}.{list}.{name}", part.name);
                tensors.extend(named.map(|(name, shape)| (full(name), shape.clone())));
            }
        }
        let mut writer = SafetensorsWriter::create(path, Precision::F32, tensors.clone(), &about)?;
        let lists = self.parts.iter().flat_map(Part::lists);
        let values = lists.flat_map(|(_, list)| list);
        for ((name, shape), values) in tensors.iter().zip(values) {
            writer.write(name, TensorData::new(values.clone(), shape.clone()))?;
        }
        Ok(writer.finish()?)
    }
}

/// Copies the floats of a tensor of the same size.
fn read(stored: &StoredTensor, values: &mut [f32]) -> Option<()> {
    let bytes = Some(stored.bytes()).filter(|bytes| bytes.len() == 4 * values.len())?;
    if stored.element() != ElementType::F32 {
        return None;
    }
    let floats = bytes.as_chunks::<4>().0.iter();
    values.iter_mut().zip(floats).for_each(|(value, bytes)| *value = f32::from_le_bytes(*bytes));
    Some(())
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
    use crate::{parameters::Parameters, trainer::PartConfig};

    fn state(step: u64) -> State {
        let part = |name: &str, average_decay| {
            let weights = Parameters {
                names: vec!["a.weight".to_owned(), "b".to_owned()],
                shapes: vec![vec![2, 2], vec![3]],
                values: vec![vec![1.0, -2.0, 3.5, 0.25], vec![step as f32, 5.0, 6.0]],
            };
            let mut part = Part::of(name, weights, PartConfig { average_decay, ..PartConfig::default() });
            part.optimizer.steps = step / 2;
            part.optimizer.first_moments[1][2] = 0.5;
            part
        };
        let mut state = State::new(vec![part("theta", Some(0.9)), part("psi", None)]);
        state.step = step;
        state.parts[0].average.as_mut().expect("an average")[0][3] = 9.0;
        state
    }

    #[test]
    fn a_checkpoint_brings_everything_back_and_old_ones_go() {
        let folder = tempfile::tempdir().expect("a folder");
        for step in [1, 2, 12] {
            state(step).save(folder.path(), "s", 2).expect("room");
        }
        state(20).save_offending(folder.path(), "s").expect("room");
        assert_eq!(state(0).resume(folder.path(), "s").expect("a checkpoint"), state(12));
        assert_eq!(checkpoints(folder.path()).expect("a folder").len(), 2);
    }

    #[test]
    fn another_configuration_and_damage_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = state(3).save(folder.path(), "s", 2).expect("room");
        let error = state(0).resume(folder.path(), "other").expect_err("other settings");
        assert_eq!(error.kind(), crate::ErrorKind::Argument);
        let bytes = fs::read(&path).expect("readable");
        for length in [0, 7, 100, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).expect("room");
            let error = state(0).resume(folder.path(), "s").expect_err("damage");
            assert_eq!(error.kind(), crate::ErrorKind::Input);
            assert!(error.hint().is_some());
        }
    }
}
