//! Whole models: made, saved, converted, opened, verified; and broken in every way.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, Tensor, TensorData};
use bytes::Bytes;
use gendr_model::{
    Description, ErrorKind, Family, Model, Precision, Safetensors, SafetensorsWriter, StoredModel,
    ToTensorData, initialize_model, verify_model,
};
use proptest::prelude::*;
use tempfile::TempDir;

const VAE: &str = r#"{"latent_channels": 4, "block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4,
    "scaling_factor": 0.5, "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]}"#;

/// A model of a few thousand parameters.
fn tiny(family: &str) -> Description {
    let (inputs, outputs) = match family {
        "latent" => (4, 4),
        "adc" => (12, 4),
        _ => (12, 12),
    };
    let unet = format!(
        r#"{{"in_channels": {inputs}, "out_channels": {outputs}, "block_out_channels": [8, 8], "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "attention_head_dim": 2, "cross_attention_dim": 6, "norm_num_groups": 4}}"#
    );
    let networks = match family {
        "rrdb" => r#""rrdb": {"features": 4, "blocks": 2, "growth": 3}"#.to_owned(),
        "compact" => r#""compact": {"features": 5, "convolutions": 3, "scale": 2}"#.to_owned(),
        "pix" => format!(r#""unet": {unet}"#),
        _ => format!(r#""unet": {unet}, "vae": {VAE}"#),
    };
    Description::from_json(&format!(r#"{{"family": "{family}", "pix": {{"patch": 2}}, {networks}}}"#))
        .unwrap()
}

const FAMILIES: [&str; 5] = ["latent", "adc", "pix", "rrdb", "compact"];

/// A folder with a model made by `initialize_model`.
fn folder(family: &str) -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("model");
    initialize_model(&tiny(family), 5, &model, Precision::F32).unwrap();
    (root, model)
}

/// A file with a model made by `initialize_model`.
fn file(family: &str) -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("model.safetensors");
    initialize_model(&tiny(family), 5, &model, Precision::F32).unwrap();
    (root, model)
}

fn restore(path: &Path) -> Vec<f32> {
    let device = Device::flex();
    let model = Model::open(path, &device).unwrap();
    let values: Vec<f32> = (0..3 * 8 * 8).map(|index| (index % 7) as f32 / 7.0).collect();
    let picture = Tensor::<4>::from_data(TensorData::new(values, [1, 3, 8, 8]), &device);
    model.networks.restore(picture, 1.0).unwrap().into_data().try_to_vec::<f32>().unwrap()
}

fn values(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let model = StoredModel::open(path).unwrap();
    let value = |name: &String| model.weights().values(name).unwrap().try_to_vec::<f32>().unwrap();
    model.weights().tensors().keys().map(|name| (name.clone(), value(name))).collect()
}

/// Writes a safetensors file again with other tensors.
fn rewrite(path: &Path, change: impl Fn(&mut BTreeMap<String, (Vec<usize>, Vec<f32>)>)) {
    let file = Safetensors::open(path).unwrap();
    let mut tensors = BTreeMap::new();
    for (name, tensor) in file.tensors() {
        let values = tensor.values(name).unwrap().to_vec();
        tensors.insert(name.clone(), (tensor.shape().to_vec(), values));
    }
    change(&mut tensors);
    let shapes = tensors.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect();
    let mut writer = SafetensorsWriter::create(path, Precision::F32, shapes, file.metadata()).unwrap();
    for (name, (shape, values)) in tensors {
        writer.write(&name, TensorData::new(values, shape)).unwrap();
    }
    writer.finish().unwrap();
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

#[test]
fn every_family_is_made_saved_and_restores() {
    for family in FAMILIES {
        let (root, model) = folder(family);
        let restored = restore(&model);
        assert!(restored.iter().all(|value| value.is_finite()), "{family}");
        let spread = restored.iter().fold(0f32, |most, value| most.max((value - restored[0]).abs()));
        assert!(spread > 1e-3, "{family}: the picture is flat");

        let single = root.path().join("single.safetensors");
        StoredModel::open(&model).unwrap().save(&single, Precision::F32).unwrap();
        assert_eq!(values(&single), values(&model), "{family}");
        assert_eq!(restore(&single), restored, "{family}");
        let again = root.path().join("again");
        StoredModel::open(&single).unwrap().save(&again, Precision::F32).unwrap();
        assert_eq!(values(&again), values(&model), "{family}");
        assert_eq!(
            StoredModel::open(&again).unwrap().description().blake3,
            StoredModel::open(&model).unwrap().description().blake3
        );
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3, "{family}: something was left behind");

        for path in [&model, &single, &again] {
            let verified = verify_model(path).unwrap();
            assert!(verified.hashes > 0 && verified.tensors > 0, "{family}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_model() {
    let (root, model) = file("latent");
    let again = root.path().join("again.safetensors");
    initialize_model(&tiny("latent"), 5, &again, Precision::F32).unwrap();
    assert_eq!(fs::read(&model).unwrap(), fs::read(&again).unwrap());
    initialize_model(&tiny("latent"), 6, &again, Precision::F32).unwrap();
    assert_ne!(values(&model)["unet.conv_in.weight"], values(&again)["unet.conv_in.weight"]);
    assert_eq!(values(&model)["unet.conv_norm_out.weight"], values(&again)["unet.conv_norm_out.weight"]);
}

#[test]
fn half_precision_is_close() {
    let (root, model) = folder("latent");
    for (precision, error) in [(Precision::F16, 1.0 / 2048.0), (Precision::Bf16, 1.0 / 256.0)] {
        let half = root.path().join(format!("{precision:?}.safetensors"));
        StoredModel::open(&model).unwrap().save(&half, precision).unwrap();
        for (name, full) in values(&model) {
            for (got, want) in values(&half)[&name].iter().zip(full) {
                assert!((got - want).abs() <= error * want.abs() + 1e-7, "{name}: {got}, {want}");
            }
        }
        let info = StoredModel::open(&half).unwrap().info().unwrap();
        assert_eq!(info.parts[0].stored, precision.element().name());
    }
}

#[test]
fn every_value_of_a_model_between_two_lies_between_theirs() {
    let (root, first) = file("pix");
    let second = root.path().join("second.safetensors");
    initialize_model(&tiny("pix"), 6, &second, Precision::F32).unwrap();
    let (a, b) = (StoredModel::open(&first).unwrap(), StoredModel::open(&second).unwrap());
    let target = root.path().join("between.safetensors");
    let between = |share| {
        a.save_interpolated(&b, share, &target, Precision::F32).unwrap();
        verify_model(&target).unwrap();
        values(&target)
    };
    assert_eq!(between(0.0), values(&first));
    assert_eq!(between(1.0), values(&second));
    let (from, to) = (values(&first), values(&second));
    for (name, found) in between(0.25) {
        for ((x, a), b) in found.iter().zip(&from[&name]).zip(&to[&name]) {
            assert!((x - (0.75 * a + 0.25 * b)).abs() <= 1e-6, "{name}: {a} {x} {b}");
        }
    }

    let (_other_root, other) = file("latent");
    let other = StoredModel::open(&other).unwrap();
    for (model, share) in [(&other, 0.5), (&b, 1.6), (&b, f64::NAN)] {
        let error = a.save_interpolated(model, share, &target, Precision::F32).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Argument, "{share}");
    }
}

#[test]
fn figures_of_a_model() {
    let (_root, model) = folder("latent");
    let stored = StoredModel::open(&model).unwrap();
    let info = stored.info().unwrap();
    assert_eq!((info.family, info.scale), (Family::Latent, 4));
    let names: Vec<_> = info.parts.iter().map(|part| part.name).collect();
    assert_eq!(names, ["unet", "vae", "prompt"]);
    let networks = stored.weights().tensors().iter().filter(|(name, _)| !name.starts_with("prompt."));
    assert_eq!(info.parameters(), networks.clone().map(|(_, tensor)| tensor.len()).sum::<usize>());
    assert_eq!(info.tensors(), networks.count());
    let loaded = stored.load(&Device::flex()).unwrap();
    assert_eq!(info.multiply_adds, loaded.networks.multiply_adds(512, 512, 77));
    assert!(info.memory_bytes > info.file_bytes);
}

#[test]
fn presets_have_the_published_sizes() {
    let description = Description::preset("sd21-vae16").unwrap();
    let device = Device::flex();
    let unet = description.unet.as_ref().unwrap().init(&device).unwrap();
    let vae = description.vae.as_ref().unwrap().init(&device).unwrap();
    assert_eq!(gendr_model::parameter_count(&unet), 865_979_856);
    assert_eq!(gendr_model::parameter_count(&vae), 57_266_643);
    assert_eq!(gendr_model::names_and_shapes(&unet).len(), 686);
    assert_eq!(gendr_model::names_and_shapes(&vae).len(), 248);
    assert_eq!(Description::preset("sd21-vae16-adc").unwrap().family, Family::Adc);
    let pix = Description::preset("sd21-pix").unwrap();
    assert_eq!(gendr_model::parameter_count(&pix.unet.unwrap().init(&device).unwrap()), 866_993_792);
    assert_eq!(Description::preset("sd3").unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
fn a_plain_diffusers_folder_works() {
    for family in ["latent", "adc", "pix"] {
        let (_root, model) = folder(family);
        let described = restore(&model);
        fs::remove_file(model.join("gendr.json")).unwrap();
        let description = StoredModel::open(&model).unwrap().description().clone();
        let defaults = Description::new(description.family);
        assert_eq!(description.family.name(), family);
        assert_eq!(description.one_step, defaults.one_step);
        assert_eq!((description.one_step.timestep, description.one_step.alpha_bar), (354.0, 0.5));
        if family == "latent" {
            assert_eq!(restore(&model), described);
        }
    }
}

#[test]
fn a_model_without_prompt_gives_a_hint() {
    let (_root, model) = folder("latent");
    fs::remove_file(model.join("prompt.safetensors")).unwrap();
    let error = Model::open(&model, &Device::flex()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.hint().unwrap().contains("gendr model init"), "{error}");
    assert!(StoredModel::open(&model).unwrap().info().is_ok());
}

#[test]
fn other_weight_file_names_are_found() {
    let (_root, model) = folder("latent");
    let expected = restore(&model);
    fs::rename(model.join(UNET), model.join("unet/diffusion_pytorch_model.fp16.safetensors")).unwrap();
    assert_eq!(restore(&model), expected);
}

/// Splits the UNet's file in two with an index, which `change` may spoil.
fn shard(model: &Path, change: impl Fn(&mut serde_json::Value)) {
    let file = Safetensors::open(&model.join(UNET)).unwrap();
    let mut map = serde_json::Map::new();
    for (number, shard) in ["a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors"].iter().enumerate()
    {
        let part: Vec<_> = file.tensors().iter().skip(number).step_by(2).collect();
        let shapes = part.iter().map(|(name, tensor)| ((*name).clone(), tensor.shape().to_vec())).collect();
        let path = model.join("unet").join(shard);
        let mut writer = SafetensorsWriter::create(&path, Precision::F32, shapes, &BTreeMap::new()).unwrap();
        for (name, tensor) in part {
            writer.write(name, tensor.to_f32(name).unwrap()).unwrap();
            map.insert(name.clone(), (*shard).into());
        }
        writer.finish().unwrap();
    }
    let mut index = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    change(&mut index);
    fs::write(model.join("unet/diffusion_pytorch_model.safetensors.index.json"), index.to_string()).unwrap();
    fs::remove_file(model.join(UNET)).unwrap();
}

#[test]
fn shards_are_joined() {
    let (_root, model) = folder("latent");
    let expected = restore(&model);
    shard(&model, |_| {});
    assert_eq!(restore(&model), expected);
}

#[test]
fn an_index_that_lies_is_refused() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, ErrorKind, &str); 6] = [
        (
            |index| index["weight_map"]["conv_in.bias"] = "../../secret".into(),
            ErrorKind::Input,
            "not in the folder of its index",
        ),
        (
            |index| index["weight_map"]["conv_in.bias"] = "/etc/passwd".into(),
            ErrorKind::Input,
            "not in the folder of its index",
        ),
        (
            |index| index["weight_map"]["conv_in.bias"] = "b.safetensors".into(),
            ErrorKind::Io,
            "b.safetensors",
        ),
        (
            |index| index["weight_map"]["no.such"] = "a-00001-of-00002.safetensors".into(),
            ErrorKind::Input,
            "no.such is in none of the shards",
        ),
        (
            |index| drop(index["weight_map"].as_object_mut().unwrap().remove("conv_in.bias")),
            ErrorKind::Input,
            "conv_in.bias is not where the index says",
        ),
        (|index| *index = 3.into(), ErrorKind::Input, "index.json"),
    ];
    for (change, kind, expected) in cases {
        let (_root, model) = folder("latent");
        shard(&model, change);
        let error = StoredModel::open(&model).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn tensors_that_do_not_fit_are_named_with_both_shapes() {
    type Change = fn(&mut BTreeMap<String, (Vec<usize>, Vec<f32>)>);
    let cases: [(Change, &str); 5] = [
        (
            |tensors| drop(tensors.remove("unet.conv_in.bias")),
            "tensor unet.conv_in.bias is missing, the network needs [8]",
        ),
        (
            |tensors| drop(tensors.insert("unet.more".into(), (vec![2], vec![0.0; 2]))),
            "tensor unet.more of shape [2] is extra",
        ),
        (
            |tensors| drop(tensors.insert("unet.conv_in.bias".into(), (vec![7], vec![0.0; 7]))),
            "tensor unet.conv_in.bias has shape [7], the network needs [8]",
        ),
        (
            |tensors| drop(tensors.insert("prompt.positive".into(), (vec![3, 5], vec![0.0; 15]))),
            "tensor prompt.positive has shape [3, 5], the UNet needs [tokens, 6]",
        ),
        (
            |tensors| tensors.get_mut("vae.decoder.conv_in.bias").unwrap().1[3] = f32::NAN,
            "tensor vae.decoder.conv_in.bias holds NaN",
        ),
    ];
    for (change, expected) in cases {
        let (_root, model) = file("latent");
        rewrite(&model, change);
        let error = Model::open(&model, &Device::flex()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        let message = error.to_string();
        assert!(message.contains(expected), "{message}");
        assert!(
            message.ends_with(&format!(": {}", model.display())) || message.contains("prompt.positive"),
            "{message}"
        );
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn matrices_and_kernels_of_one_pixel_are_the_same() {
    let (_root, model) = file("latent");
    let expected = restore(&model);
    rewrite(&model, |tensors| {
        for (name, (shape, _)) in tensors.iter_mut().filter(|(name, _)| !name.starts_with("prompt.")) {
            match shape.as_mut_slice() {
                [_, _, 1, 1] => shape.truncate(2),
                [_, _] if name.contains("proj") => shape.extend([1, 1]),
                _ => {}
            }
        }
    });
    assert_eq!(restore(&model), expected);
}

#[test]
fn old_names_of_attention_are_found() {
    let (_root, model) = file("latent");
    let expected = restore(&model);
    rewrite(&model, |tensors| {
        let old = |name: &str| {
            let is_vae = name.starts_with("vae.") && name.contains(".attentions.");
            let old = name.replace("to_q", "query").replace("to_k", "key").replace("to_v", "value");
            if is_vae { old.replace("to_out.0", "proj_attn") } else { name.to_owned() }
        };
        let renamed: BTreeMap<_, _> =
            std::mem::take(tensors).into_iter().map(|(name, tensor)| (old(&name), tensor)).collect();
        assert!(renamed.keys().any(|name| name.ends_with("proj_attn.weight")));
        *tensors = renamed;
    });
    assert_eq!(restore(&model), expected);
}

#[test]
fn adc_needs_no_encoder_and_minds_none() {
    let (_root, model) = folder("adc");
    let path = model.join("vae/diffusion_pytorch_model.safetensors");
    assert!(!Safetensors::open(&path).unwrap().tensors().keys().any(|name| name.starts_with("encoder.")));
    let expected = restore(&model);
    rewrite(&path, |tensors| drop(tensors.insert("encoder.conv_in.bias".into(), (vec![8], vec![0.0; 8]))));
    assert_eq!(restore(&model), expected);
}

#[test]
fn real_esrgan_files_need_no_description() {
    for family in ["rrdb", "compact"] {
        let (_root, model) = file(family);
        let expected = restore(&model);
        let file = Safetensors::open(&model).unwrap();
        let shapes =
            file.tensors().iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect();
        let mut writer = SafetensorsWriter::create(&model, Precision::F32, shapes, &BTreeMap::new()).unwrap();
        for (name, tensor) in file.tensors() {
            writer.write(name, tensor.to_f32(name).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        let stored = StoredModel::open(&model).unwrap();
        assert_eq!(stored.description().family.name(), family);
        assert_eq!(stored.description().color_fix, "none");
        assert_eq!(restore(&model), expected);
    }
}

#[test]
fn loras_of_a_folder_are_merged() {
    let (_root, model) = folder("latent");
    let name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
    let before = values(&model)[&format!("unet.{name}.weight")].clone();
    fs::create_dir(model.join("lora")).unwrap();
    let shapes =
        vec![(format!("{name}.lora_A.weight"), vec![1, 8]), (format!("{name}.lora_B.weight"), vec![8, 1])];
    let path = model.join("lora/style.safetensors");
    let mut writer =
        SafetensorsWriter::create(&path, Precision::F32, shapes.clone(), &BTreeMap::new()).unwrap();
    for (name, shape) in shapes {
        writer.write(&name, TensorData::new(vec![1f32; 8], shape)).unwrap();
    }
    writer.finish().unwrap();
    fs::write(model.join("lora/style.json"), r#"{"lora_alpha": 3}"#).unwrap();
    let after = values(&model)[&format!("unet.{name}.weight")].clone();
    assert!(before.iter().zip(after).all(|(before, after)| before + 3.0 == after));
    assert!(restore(&model).iter().all(|value| value.is_finite()));
}

#[test]
fn verification_finds_a_changed_byte() {
    for (model, path) in [(folder("pix"), UNET), (folder("pix"), "unet/config.json"), (file("pix"), "")] {
        let (_root, model) = model;
        let path = if path.is_empty() { model.clone() } else { model.join(path) };
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        if path.extension().is_some_and(|ending| ending == "json") {
            bytes[last] = b' ';
            bytes.extend(b"\n}");
        }
        fs::write(&path, bytes).unwrap();
        let error = verify_model(&model).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(error.to_string().contains("BLAKE3"), "{error}");
        assert!(error.to_string().ends_with(&path.display().to_string()), "{error}");
    }
}

#[test]
fn verification_stays_in_the_folder() {
    for name in ["../model/gendr.json", "/etc/hostname", ""] {
        let (_root, model) = folder("pix");
        let path = model.join("gendr.json");
        let mut description: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        description["blake3"] = serde_json::json!({ name: "00" });
        fs::write(&path, description.to_string()).unwrap();
        let error = verify_model(&model).unwrap_err();
        assert!(error.to_string().contains("not in the folder"), "{error}");
    }
}

#[test]
fn descriptions_have_flat_keys_and_no_others() {
    let (_root, model) = folder("latent");
    let text = fs::read_to_string(model.join("gendr.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [("timestep", 354.0), ("alpha_bar", 0.5), ("beta_bar", 0.5), ("scale", 4.0)] {
        assert_eq!(json[key].as_f64(), Some(value), "{text}");
    }
    assert_eq!((json["family"].as_str(), json["color_fix"].as_str()), (Some("latent"), Some("adain")));
    assert!(json["blake3"][UNET].as_str().unwrap().len() == 64);

    let read = |text: &str| Description::from_json(text);
    let short = read(r#"{"family": "latent", "timestep": 200, "scaling_factor": 0.25}"#).unwrap();
    assert_eq!(
        (short.one_step.timestep, short.one_step.beta_bar, short.scaling_factor),
        (200.0, 0.5, Some(0.25))
    );
    for wrong in [
        r#"{"family": "latent", "timestemp": 1}"#,
        r#"{"family": "magic"}"#,
        r#"{"family": "latent", "timestep": -1}"#,
        r#"{"family": "latent", "alpha_bar": 0}"#,
        r#"{"family": "latent", "scale": 0}"#,
        r#"{"family": "latent", "scaling_factor": 0}"#,
        r#"{"family": "latent", "color_fix": "magic"}"#,
        r#"{"family": "latent", "least_scale": 0}"#,
        r#"{"family": "latent", "least_scale": 5}"#,
        r#"{"family": "pix", "pix": {"patch": 1000000}}"#,
        "{}",
        "[]",
        "",
    ] {
        let error = read(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{wrong}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn the_scaling_factor_of_the_description_counts() {
    let (_root, model) = folder("latent");
    let before = restore(&model);
    let path = model.join("gendr.json");
    let mut description: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    description["scaling_factor"] = 3.0.into();
    fs::write(&path, description.to_string()).unwrap();
    assert_ne!(restore(&model), before);
}

#[test]
fn a_folder_that_is_there_is_not_overwritten() {
    let (root, model) = folder("pix");
    let error = initialize_model(&tiny("pix"), 1, &model, Precision::F32).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Argument);
    let empty = root.path().join("empty");
    fs::create_dir(&empty).unwrap();
    initialize_model(&tiny("pix"), 5, &empty, Precision::F32).unwrap();
    assert_eq!(values(&empty), values(&model));
    let error =
        initialize_model(&tiny("pix"), 1, &root.path().join("no/such/folder"), Precision::F32).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().ends_with("no/such/folder"), "{error}");
}

#[test]
fn what_is_no_model_is_refused_with_its_path_last() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path("empty.safetensors"), "").unwrap();
    fs::write(path("text.safetensors"), "hello, this is not a model").unwrap();
    fs::write(path("length.safetensors"), (1u64 << 60).to_le_bytes()).unwrap();
    fs::write(path("evil.pkl"), b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.").unwrap();
    fs::write(path("model.gguf"), "GGUF").unwrap();
    fs::create_dir(path("empty")).unwrap();
    fs::create_dir(path("folder.safetensors")).unwrap();
    fs::create_dir_all(path("strange/unet/config.json")).unwrap();
    for name in [
        "missing",
        "missing.safetensors",
        "empty.safetensors",
        "text.safetensors",
        "length.safetensors",
        "evil.pkl",
        "model.gguf",
        "empty",
        "folder.safetensors",
        "strange",
    ] {
        let error = Model::open(&path(name), &Device::flex()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(&format!(": {}", path(name).display())), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let error = StoredModel::open(&path("evil.pkl")).unwrap_err();
    assert!(error.to_string().contains("os.system"), "{error}");
}

#[test]
fn folders_with_hostile_configurations_are_refused() {
    for config in [
        r#"{"block_out_channels": [1000000000000], "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"]}"#,
        r#"{"block_out_channels": [], "down_block_types": [], "up_block_types": []}"#,
        r#"{"block_out_channels": [8], "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "layers_per_block": 4000000000}"#,
        r#"{"block_out_channels": [-8]}"#,
        "null",
        "{",
    ] {
        let (_root, model) = folder("pix");
        fs::write(model.join("unet/config.json"), config).unwrap();
        let error = StoredModel::open(&model).unwrap_err();
        assert!(error.to_string().ends_with("config.json"), "{error}");
    }
    let (_root, model) = folder("pix");
    fs::write(model.join("gendr.json"), vec![b' '; 2 << 20]).unwrap();
    assert_eq!(StoredModel::open(&model).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn every_kind_of_truncation_is_an_error() {
    let (_root, model) = file("compact");
    let whole = fs::read(&model).unwrap();
    let device = Device::flex();
    assert!(Model::parse(&Bytes::copy_from_slice(&whole), &device).is_ok());
    for length in (0..whole.len()).step_by(7) {
        assert!(Model::parse(&Bytes::copy_from_slice(&whole[..length]), &device).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changed_models_never_panic(changes in prop::collection::vec((0usize..4000, any::<u8>()), 1..4)) {
        let (_root, model) = file("compact");
        let mut bytes = fs::read(&model).unwrap();
        for (place, byte) in changes {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        // Most changes hit a value and are no fault; all that matters is that loading comes back.
        if let Ok(model) = Model::parse(&Bytes::from(bytes), &Device::flex()) {
            prop_assert_eq!(model.description.family, Family::Compact);
        }
    }
}
