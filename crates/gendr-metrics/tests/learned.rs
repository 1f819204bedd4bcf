//! Learned metrics against reference numbers made with small random networks.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

use std::{fs, path::PathBuf};

use gendr_image::{Limits, Planes};
use gendr_metrics::{Dists, Lpips, Weights, learned_metric, learned_metrics};
use serde_json::Value;

fn folder() -> PathBuf {
    let root = std::env::var_os("GENDR_FIXTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures"), PathBuf::from);
    root.join("metrics")
}

fn picture(name: &str) -> Planes {
    gendr_image::read(&folder().join(format!("images/{name}.png")), &Limits::default()).unwrap().color
}

fn numbers(bytes: &[u8], name: &str) -> Vec<f64> {
    let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let view = tensors.tensor(name).unwrap();
    match view.dtype() {
        safetensors::Dtype::F64 => {
            view.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
        }
        _ => view.data().as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect(),
    }
}

#[test]
fn fixtures_metrics_lpips() {
    let about: Value = serde_json::from_slice(&fs::read(folder().join("lpips.json")).unwrap()).unwrap();
    let bytes = fs::read(folder().join("lpips.safetensors")).unwrap();
    let mut checked = 0;
    for (name, tensor) in about["tensors"].as_object().unwrap() {
        let [network, pair, what] = name.split('.').collect::<Vec<_>>()[..] else { continue };
        if tensor["role"] != "expected" {
            continue;
        }
        let weights = Weights::parse(&bytes, &format!("{network}.")).unwrap();
        let lpips = if network == "alex" { Lpips::alex(&weights) } else { Lpips::vgg(&weights) }.unwrap();
        let (reference, output) = (picture(&format!("{pair}_ref")), picture(&format!("{pair}_dist")));
        let got = match what {
            "layers" => lpips.layers(&output, &reference).unwrap(),
            _ => vec![lpips.score(&output, &reference).unwrap()],
        };
        let wanted = numbers(&bytes, name);
        assert_eq!(got.len(), wanted.len());
        let [absolute, relative] = ["abs", "rel"].map(|kind| tensor["tolerance"][kind].as_f64().unwrap());
        for (got, wanted) in got.iter().zip(wanted) {
            assert!(
                (got - wanted).abs() <= absolute + relative * wanted.abs(),
                "{name}: {got}, wanted {wanted}"
            );
        }
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn dists_agrees_with_pyiqa() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let bytes = fs::read(data.join("dists.safetensors")).unwrap();
    let expected: Value = serde_json::from_slice(&fs::read(data.join("dists.json")).unwrap()).unwrap();
    let dists = Dists::new(&Weights::parse(&bytes, "").unwrap()).unwrap();
    let pairs = expected.as_object().unwrap();
    assert!(!pairs.is_empty());
    for (pair, wanted) in pairs {
        let (reference, output) = (picture(&format!("{pair}_ref")), picture(&format!("{pair}_dist")));
        let (got, wanted) = (dists.score(&output, &reference).unwrap(), wanted.as_f64().unwrap());
        assert!((got - wanted).abs() <= 1e-5 + 1e-4 * wanted, "{pair}: {got}, wanted {wanted}");
        assert!(dists.score(&reference, &reference).unwrap().abs() < 1e-6);
    }
    assert!(dists.score(&Planes::filled(3, 15, 40, 0.5), &Planes::filled(3, 15, 40, 0.5)).is_err());
}

#[test]
fn missing_and_wrong_weights_are_named() {
    let empty = tempfile::tempdir().unwrap();
    for info in learned_metrics() {
        for folder in [None, Some(empty.path())] {
            let error = learned_metric(info.id, folder).err().unwrap();
            assert!(error.to_string().starts_with(&format!("{} cannot be computed: ", info.id)), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains(".pth") && hint.contains("--weights")));
        }
    }
    fs::copy(folder().join("lpips.safetensors"), empty.path().join("lpips-alex.safetensors")).unwrap();
    let error = learned_metric("lpips-alex", Some(empty.path())).err().unwrap();
    assert!(error.to_string().contains("the weights lack features.0.weight"), "{error}");
}
