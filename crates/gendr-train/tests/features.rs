//! Feature networks with small random weights against PyTorch and transformers. `data/features.py` made the numbers; weights are
//! drawn from a seed and their names, and written to files in the public layouts.

use burn::tensor::{Device, Tensor, TensorData};
use gendr_model::draw_parameter;
use gendr_train::features::{Backbone, Dinov2, PerceptualDistance, resample};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const SEED: u64 = 11;
/// Width, patches of the stored positions, blocks.
const WIDTH: usize = 128;
const SIDE: usize = 5;
const DEPTH: usize = 2;
const PATCH: usize = 14;

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// What features.py calls `parameter`.
fn parameter(name: &str, shape: &[usize]) -> Vec<f32> {
    let values = draw_parameter(SEED, name, shape).into_iter();
    if name.starts_with("lin") {
        return values.map(f32::abs).collect();
    }
    if shape.len() > 1 {
        let factor = match name {
            "pos_embed" => 20.0,
            _ if name.starts_with("features") => 2.0,
            _ => 1.0,
        };
        return values.map(|value| value * factor).collect();
    }
    let factors = ["norm.weight", "norm1.weight", "norm2.weight", "gamma"];
    let offset = if factors.iter().any(|ending| name.ends_with(ending)) { 1.0 } else { 0.0 };
    values.map(|value| offset + 0.3 * value).collect()
}

fn picture(name: &str, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let bound = (shape[1..].iter().product::<usize>() as f32).sqrt();
    let values: Vec<f32> =
        draw_parameter(SEED, name, &shape).into_iter().map(|value| value * bound).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn write(path: &Path, tensors: &Tensors) {
    let bytes: Vec<_> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, (*shape).clone(), bytes).expect("sizes fit"))
    });
    fs::write(path, safetensors::serialize(views, None).expect("small")).expect("room");
}

fn expected(name: &str) -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/features.safetensors");
    let bytes = fs::read(path).expect("readable");
    let file = SafeTensors::deserialize(&bytes).expect("sound");
    let view = file.tensor(name).expect("there");
    view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("floats")
}

/// Fails where a value is further off than `share` of the largest.
fn assert_close(name: &str, got: &[f32], want: &[f32], share: f32) {
    assert_eq!(got.len(), want.len(), "{name}");
    let largest = want.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    assert!(largest > 0.0, "{name}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= share * largest, "{name}[{i}]: {got} for {want}");
    }
}

fn convolutional(backbone: Backbone) -> (Tensors, Tensors, [usize; 4]) {
    let vgg: &[(usize, [usize; 3])] = &[
        (0, [3, 4, 3]),
        (2, [4, 4, 3]),
        (5, [4, 6, 3]),
        (7, [6, 6, 3]),
        (10, [6, 8, 3]),
        (12, [8, 8, 3]),
        (14, [8, 8, 3]),
        (17, [8, 8, 3]),
        (19, [8, 8, 3]),
        (21, [8, 8, 3]),
        (24, [8, 8, 3]),
        (26, [8, 8, 3]),
        (28, [8, 8, 3]),
    ];
    let alexnet: &[(usize, [usize; 3])] =
        &[(0, [3, 6, 11]), (3, [6, 8, 5]), (6, [8, 8, 3]), (8, [8, 6, 3]), (10, [6, 6, 3])];
    let (layers, channels, side) = match backbone {
        Backbone::Vgg16 => (vgg, [4, 6, 8, 8, 8], 32),
        Backbone::Alexnet => (alexnet, [6, 8, 8, 6, 6], 48),
    };
    let (mut network, mut linear) = (Tensors::new(), Tensors::new());
    let add = |to: &mut Tensors, name: String, shape: Vec<usize>| {
        let values = parameter(&name, &shape);
        to.insert(name, (shape, values));
    };
    for &(layer, [inner, outer, kernel]) in layers {
        add(&mut network, format!("features.{layer}.weight"), vec![outer, inner, kernel, kernel]);
        add(&mut network, format!("features.{layer}.bias"), vec![outer]);
    }
    for (level, channels) in channels.into_iter().enumerate() {
        add(&mut linear, format!("lin{level}.model.1.weight"), vec![1, channels, 1, 1]);
    }
    (network, linear, [2, 3, side, side])
}

#[test]
fn perceptual_distances_and_their_gradients_agree_with_pytorch() {
    let folder = tempfile::tempdir().expect("a folder");
    let device = Device::flex().autodiff();
    for (name, backbone) in [("vgg16", Backbone::Vgg16), ("alexnet", Backbone::Alexnet)] {
        let (mut network, linear, shape) = convolutional(backbone);
        // A classifier, as published files have one, does not disturb.
        network.insert("classifier.6.bias".to_owned(), (vec![2], vec![0.0, 1.0]));
        let files: [PathBuf; 2] =
            ["network", "linear"].map(|part| folder.path().join(format!("{part}.safetensors")));
        write(&files[0], &network);
        write(&files[1], &linear);
        for (kind, files) in [("plain", &files[..1]), ("lpips", &files[..])] {
            let distance = PerceptualDistance::open(backbone, files, &device).expect("weights");
            assert_eq!(distance.is_calibrated(), kind == "lpips");
            let output = picture("output", shape, &device).require_grad();
            let value = distance.forward(output.clone(), picture("reference", shape, &device));
            let case = format!("{name}.{kind}");
            assert_close(&case, &values(value.clone()), &expected(&format!("{case}.value")), 1e-5);
            let gradient = values(output.grad(&value.backward()).expect("a gradient"));
            let want = expected(&format!("{case}.gradient"));
            assert_close(&case, &gradient[..want.len()], &want, 1e-4);
        }
        // Equal pictures, and one without any detail: no distance, and no gradient that is not a number.
        let distance = PerceptualDistance::open(backbone, &files, &device).expect("weights");
        let flat = Tensor::zeros(shape, &device).require_grad();
        let value = distance.forward(flat.clone(), flat.clone().detach());
        assert!(values(value.clone())[0].abs() < 1e-9);
        assert!(
            values(flat.grad(&value.backward()).expect("a gradient")).iter().all(|value| value.is_finite())
        );
    }
}

#[test]
fn missing_tensors_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("network.safetensors");
    let (mut network, ..) = convolutional(Backbone::Alexnet);
    network.remove("features.8.weight");
    write(&path, &network);
    let open = |backbone| PerceptualDistance::open(backbone, &[&path], &Device::flex()).map(|_| ());
    let error = open(Backbone::Alexnet).expect_err("a tensor is missing");
    assert!(error.to_string().contains("features.8.weight"), "{error}");
    let error = open(Backbone::Vgg16).expect_err("another network");
    assert!(error.to_string().contains("features.0.weight"), "{error}");
    let error = Dinov2::open(&path, &Device::flex()).map(|_| ()).expect_err("another network");
    assert!(error.to_string().contains("cls_token"), "{error}");
}

/// The layout of Facebook Research and timm.
fn original() -> Tensors {
    let mut tensors = Tensors::new();
    let mut add = |name: &str, shape: &[usize]| {
        tensors.insert(name.to_owned(), (shape.to_vec(), parameter(name, shape)));
    };
    add("cls_token", &[1, 1, WIDTH]);
    add("pos_embed", &[1, SIDE * SIDE + 1, WIDTH]);
    add("patch_embed.proj.weight", &[WIDTH, 3, PATCH, PATCH]);
    add("patch_embed.proj.bias", &[WIDTH]);
    for block in 0..DEPTH {
        let mut add = |name: &str, shape: &[usize]| add(&format!("blocks.{block}.{name}"), shape);
        for (layer, out, width) in [
            ("attn.qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", 2 * WIDTH, WIDTH),
            ("mlp.fc2", WIDTH, 2 * WIDTH),
        ] {
            add(&format!("{layer}.weight"), &[out, width]);
            add(&format!("{layer}.bias"), &[out]);
        }
        for list in ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"] {
            add(list, &[WIDTH]);
        }
    }
    add("norm.weight", &[WIDTH]);
    add("norm.bias", &[WIDTH]);
    tensors
}

/// The same network as transformers stores it.
fn transformers(original: &Tensors) -> Tensors {
    let rename = [
        ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
        ("cls_token", "embeddings.cls_token"),
        ("pos_embed", "embeddings.position_embeddings"),
        ("blocks.", "encoder.layer."),
        ("attn.proj", "attention.output.dense"),
        ("ls1.gamma", "layer_scale1.lambda1"),
        ("ls2.gamma", "layer_scale2.lambda1"),
    ];
    let mut renamed = Tensors::new();
    for (name, (shape, values)) in original {
        let name = match name.as_str() {
            "norm.weight" | "norm.bias" => name.replace("norm", "layernorm"),
            _ => rename.iter().fold(name.clone(), |name, (from, to)| name.replacen(from, to, 1)),
        };
        if name.contains("attn.qkv") {
            for (part, values) in ["query", "key", "value"].iter().zip(values.chunks(values.len() / 3)) {
                let mut shape = shape.clone();
                shape[0] /= 3;
                renamed.insert(
                    name.replace("attn.qkv", &format!("attention.attention.{part}")),
                    (shape, values.to_vec()),
                );
            }
        } else {
            renamed.insert(name, (shape.clone(), values.clone()));
        }
    }
    renamed
}

#[test]
fn dinov2_agrees_with_transformers_in_every_layout() {
    let folder = tempfile::tempdir().expect("a folder");
    let device = Device::flex();
    let original = original();
    let inside: Tensors =
        original.iter().map(|(name, tensor)| (format!("backbone.{name}"), tensor.clone())).collect();
    let layouts =
        [("facebook", original.clone()), ("transformers", transformers(&original)), ("inside", inside)];
    for (name, tensors) in layouts {
        let path = folder.path().join(format!("{name}.safetensors"));
        write(&path, &tensors);
        let network = Dinov2::open(&path, &device).expect("weights");
        assert_eq!(network.width(), WIDTH);
        let tokens = network.forward(picture("output", [2, 3, 64, 96], &device), [4, 6]);
        // Every other place and channel is stored.
        let want = expected("dinov2.tokens");
        let got = values(gendr_train::tokens(tokens));
        let kept = got
            .chunks_exact(WIDTH)
            .step_by(2)
            .flat_map(|token| token.iter().step_by(2).copied())
            .collect::<Vec<_>>();
        assert_close(name, &kept, &want, 1e-4);
    }
}

#[test]
fn resampling_keeps_lines_and_edges() {
    let device = Device::flex();
    let ramp: Vec<f32> = (0..20 * 12).map(|i| (i % 12) as f32).collect();
    let ramp = Tensor::from_data(TensorData::new(ramp, [1, 1, 20, 12]), &device);
    let halved = values(resample(ramp, [10, 6]));
    for (i, value) in halved.iter().enumerate().filter(|(i, _)| (1..5).contains(&(i % 6))) {
        assert!((value - (2.0 * (i % 6) as f32 + 0.5)).abs() < 1e-5, "{i}: {value}");
    }
    let flat = values(resample(Tensor::full([1, 2, 9, 7], 0.25, &device), [5, 16]));
    assert!(flat.len() == 2 * 5 * 16 && flat.iter().all(|value| (value - 0.25).abs() < 1e-6));
}
