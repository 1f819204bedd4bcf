//! The method without autoencoder: a restorer on patches of pixels, a base model on them, distillation; and restorers of the other
//! families trained as a whole.

use crate::{
    common::{after, data, logged, newest_checkpoint, paths},
    regress::CONFIG,
};
use burn::tensor::{Device, Tensor};
use gendr_model::{Family, Model, StoredModel};
use gendr_train::{
    ErrorKind, Presets, Silent,
    base::{self, BaseConfig},
    distill::{self, DistillConfig},
    parse_config,
    regress::{self, RegressConfig},
};
use std::{fs, path::Path};

const SHARED: &str = r#"
[data]
pairs = 4
preset = { first-order = 0.5, mild = 0.5 }
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

const BASE: &str = r#"
seed = 2
degraded_share = 0.25
[patches]
patch = 4
scaling_factor = 2.0
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
[alignment]
weight = 0.0
"#;

const DISTILL: &str = r#"
seed = 3
base = "base/model.safetensors"
start = "start/model.safetensors"
method = "cida"
[training]
steps = 20
batch = 2
warmup = 2
[generator.optimization]
learning_rate = 1e-3
average_decay = 0.9
[fake.optimization]
learning_rate = 1e-3
[heads]
learning_rate = 1e-3
[discriminator]
weight = 0.1
real = "target"
sees_input = true
luma = true
[discriminator.optimization]
learning_rate = 1e-3
[anchor]
amplitude_of_sharp = true
[anchor.loss]
pixel = 1.0
gradient = 1.0
amplitude = 0.01
grid = 1.0
[loss]
hidden = 16
"#;

const AUTOENCODER: &str = r#"
[model.autoencoder]
latent_channels = 4
block_out_channels = [8, 8, 8]
layers_per_block = 1
norm_num_groups = 4
attention = false
[training]
"#;

fn start(data: &Path) {
    let config: RegressConfig = parse_config(CONFIG).expect("a configuration");
    regress::run(&config, &paths(data, "start"), &Silent, &|| false).expect("a run");
}

fn restores(path: &Path, family: Family) {
    assert_eq!(StoredModel::open(path).expect("a model").description().family, family);
    let model = Model::open(path, &Device::flex()).expect("networks");
    let picture = Tensor::zeros([1, 3, 16, 24], &Device::flex());
    let output = model.networks.restore(picture, 1.0).expect("a restorer");
    assert_eq!(output.dims(), [1, 3, 16, 24]);
}

#[test]
fn a_restorer_on_patches_is_distilled_and_resumed() {
    let data = data();
    start(data.path());
    let base: BaseConfig = parse_config(&format!("{BASE}{SHARED}")).expect("a configuration");
    let report = base::run(&base, &paths(data.path(), "base"), &Silent, &|| false).expect("a run");
    let about = StoredModel::open(&report.result).expect("a model");
    assert_eq!(about.description().scaling_factor, Some(2.0));

    let config: DistillConfig = parse_config(&format!("{DISTILL}{SHARED}")).expect("a configuration");
    let aimless = DistillConfig { anchor: None, ..config.clone() };
    let error =
        distill::run(&aimless, &paths(data.path(), "aimless"), &Silent, &|| false).expect_err("no target");
    assert!(error.to_string().contains("needs [anchor]"), "{error}");

    let whole = paths(data.path(), "whole");
    let report = distill::run(&config, &whole, &Silent, &|| false).expect("a run");
    restores(&report.result, Family::Pix);
    for term in ["critic", "pictures", "anchor", "adversarial", "discriminator"] {
        assert!(logged(&whole.run, term)[0] > 0.0, "{term}");
    }
    assert!(logged(&whole.run, "alignment")[0] < 0.0, "features of the base model serve");

    let parts = paths(data.path(), "parts");
    for stop in [6, 9, 1000] {
        distill::run(&config, &parts, &Silent, &after(stop)).expect("a run");
    }
    let bytes = |run: &Path| fs::read(newest_checkpoint(run)).expect("readable");
    assert!(bytes(&whole.run) == bytes(&parts.run));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let data = data();
    let refused = |change: &dyn Fn(&mut BaseConfig)| {
        let mut config: BaseConfig = parse_config(&format!("{BASE}{SHARED}")).expect("a configuration");
        change(&mut config);
        let error = base::run(&config, &paths(data.path(), "bad"), &Silent, &|| false).expect_err("nonsense");
        assert_eq!(error.kind(), ErrorKind::Argument);
    };
    refused(&|config| config.patches = None);
    refused(&|config| config.autoencoder = Some("vae".into()));
    refused(&|config| config.alignment.weight = 0.5);
    refused(&|config| config.patches.as_mut().expect("patches").scaling_factor = 0.0);
    refused(&|config| config.data.preset = Presets::Mixed([("mild".to_owned(), -1.0)].into()));
    refused(&|config| config.data.preset = Presets::Mixed([].into()));

    let base: BaseConfig = parse_config(&format!("{BASE}{SHARED}")).expect("a configuration");
    base::run(&base, &paths(data.path(), "base"), &Silent, &|| false).expect("a run");
    let text = format!("{DISTILL}{SHARED}").replace("start = \"start/model.safetensors\"", "");
    let config: DistillConfig = parse_config(&text).expect("a configuration");
    let error =
        distill::run(&config, &paths(data.path(), "alone"), &Silent, &|| false).expect_err("no generator");
    assert!(error.hint().is_some_and(|hint| hint.contains("start")), "{error}");
}

#[test]
fn every_family_learns_from_pairs() {
    let data = data();
    let attention = "attention = [false, true]\nheads = 2\nprompt_width = 8\n";
    for (family, more) in
        [(Family::Adc, AUTOENCODER), (Family::Latent, AUTOENCODER), (Family::Pix, "[training]\n")]
    {
        let name = family.name();
        let text = CONFIG.replace("[training]\n", &format!("family = \"{name}\"\n{attention}{more}"));
        let mut config: RegressConfig = parse_config(&text).expect("a configuration");
        // Two pairs can be learnt by heart.
        (config.data.pairs, config.training.steps) = (2, 120);
        let paths = paths(data.path(), name);
        let report = regress::run(&config, &paths, &Silent, &|| false).expect("a run");
        let loss = logged(&paths.run, "loss");
        assert!(loss[5] < loss[0], "{name}: {loss:?}");
        restores(&report.result, family);
    }
    let alone = CONFIG.replace("patch = 4", "family = \"adc\"");
    let config: RegressConfig = parse_config(&alone).expect("a configuration");
    let error =
        regress::run(&config, &paths(data.path(), "alone"), &Silent, &|| false).expect_err("no decoder");
    assert!(error.to_string().contains("model.family"), "{error}");
}
