//! Reads reference numbers: pairs of `NAME.json` and `NAME.safetensors`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use gendr_image::Planes;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// One pair of files.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) json: Value,
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

/// Values widened to f32.
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Fixture {
    /// Every pair in a folder of the fixtures; fails where there is none.
    pub(crate) fn all(folder: &str) -> Vec<Self> {
        let root = std::env::var_os("GENDR_FIXTURES").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")),
            PathBuf::from,
        );
        let mut found = Vec::new();
        for entry in fs::read_dir(root.join(folder)).expect("the fixture folder") {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                let bytes = fs::read(path.with_extension("safetensors")).unwrap();
                let tensors = SafeTensors::deserialize(&bytes).unwrap();
                let tensors = tensors.iter().map(|(name, view)| (name.to_owned(), widen(&view))).collect();
                found.push(Self { name: path.display().to_string(), json, tensors });
            }
        }
        assert!(!found.is_empty(), "no fixture in {folder}");
        found
    }

    /// Names and expected tensors.
    pub(crate) fn expected(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors
            .iter()
            .filter(|(name, _)| self.json["tensors"][name.as_str()]["role"] == "expected")
            .map(|(name, tensor)| (name.as_str(), tensor))
    }

    pub(crate) fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor {name}", self.name))
    }

    /// Fails unless every value passes `|got - want| <= abs + rel * |want|`.
    pub(crate) fn check(&self, name: &str, got: &[f32]) {
        let want = &self.tensor(name).values;
        assert_eq!(got.len(), want.len(), "{}: {name}: number of values", self.name);
        let tolerance = &self.json["tensors"][name]["tolerance"];
        let bound = |key: &str| tolerance[key].as_f64().unwrap_or_else(|| panic!("{name}: no tolerance"));
        let (abs, rel) = (bound("abs"), bound("rel"));
        for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
            let (got, want) = (f64::from(got), f64::from(want));
            assert!(
                (got - want).abs() <= abs + rel * want.abs(),
                "{}: {name}[{index}]: {got}, not {want}",
                self.name
            );
        }
    }
}

impl Tensor {
    /// The pictures of a batch `[n, channels, height, width]`, or the one picture `[channels, height, width]`.
    pub(crate) fn pictures(&self) -> Vec<Planes> {
        let [channels, height, width] = self.shape[self.shape.len() - 3..] else { panic!("not a picture") };
        self.values
            .chunks(channels * height * width)
            .map(|values| Planes::from_vec(channels, height, width, values.to_vec()).unwrap())
            .collect()
    }
}

fn widen(view: &safetensors::tensor::TensorView<'_>) -> Tensor {
    let data = view.data();
    let values = match view.dtype() {
        Dtype::U8 => data.iter().map(|&value| f32::from(value)).collect(),
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::F64 => {
            data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap()) as f32).collect()
        }
        other => panic!("unexpected type {other:?}"),
    };
    Tensor { shape: view.shape().to_vec(), values }
}
