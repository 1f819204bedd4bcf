//! Runs with networks from weight files, with latents kept on disk, and what the log says of them.

use crate::{
    common::{after, data, logged, newest_checkpoint, paths},
    stages::{BASE, VAE, distill_config, train_base, train_vae, with_shared},
};
use gendr_model::draw_parameter;
use gendr_train::{
    ErrorKind, Event, Progress, Silent,
    base::{self, BaseConfig},
    distill, parse_config,
    vae::{self, VaeConfig},
};
use safetensors::{Dtype, tensor::TensorView};
use std::{cell::RefCell, fs, path::Path};

/// Keeps what a run says of itself.
#[derive(Default)]
struct Notes(RefCell<Vec<String>>);

impl Progress for Notes {
    fn report(&self, event: Event<'_>) {
        if let Event::Note(text) = event {
            self.0.borrow_mut().push(text.to_owned());
        }
    }
}

/// Writes random tensors.
fn write(path: &Path, tensors: &[(&str, &[usize])]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(name, shape)| {
            draw_parameter(1, name, shape).iter().flat_map(|value| value.to_le_bytes()).collect()
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("sizes fit"))
    });
    fs::write(path, safetensors::serialize(views, None).expect("small")).expect("room");
}

/// DINOv2 without blocks, 64 wide.
fn write_dinov2(path: &Path) {
    write(
        path,
        &[
            ("cls_token", &[1, 1, 64]),
            ("pos_embed", &[1, 5, 64]),
            ("patch_embed.proj.weight", &[64, 3, 14, 14]),
            ("patch_embed.proj.bias", &[64]),
            ("norm.weight", &[64]),
            ("norm.bias", &[64]),
        ],
    );
}

/// AlexNet with four channels.
fn write_alexnet(path: &Path) {
    write(
        path,
        &[
            ("features.0.weight", &[4, 3, 11, 11]),
            ("features.0.bias", &[4]),
            ("features.3.weight", &[4, 4, 5, 5]),
            ("features.3.bias", &[4]),
            ("features.6.weight", &[4, 4, 3, 3]),
            ("features.6.bias", &[4]),
            ("features.8.weight", &[4, 4, 3, 3]),
            ("features.8.bias", &[4]),
            ("features.10.weight", &[4, 4, 3, 3]),
            ("features.10.bias", &[4]),
        ],
    );
}

#[test]
fn networks_from_files_serve_and_the_log_says_which() {
    let data = data();
    write_dinov2(&data.path().join("dinov2.safetensors"));
    write_alexnet(&data.path().join("alexnet.safetensors"));
    let alexnet = "[perceptual]\nweight = 0.5\nnetwork = \"alexnet\"\nweights = [\"alexnet.safetensors\"]\n";
    let own = "[perceptual]\nweight = 0.5\n";
    for (more, said, run) in [(alexnet, "weight files, every channel", "vae"), (own, "own encoder", "own")] {
        let mut config: VaeConfig =
            parse_config(&with_shared(&format!("{VAE}{more}"))).expect("a configuration");
        config.data.photos.crop = 32;
        let (notes, paths) = (Notes::default(), paths(data.path(), run));
        vae::run(&config, &paths, &notes, &|| false).expect("a run");
        let notes = notes.0.take();
        assert!(notes.iter().any(|note| note.contains(said)), "{notes:?}");
        let perceptual = logged(&paths.run, "perceptual");
        assert!(perceptual.iter().all(|value| value.is_finite() && *value > 0.0), "{perceptual:?}");
    }

    let text = with_shared(&BASE.replace("autoencoder =", "dinov2 = \"dinov2.safetensors\"\nautoencoder ="));
    let config: BaseConfig = parse_config(&text).expect("a configuration");
    let (notes, base_paths) = (Notes::default(), paths(data.path(), "base"));
    base::run(&config, &base_paths, &notes, &|| false).expect("a run");
    assert_eq!(notes.0.take(), ["alignment with DINOv2"]);
    let alignment = logged(&base_paths.run, "alignment");
    assert!(alignment.iter().all(|value| (-1.0..0.0).contains(value)), "{alignment:?}");

    let mut config = distill_config("cida", alexnet);
    config.dinov2 = Some("dinov2.safetensors".into());
    let (notes, paths) = (Notes::default(), paths(data.path(), "cida"));
    distill::run(&config, &paths, &notes, &|| false).expect("a run");
    assert_eq!(notes.0.take().len(), 2);
    assert!(logged(&paths.run, "perceptual")[0] > 0.0);

    let mut config = distill_config("cida", "");
    config.dinov2 = Some("alexnet.safetensors".into());
    let error = distill::run(&config, &crate::common::paths(data.path(), "wrong"), &Silent, &|| false)
        .expect_err("another network");
    assert!(error.kind() == ErrorKind::Input && error.to_string().contains("alexnet.safetensors"), "{error}");
}

#[test]
fn latents_kept_on_disk_are_those_of_every_step() {
    let data = data();
    train_vae(&paths(data.path(), "vae"));
    let mut config: BaseConfig = parse_config(&with_shared(BASE)).expect("a configuration");
    config.data.cache_latents = true;
    let whole = paths(data.path(), "base-kept");
    base::run(&config, &whole, &Silent, &|| false).expect("a run");
    let kept = fs::read_dir(data.path().join("cache")).expect("a cache").flat_map(|set| {
        fs::read_dir(set.expect("readable").path())
            .expect("a set")
            .map(|file| file.expect("readable").file_name())
    });
    assert_eq!(kept.filter(|name| name.to_string_lossy().starts_with("latents-")).count(), 1);
    let loss = logged(&whole.run, "loss");
    assert!(loss.iter().all(|loss| loss.is_finite()), "{loss:?}");
    let parts = paths(data.path(), "base-parts");
    for stop in [9, 1000] {
        base::run(&config, &parts, &Silent, &after(stop)).expect("a run");
    }
    let bytes = |run: &Path| fs::read(newest_checkpoint(run)).expect("readable");
    assert!(bytes(&whole.run) == bytes(&parts.run));

    train_base(&paths(data.path(), "base"));
    let mut config = distill_config("cida", "");
    config.data.cache_latents = true;
    config.loss.pixel = 0.1;
    distill::run(&config, &paths(data.path(), "cida"), &Silent, &|| false).expect("a run");
    assert!(logged(&data.path().join("cida"), "alignment")[0] != 0.0);
}

#[test]
fn little_memory_for_crops_gives_the_same_weights() {
    let data = data();
    let config: VaeConfig = parse_config(&with_shared(VAE)).expect("a configuration");
    let mut small = config.clone();
    small.data.memory_mib = 1;
    for (config, run) in [(&config, "large"), (&small, "small")] {
        vae::run(config, &paths(data.path(), run), &Silent, &|| false).expect("a run");
    }
    let bytes = |run: &str| fs::read(newest_checkpoint(&data.path().join(run))).expect("readable");
    assert!(bytes("large") == bytes("small"), "the limit is no part of the settings");
}
