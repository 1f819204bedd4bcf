//! The metrics against the reference numbers in `fixtures/metrics`.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

use std::{fs, path::PathBuf};

use gendr_image::{Limits, Planes};
use gendr_metrics::{Luma, Niqe, NiqeModel, Ssim, crop_border, ms_ssim, psnr, psnr_y, ssimulacra2};
use serde_json::Value;

fn folder() -> PathBuf {
    let root = std::env::var_os("GENDR_FIXTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures"), PathBuf::from);
    root.join("metrics")
}

fn json(path: &PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Score files of the folder: those that hold pairs or NIQE scores of pictures.
fn score_files() -> Vec<Value> {
    let mut found: Vec<Value> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| json(&path))
        .filter(|scores| scores.get("pairs").is_some())
        .collect();
    assert!(!found.is_empty(), "no scores in {}", folder().display());
    found.sort_by_key(|scores| scores["fixture"].to_string());
    found
}

fn picture(name: &str) -> Planes {
    let path = folder().join("images").join(format!("{name}.png"));
    gendr_image::read(&path, &Limits::default()).unwrap().color
}

fn check(what: &str, got: f64, wanted: f64, tolerance: &Value) {
    let allowed = tolerance["abs"].as_f64().unwrap() + tolerance["rel"].as_f64().unwrap() * wanted.abs();
    assert!((got - wanted).abs() <= allowed, "{what}: got {got}, wanted {wanted} within {allowed}");
}

/// The score of the metric that the fixtures call `id`, and the name of its tolerance; `None` for learned metrics.
fn score(id: &str, output: &Planes, reference: &Planes) -> Option<(f64, &'static str)> {
    let [output4, reference4] = [output, reference].map(|picture| crop_border(picture, 4).unwrap());
    let scored = match id {
        "psnr_rgb" => (psnr(output, reference), "psnr"),
        "psnr_rgb_crop4" => (psnr(&output4, &reference4), "psnr"),
        "psnr_y_crop4" => (psnr_y(&output4, &reference4), "psnr"),
        "ssim_y_crop4" => (Ssim::Y_UNROUNDED.score(&output4, &reference4), "ssim"),
        "ssim_rgb" => (Ssim::RGB.score(output, reference), "ssim"),
        "ssim_y_rounded" => (Ssim::FULL_RANGE_Y.score(output, reference), "ssim"),
        "ms_ssim_y" => (ms_ssim(output, reference), "ms_ssim"),
        "ssimulacra2" => (ssimulacra2(output, reference), "ssimulacra2"),
        _ if id.starts_with("lpips") => return None,
        _ => panic!("unknown metric {id}"),
    };
    Some((scored.0.unwrap(), scored.1))
}

#[test]
fn fixtures_metrics_pairs() {
    for scores in score_files() {
        let pairs = scores["pairs"].as_object().unwrap();
        assert!(!pairs.is_empty());
        for (name, pair) in pairs {
            let (output, reference) = (picture(&format!("{name}_dist")), picture(&format!("{name}_ref")));
            for (id, wanted) in pair.as_object().unwrap().iter().filter(|(id, _)| *id != "size") {
                if let Some((got, kind)) = score(id, &output, &reference) {
                    check(&format!("{name}.{id}"), got, wanted.as_f64().unwrap(), &scores["tolerance"][kind]);
                }
            }
        }
    }
}

#[test]
fn fixtures_metrics_niqe() {
    let niqe = Niqe::new(NiqeModel::published(), Luma::StudioRange);
    for scores in score_files() {
        let pictures = scores["niqe"].as_object().unwrap();
        assert!(!pictures.is_empty());
        for (name, wanted) in pictures {
            let got = niqe.score(&picture(name)).unwrap();
            check(name, got, wanted["niqe"].as_f64().unwrap(), &wanted["tolerance"]);
        }
    }
}

#[test]
fn fixtures_metrics_published_niqe_model() {
    let bytes = fs::read(folder().join("niqe_pris_params.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |name: &str| -> Vec<f64> {
        let data = tensors.tensor(name).unwrap().data();
        data.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    let wanted = NiqeModel::new(numbers("mu"), numbers("cov")).unwrap();
    let published = NiqeModel::published();
    assert_eq!(published.mean().len(), wanted.mean().len());
    let pairs = published.mean().iter().zip(wanted.mean());
    for (got, wanted) in pairs.chain(published.covariance().iter().zip(wanted.covariance())) {
        assert!((got - wanted).abs() <= 1e-15 * wanted.abs(), "{got} {wanted}");
    }
}
