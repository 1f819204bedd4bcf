//! The whole method on tiny pictures: autoencoder, base model, one-step restorer.

use crate::common::{after, data, logged, newest_checkpoint, paths};
use gendr_model::{Model, StoredModel};
use gendr_train::{
    ErrorKind, Paths, Report, Silent,
    base::{self, BaseConfig},
    distill::{self, DistillConfig},
    parse_config,
    pix::{self, PixStageConfig},
    vae::{self, VaeConfig},
};
use std::{fs, path::Path};

pub(crate) const SHARED: &str = r#"
[data]
pairs = 4
preset = "first-order"
scale = 4
[data.photos]
folders = ["photos"]
crop = 32
candidates = 1
[validation]
every = 20
pairs = 1
[checkpoints]
every = 7
keep = 2
"#;

pub(crate) const VAE: &str = r#"
seed = 1
[autoencoder]
latent_channels = 4
block_out_channels = [8, 8, 8, 8]
layers_per_block = 1
norm_num_groups = 4
attention = true
[training]
steps = 40
batch = 2
warmup = 2
[optimization]
learning_rate = 5e-3
average_decay = 0.9
[discriminator]
learning_rate = 1e-3
[loss]
kl = 1e-6
adversarial = 0.1
adversarial_from = 10
"#;

pub(crate) const BASE: &str = r#"
seed = 2
autoencoder = "vae/vae"
degraded_share = 0.25
[unet.shape]
block_out_channels = [8, 16]
attention = [false, true]
layers_per_block = 1
heads = 2
prompt_width = 8
norm_num_groups = 4
[training]
steps = 40
batch = 4
warmup = 2
[optimization]
learning_rate = 5e-3
average_decay = 0.9
[alignment]
weight = 0.5
hidden = 16
"#;

pub(crate) const DISTILL: &str = r#"
seed = 3
base = "base/model.safetensors"
method = "METHOD"
[training]
steps = 20
batch = 2
accumulation = 2
warmup = 2
[generator.optimization]
learning_rate = 1e-3
average_decay = 0.9
[real.optimization]
learning_rate = 1e-3
[fake.optimization]
learning_rate = 1e-3
[heads]
learning_rate = 1e-3
[loss]
hidden = 16
"#;

pub(crate) const PIX: &str = r#"
seed = 4
teacher = "cida/model.safetensors"
[training]
steps = 40
batch = 2
warmup = 2
[optimization]
learning_rate = 3e-3
average_decay = 0.9
[head]
learning_rate = 1e-3
"#;

/// Stages I and II of GenDR-Pix after a distilled model `cida`.
fn train_pix(data: &Path) {
    for (name, target) in [("adc", "target = \"latent\""), ("pix", PREVIOUS)] {
        let text = with_shared(&PIX.replace("[training]", &format!("{target}\n[training]")));
        let config: PixStageConfig = parse_config(&text).expect("a configuration");
        let paths = paths(data, name);
        let report = pix::run(&config, &paths, &Silent, &|| false).expect("a run");
        let l1 = logged(&paths.run, "l1");
        assert!(l1[1] < l1[0], "{name}: {l1:?}");
        assert_eq!(logged(&paths.run, "fourier")[0] > 0.0, name == "pix");
        let model = Model::open(&report.result, &burn::tensor::Device::flex()).expect("a model");
        let picture = burn::tensor::Tensor::zeros([1, 3, 16, 24], &burn::tensor::Device::flex());
        let output = model.networks.restore(picture, 1.0).expect("a restorer");
        assert_eq!(output.dims(), [1, 3, 16, 24]);
        let parts = Paths { run: data.join(format!("{name}-parts")), ..paths.clone() };
        for stop in [9, 1000] {
            pix::run(&config, &parts, &Silent, &after(stop)).expect("a run");
        }
        assert!(bytes(&paths.run) == bytes(&parts.run), "{name}");
    }
}

pub(crate) const PREVIOUS: &str = "target = \"picture\"\nprevious = \"adc/model.safetensors\"";

pub(crate) fn with_shared(text: &str) -> String {
    format!("{text}{SHARED}")
}

pub(crate) fn train_vae(paths: &Paths) -> Report {
    let config: VaeConfig = parse_config(&with_shared(VAE)).expect("a configuration");
    vae::run(&config, paths, &Silent, &|| false).expect("a run")
}

pub(crate) fn train_base(paths: &Paths) -> Report {
    let config: BaseConfig = parse_config(&with_shared(BASE)).expect("a configuration");
    base::run(&config, paths, &Silent, &|| false).expect("a run")
}

pub(crate) fn distill_config(method: &str, more: &str) -> DistillConfig {
    let text = with_shared(&(DISTILL.replace("METHOD", method) + more));
    parse_config(&text).expect("a configuration")
}

fn bytes(run: &Path) -> Vec<u8> {
    fs::read(newest_checkpoint(run)).expect("readable")
}

#[test]
fn the_whole_method_makes_a_restorer() {
    let data = data();
    let vae_paths = paths(data.path(), "vae");
    train_vae(&vae_paths);
    let l1 = logged(&vae_paths.run, "l1");
    assert!(l1[1] < l1[0], "{l1:?}");

    let base_paths = paths(data.path(), "base");
    let report = train_base(&base_paths);
    let loss = logged(&base_paths.run, "loss");
    assert!(loss[1] < 1.5 && loss.iter().all(|loss| loss.is_finite()), "{loss:?}");
    let alignment = logged(&base_paths.run, "alignment");
    assert!(alignment[1] < alignment[0], "{alignment:?}");
    let model = StoredModel::open(&report.result).expect("a model");
    model.load(&burn::tensor::Device::flex()).expect("networks");

    for method in ["vsd", "sid", "cid_literal", "cid", "cida"] {
        let paths = paths(data.path(), method);
        let report = distill::run(&distill_config(method, ""), &paths, &Silent, &|| false).expect("a run");
        let psnr = logged(&paths.run, "psnr_y");
        assert!(psnr.len() == 1 && psnr[0].is_finite(), "{psnr:?}");
        let model = Model::open(&report.result, &burn::tensor::Device::flex()).expect("a model");
        let picture = burn::tensor::Tensor::zeros([1, 3, 16, 24], &burn::tensor::Device::flex());
        let output = model.networks.restore(picture, 1.0).expect("a restorer");
        assert_eq!(output.dims(), [1, 3, 16, 24]);
    }
    let first = |run: &str| logged(&data.path().join(run), "adversarial")[0];
    assert!(first("cida") > 0.0 && first("cid") == 0.0);
    train_pix(data.path());
}

#[test]
fn every_stage_goes_on_where_it_stopped() {
    let data = data();
    let named = |name: &str| paths(data.path(), name);
    train_vae(&named("vae"));
    let config: VaeConfig = parse_config(&with_shared(VAE)).expect("a configuration");
    for stop in [9, 12, 1000] {
        vae::run(&config, &named("vae-parts"), &Silent, &after(stop)).expect("a run");
    }
    assert!(bytes(&named("vae").run) == bytes(&named("vae-parts").run));

    train_base(&named("base"));
    let config: BaseConfig = parse_config(&with_shared(BASE)).expect("a configuration");
    for stop in [9, 12, 1000] {
        base::run(&config, &named("base-parts"), &Silent, &after(stop)).expect("a run");
    }
    assert!(bytes(&named("base").run) == bytes(&named("base-parts").run));

    let lora = "[generator.lora]\nrank = 2\nalpha = 4\n[real.lora]\nrank = 2\n[fake.lora]\nrank = 2\n";
    for (more, name) in [("", "full"), (lora, "lora")] {
        let config = distill_config("cida", more);
        distill::run(&config, &named(name), &Silent, &|| false).expect("a run");
        let parts = named(&format!("{name}-parts"));
        for stop in [6, 9, 1000] {
            distill::run(&config, &parts, &Silent, &after(stop)).expect("a run");
        }
        assert!(bytes(&named(name).run) == bytes(&parts.run), "{name}");
    }
    let size = |name: &str| bytes(&named(name).run).len();
    assert!(size("lora") < size("full"));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let error = parse_config::<DistillConfig>(&with_shared(&DISTILL.replace("METHOD", "cib")))
        .expect_err("an unknown method");
    assert_eq!(error.hint(), Some("did you mean cid?"));
    let error = parse_config::<BaseConfig>(&with_shared(&BASE.replace("hidden", "hiden")))
        .expect_err("an unknown key");
    assert!(error.to_string().contains("hiden") && error.hint() == Some("did you mean hidden?"), "{error}");
    let error = parse_config::<VaeConfig>(&with_shared(&VAE.replace("adversarial =", "adverserial =")))
        .expect_err("an unknown key");
    assert_eq!(error.hint(), Some("did you mean adversarial?"));

    let data = data();
    let config: VaeConfig =
        parse_config(&with_shared(&VAE.replace("kl = 1e-6", "kl = -1"))).expect("a configuration");
    let error = vae::run(&config, &paths(data.path(), "vae"), &Silent, &|| false).expect_err("a weight");
    assert_eq!(error.kind(), ErrorKind::Argument);
    let missing = distill_config("cid", "");
    let error =
        distill::run(&missing, &paths(data.path(), "cid"), &Silent, &|| false).expect_err("no base model");
    assert!(error.to_string().contains("model.safetensors"), "{error}");
}
