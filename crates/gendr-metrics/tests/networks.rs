//! Learned metrics against pyiqa 0.1.16, on small networks whose weights come from a formula
//! (`tools/make_metric_references.py`).
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

use std::{fs, path::PathBuf, sync::OnceLock};

use gendr_image::{Limits, Planes, Resampling, resize};
use gendr_metrics::{ClipIqa, Fid, Maniqa, Musiq, Topiq, Weights};
use gendr_weights::StoredTensor;
use serde_json::Value;

/// The largest difference of a score from pyiqa's, as a share of it where it is over 1.
const TOLERANCE: f64 = 2e-4;

fn references() -> &'static Value {
    static REFERENCES: OnceLock<Value> = OnceLock::new();
    REFERENCES.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/networks.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    })
}

/// The weights that the formula gives a network.
fn weights(name: &str) -> Weights {
    let tensors = references()[name]["tensors"].as_object().unwrap();
    let tensor = |(name, shape): (&String, &Value)| {
        let shape: Vec<usize> =
            shape.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
        (name.clone(), StoredTensor::from_f32(values(name, &shape), shape).unwrap())
    };
    Weights::new(tensors.iter().map(tensor).collect())
}

/// As the script's function of the same name.
fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut state = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    let scaled: Box<dyn Fn(f64) -> f64> = match shape {
        [] => Box::new(|value| 2.5 + 0.1 * value),
        _ if name.ends_with("running_var") => Box::new(|value| 1.0 + 0.5 * value),
        [_] if name.ends_with("weight") => Box::new(|value| 1.0 + 0.2 * value),
        [_] => Box::new(|value| 0.1 * value),
        [_, inner @ ..] => {
            let gain = match shape.len() {
                4 => 2.0,
                _ if name.contains(".c_q.") => 0.01,
                _ => 1.0,
            };
            let bound = (3.0 * gain / inner.iter().product::<usize>() as f64).sqrt();
            Box::new(move |value| bound * value)
        }
    };
    (0..shape.iter().product()).map(|_| scaled(uniform()) as f32).collect()
}

fn picture(name: &str) -> Planes {
    let root = std::env::var_os("GENDR_FIXTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures"), PathBuf::from);
    gendr_image::read(&root.join(format!("metrics/images/{name}.png")), &Limits::default()).unwrap().color
}

#[track_caller]
fn assert_near(got: f64, wanted: &Value, what: &str) {
    let wanted = wanted.as_f64().unwrap();
    assert!((got - wanted).abs() <= TOLERANCE * wanted.abs().max(1.0), "{what}: {got}, wanted {wanted}");
}

/// Compares the scores of whole pictures and of parts of odd sizes.
fn compare(network: &str, score: impl Fn(&Planes) -> f64) {
    let reference = &references()[network];
    let scores = |kind: &str| reference[kind].as_object().unwrap();
    assert!(scores("scores").len() > 2 && scores("small").len() > 2);
    for (name, wanted) in scores("scores") {
        assert_near(score(&picture(name)), wanted, &format!("{network} of {name}"));
    }
    for (name, wanted) in scores("small") {
        let picture = picture(name);
        let part = picture.crop(0, 0, 101.min(picture.width()), 77.min(picture.height())).unwrap();
        assert_near(score(&part), wanted, &format!("{network} of a part of {name}"));
    }
}

#[test]
fn musiq_agrees_with_pyiqa() {
    for network in ["musiq-1", "musiq-10"] {
        let musiq = Musiq::new(&weights(network)).unwrap();
        compare(network, |picture| musiq.score(picture).unwrap());
    }
}

#[test]
fn clip_iqa_agrees_with_pyiqa() {
    let clip = ClipIqa::new(&weights("clipiqa")).unwrap();
    compare("clipiqa", |picture| clip.score(picture).unwrap());
    assert!(clip.score(&Planes::filled(3, 31, 40, 0.5)).is_err());
}

#[test]
fn maniqa_agrees_with_pyiqa() {
    let maniqa = Maniqa::new(&weights("maniqa"), 0.8).unwrap();
    compare("maniqa", |picture| maniqa.score(picture).unwrap());
}

#[test]
fn topiq_agrees_with_pyiqa() {
    let topiq = Topiq::without_reference(&weights("topiq-nr")).unwrap();
    compare("topiq-nr", |picture| topiq.score(picture).unwrap());
    let paired = Topiq::with_reference(&weights("topiq-fr")).unwrap();
    let pairs = references()["topiq-fr"]["scores"].as_object().unwrap();
    assert!(pairs.len() > 2);
    for (pair, wanted) in pairs {
        let (output, reference) = (picture(&format!("{pair}_dist")), picture(&format!("{pair}_ref")));
        assert_near(paired.score_pair(&output, &reference).unwrap(), wanted, &format!("topiq-fr of {pair}"));
    }
    // Weights for pairs score no single picture, and the reverse.
    assert!(Topiq::without_reference(&weights("topiq-fr")).is_err());
    assert!(topiq.score_pair(&picture("mixed_dist"), &picture("mixed_ref")).is_err());
}

#[test]
fn features_of_inception_agree_with_pyiqa() {
    let fid = Fid::new(&weights("fid")).unwrap();
    let features = fid.features(&picture("mixed_dist")).unwrap();
    assert_eq!((features.len(), fid.width()), (2048, 2048));
    let wanted = references()["fid"]["features"].as_array().unwrap();
    assert_eq!(wanted.len(), 32);
    for (index, wanted) in wanted.iter().enumerate() {
        assert_near(f64::from(features[index * 64]), wanted, &format!("feature {}", index * 64));
    }
}

#[test]
fn grey_is_scored_as_equal_colours() {
    let color = picture("mixed_dist");
    let grey = Planes::from_vec(1, color.height(), color.width(), color.plane(1).to_vec()).unwrap();
    let equal = Planes::from_vec(3, color.height(), color.width(), grey.data().repeat(3)).unwrap();
    let musiq = Musiq::new(&weights("musiq-1")).unwrap();
    assert_eq!(musiq.score(&grey).unwrap(), musiq.score(&equal).unwrap());
    // A single pixel is a picture too.
    assert!(musiq.score(&Planes::filled(3, 1, 1, 0.5)).unwrap().is_finite());
    assert!(musiq.score(&Planes::filled(3, 1, 1, f32::NAN)).is_err());
}

mod sets {
    use super::*;
    use gendr_image::{EncodeOptions, OutputFormat, Picture, encode};
    use gendr_metrics::{EvaluateOptions, evaluate, learned_metric, pair_by_name};
    use std::{ops::ControlFlow, path::Path};

    fn write(folder: &Path, name: &str, picture: Planes) {
        let file = encode(&Picture::from_color(picture), &EncodeOptions::new(OutputFormat::Png)).unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), file.bytes).unwrap();
    }

    /// Writes the weights as safetensors.
    fn write_weights(path: &Path) {
        let tensors = references()["fid"]["tensors"].as_object().unwrap();
        let tensors: Vec<(&String, Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, shape)| {
                let shape: Vec<usize> =
                    shape.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
                let bytes = values(name, &shape).into_iter().flat_map(f32::to_le_bytes).collect();
                (name, shape, bytes)
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            (
                *name,
                safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap(),
            )
        });
        fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    #[test]
    fn fid_of_folders_agrees_with_pyiqa() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_weights(&at("inception.safetensors"));
        for pair in ["bicubic4", "mixed", "noise", "blur", "jpeg25", "tint"] {
            for kind in ["dist", "ref"] {
                let picture = picture(&format!("{pair}_{kind}"));
                let (width, height) = (picture.width(), picture.height());
                let large = resize(&picture, 2 * width, 2 * height, Resampling::PILLOW_BOX).unwrap();
                write(&at(kind), pair, picture);
                write(&at(&format!("large-{kind}")), pair, large);
            }
        }
        let scored = |id: &str, output: &str, reference: &str| {
            let metrics = [learned_metric(id, Some(folder.path())).unwrap()];
            let pairing = pair_by_name(&at(output), Some(&at(reference)), None).unwrap();
            evaluate(&pairing.pairs, &metrics, &EvaluateOptions::default(), |_| ControlFlow::Continue(()))
        };
        let reference = &references()["fid"];
        let fid = scored("fid", "dist", "ref");
        assert_near(fid.means().get("fid").unwrap(), &reference["scores"]["fid"], "fid");
        assert!((fid.means().get("fid").unwrap() - reference["pyiqa"].as_f64().unwrap()).abs() < 1e-3);
        assert!(fid.failed().next().is_none() && fid.rows.iter().all(|row| row.notes.is_empty()));
        let patches = scored("patch-fid", "large-dist", "large-ref");
        assert_near(
            patches.means().get("patch-fid").unwrap(),
            &reference["scores"]["patch-fid"],
            "patch-fid",
        );
        let small = patches.rows.iter().filter(|row| !row.in_set).count();
        assert_eq!(patches.failed().count(), small);
        assert!(scored("fid", "ref", "ref").means().get("fid").unwrap() < 1e-6);
    }
}
