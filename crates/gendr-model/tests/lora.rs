//! LoRA files of both name styles, sound and broken.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use burn::tensor::TensorData;
use gendr_model::{ErrorKind, Lora, Precision, SafetensorsWriter, StoredTensor, Weights};

type Named<'a> = (&'a str, &'a [usize], Vec<f32>);

fn weights(tensors: &[Named<'_>]) -> Weights {
    let stored = tensors.iter().map(|(name, shape, values)| {
        ((*name).to_owned(), StoredTensor::from_f32(values.clone(), shape.to_vec()).unwrap())
    });
    Weights::new(stored.collect(), Path::new("base")).unwrap()
}

fn write(path: &Path, tensors: &[Named<'_>]) {
    let shapes = tensors.iter().map(|(name, shape, _)| ((*name).to_owned(), shape.to_vec())).collect();
    let mut writer = SafetensorsWriter::create(path, Precision::F32, shapes, &BTreeMap::new()).unwrap();
    for (name, shape, values) in tensors {
        writer.write(name, TensorData::new(values.clone(), shape.to_vec())).unwrap();
    }
    writer.finish().unwrap();
}

fn values(weights: &Weights, name: &str) -> Vec<f32> {
    weights.values(name).unwrap().try_to_vec::<f32>().unwrap()
}

fn config(folder: &Path, text: &str) {
    fs::write(folder.join("adapter_config.json"), text).unwrap();
}

/// A rank-1 LoRA of layer `layer` (2x3) under the given names, and the weight it gives with alpha 4.
fn merged(names: [&str; 2], base: &str) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    write(&path, &[(names[0], &[1, 3], vec![1.0, 2.0, 3.0]), (names[1], &[2, 1], vec![1.0, -1.0])]);
    config(folder.path(), r#"{"r": 1, "lora_alpha": 4, "peft_type": "LORA"}"#);
    let mut weights = weights(&[(base, &[2, 3], vec![0.5; 6])]);
    let lora = Lora::open(&path).unwrap();
    assert_eq!(lora.len(), 1);
    weights.merge(&lora).unwrap();
    values(&weights, base)
}

#[test]
fn all_name_styles_give_the_same_weight() {
    let expected = [4.5, 8.5, 12.5, -3.5, -7.5, -11.5];
    for names in [
        ["base_model.model.a.to_q.lora_A.weight", "base_model.model.a.to_q.lora_B.weight"],
        ["a.to_q.lora_A.weight", "a.to_q.lora_B.weight"],
        ["a.to_q.lora_A.default_encoder.weight", "a.to_q.lora_B.default_encoder.weight"],
    ] {
        assert_eq!(merged(names, "a.to_q.weight"), expected);
        assert_eq!(merged(names, "unet.a.to_q.weight"), expected);
        assert_eq!(merged(names, "vae.a.to_q.weight"), expected);
    }
    let osediff = ["state_dict_vae.a.to_q.lora_A.x.weight", "state_dict_vae.a.to_q.lora_B.x.weight"];
    assert_eq!(merged(osediff, "vae.a.to_q.weight"), expected);
    let old = ["m.attentions.0.query.lora_A.weight", "m.attentions.0.query.lora_B.weight"];
    assert_eq!(merged(old, "m.attentions.0.to_q.weight"), expected);
}

#[test]
fn the_pickle_of_osediff_is_merged() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torch/osediff.pkl");
    let mut weights = weights(&[
        ("unet.conv_in.weight", &[4, 3, 1, 1], vec![9.0; 12]),
        ("vae.encoder.conv_in.weight", &[2, 2], vec![0.0; 4]),
    ]);
    weights.merge(&Lora::open(&path).unwrap()).unwrap();
    // The whole layer replaces the base; then alpha / r = 8 / 2 times the sum of two equal columns of B.
    let rows = [1.0, 2.0, 3.0, 4.0].map(|row| [0.5 + 4.0 * 2.0 * row; 3]);
    assert_eq!(values(&weights, "unet.conv_in.weight"), rows.concat());
    assert_eq!(values(&weights, "vae.encoder.conv_in.weight"), [8.0, 16.0, -8.0, -16.0]);
}

#[test]
fn convolutions_wide_and_tall_are_merged_exactly() {
    // More rows and columns than one task takes, against the plain triple loop.
    let (rows, columns, rank) = (130, 9 * 150, 3);
    let number = |index: usize| ((index * 7919) % 17) as f32 - 8.0;
    let a: Vec<f32> = (0..rank * columns).map(number).collect();
    let b: Vec<f32> = (0..rows * rank).map(|index| number(index + 5)).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    write(
        &path,
        &[
            ("conv.lora_A.weight", &[rank, 150, 3, 3], a.clone()),
            ("conv.lora_B.weight", &[rows, rank, 1, 1], b.clone()),
            ("conv.alpha", &[1], vec![6.0]),
        ],
    );
    let mut weights = weights(&[("conv.weight", &[rows, 150, 3, 3], vec![1.0; rows * columns])]);
    weights.merge(&Lora::open(&path).unwrap()).unwrap();
    let got = values(&weights, "conv.weight");
    for row in 0..rows {
        for column in 0..columns {
            let sum: f32 = (0..rank).map(|k| b[row * rank + k] * a[k * columns + column]).sum();
            assert_eq!(got[row * columns + column], 1.0 + 2.0 * sum);
        }
    }
}

#[test]
fn alpha_follows_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    write(
        &path,
        &[("m.a.lora_A.weight", &[4, 1], vec![1.0; 4]), ("m.a.lora_B.weight", &[1, 4], vec![0.25; 4])],
    );
    let weight = |text: &str| {
        config(folder.path(), text);
        let mut weights = weights(&[("m.a.weight", &[1, 1], vec![0.0])]);
        weights.merge(&Lora::open(&path).unwrap()).unwrap();
        values(&weights, "m.a.weight")[0]
    };
    assert_eq!(weight(r#"{"lora_alpha": 8}"#), 2.0);
    assert_eq!(weight(r#"{"lora_alpha": 8, "use_rslora": true}"#), 4.0);
    assert_eq!(weight(r#"{"lora_alpha": 8, "alpha_pattern": {"a": 16}}"#), 4.0);
    assert_eq!(weight(r#"{"lora_alpha": 8, "alpha_pattern": {"b.a": 16}}"#), 2.0);
}

/// Opens and merges a broken LoRA.
fn refusal(tensors: &[Named<'_>], settings: Option<&str>) -> (ErrorKind, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    write(&path, tensors);
    if let Some(settings) = settings {
        config(folder.path(), settings);
    }
    let mut weights = weights(&[
        ("a.weight", &[2, 3], vec![0.0; 6]),
        ("unet.b.weight", &[1], vec![0.0]),
        ("vae.b.weight", &[1], vec![0.0]),
    ]);
    let error = Lora::open(&path).and_then(|lora| weights.merge(&lora)).unwrap_err();
    assert_eq!(values(&weights, "a.weight"), [0.0; 6]);
    let message = error.to_string();
    assert!(message.ends_with(".safetensors") || message.ends_with(".json"), "{message}");
    assert!(!message.contains('\n'), "{message}");
    (error.kind(), message)
}

#[test]
fn broken_loras_are_named() {
    let a = |layer: &'static str| -> Named<'_> { (layer, &[1, 3], vec![1.0; 3]) };
    let b = |layer: &'static str| -> Named<'_> { (layer, &[2, 1], vec![1.0; 2]) };
    let alpha = Some(r#"{"lora_alpha": 1}"#);
    let cases: [(Vec<Named<'_>>, Option<&str>, &str); 9] = [
        (
            vec![a("c.lora_A.weight"), b("c.lora_B.weight")],
            alpha,
            "LoRA for c.weight: the model has no tensor",
        ),
        (vec![a("a.lora_A.weight")], alpha, "LoRA of a lacks"),
        (vec![a("a.lora_A.weight"), b("a.lora_B.weight")], None, "does not say its alpha"),
        (vec![a("a.lora_A.weight"), ("a.lora_B.weight", &[2, 2], vec![1.0; 4])], alpha, "LoRA matrices of a"),
        (
            vec![a("a.lora_A.weight"), ("a.lora_B.weight", &[3, 1], vec![1.0; 3])],
            alpha,
            "[3, 3]: the model's tensor has shape [2, 3]",
        ),
        (vec![a("a.lora_A.weight"), b("a.lora_B.bias")], alpha, "LoRA key a.lora_B.bias"),
        (vec![a("a.lora_magnitude_vector.weight")], alpha, "LoRA key a.lora_magnitude_vector.weight"),
        (vec![("b.weight", &[1], vec![1.0])], alpha, "several tensors"),
        (vec![("a.weight", &[3, 2], vec![1.0; 6])], alpha, "[3, 2]: the model's tensor has shape [2, 3]"),
    ];
    for (tensors, settings, expected) in cases {
        let (kind, message) = refusal(&tensors, settings);
        assert_eq!(kind, ErrorKind::Input, "{message}");
        assert!(message.contains(expected), "{message}");
    }
    for settings in
        [r#"{"lora_alpha": 1, "use_dora": true}"#, r#"{"lora_alpha": 1, "alpha_pattern": {"^a.*": 2}}"#]
    {
        assert_eq!(
            refusal(&[a("a.lora_A.weight"), b("a.lora_B.weight")], Some(settings)).0,
            ErrorKind::Unsupported
        );
    }
    assert!(refusal(&[a("a.lora_A.weight")], Some("{}")).1.contains("lora_alpha"));
}

#[test]
fn a_lora_that_is_not_finite_is_named_when_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    write(
        &path,
        &[
            ("a.lora_A.weight", &[1, 1], vec![f32::NAN]),
            ("a.lora_B.weight", &[1, 1], vec![1.0]),
            ("a.alpha", &[], vec![1.0]),
        ],
    );
    let mut weights = weights(&[("a.weight", &[1, 1], vec![0.0])]);
    weights.merge(&Lora::open(&path).unwrap()).unwrap();
    let error = weights.values("a.weight").unwrap_err();
    assert!(error.to_string().contains("a.lora_A"), "{error}");
}
