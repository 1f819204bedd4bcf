//! `regress` from pictures to a model.

use crate::common::{after, data, logged, newest_checkpoint, paths, write_picture};
use gendr_model::StoredModel;
use gendr_train::{
    ErrorKind, Silent, parse_config,
    regress::{RegressConfig, run},
};
use std::{fs, path::Path};

pub(crate) const CONFIG: &str = r#"
seed = 3
[data]
pairs = 40
preset = "first-order"
scale = 4
[data.photos]
folders = ["photos"]
crop = 16
candidates = 1
[model]
patch = 4
block_out_channels = [8, 16]
layers_per_block = 1
norm_num_groups = 4
[training]
steps = 40
batch = 4
learning_rate = 2e-3
warmup = 5
max_gradient_norm = 1.0
average_decay = 0.9
[training.optimizer]
weight_decay = 1e-4
[loss]
pixel = 1.0
gradient = 0.5
amplitude = 0.0
grid = 0.0
[validation]
every = 20
pairs = 2
[checkpoints]
every = 5
keep = 2
"#;

fn config(change: impl Fn(&mut RegressConfig)) -> RegressConfig {
    let mut config = parse_config(CONFIG).expect("a configuration");
    change(&mut config);
    config
}

#[test]
fn a_run_learns_and_writes_a_model_to_restore_with() {
    let data = data();
    let paths = paths(data.path(), "run");
    // Two pairs can be learnt by heart.
    let config = config(|config| config.data.pairs = 2);
    let report = run(&config, &paths, &Silent, &|| false).expect("a run");
    assert!(!report.cancelled && report.steps == 40);
    let losses = logged(&paths.run, "loss");
    assert!(losses[1] < losses[0], "{losses:?}");
    assert_eq!(logged(&paths.run, "psnr_y").len(), 2);
    for name in ["0-00000020.png", "1-00000040.png"] {
        assert!(paths.run.join("validation").join(name).exists(), "{name}");
    }
    let model = StoredModel::open(&report.result).expect("a model");
    model.load(&burn::tensor::Device::flex()).expect("networks");
    assert_eq!(model.description().scale, 4);
}

#[test]
fn stopping_and_going_on_gives_the_same_weights() {
    let data = data();
    let [whole, parts] = ["whole", "parts"].map(|name| paths(data.path(), name));
    let config = config(|_| ());
    run(&config, &whole, &Silent, &|| false).expect("a run");
    for stop in [8, 12, 1000] {
        let report = run(&config, &parts, &Silent, &after(stop)).expect("a run");
        assert_eq!(report.cancelled, stop != 1000);
    }
    let state = |run: &Path| fs::read(newest_checkpoint(run)).expect("readable");
    assert!(state(&whole.run) == state(&parts.run), "states differ");
}

#[test]
fn a_run_goes_on_from_a_model_of_its_shape_and_of_no_other() {
    let data = data();
    let first = run(&config(|_| ()), &paths(data.path(), "first"), &Silent, &|| false).expect("a run");
    let go_on = |name: &str, change: fn(&mut RegressConfig)| {
        let config = config(|config| {
            config.start = Some(first.result.clone());
            config.training.steps = 1;
            config.training.learning_rate = 0.0;
            change(config);
        });
        run(&config, &paths(data.path(), name), &Silent, &|| false)
    };
    let second = go_on("second", |_| ()).expect("a run");
    let values = |path: &Path| {
        let model = StoredModel::open(path).expect("a model");
        let tensors = model.weights().tensors().clone();
        tensors.iter().map(|(name, tensor)| tensor.values(name).expect("floats").to_vec()).collect::<Vec<_>>()
    };
    assert!(values(&first.result) == values(&second.result), "no step was taken: the weights stay");
    let error =
        go_on("third", |config| config.model.block_out_channels = vec![8]).expect_err("another shape");
    assert!(error.kind() == ErrorKind::Argument && error.hint().is_some(), "{error}");
}

#[test]
fn four_batches_of_one_are_one_of_four() {
    let data = data();
    let weights = |name: &str, batch, accumulation| {
        let paths = paths(data.path(), name);
        let config = config(|config| {
            // One step: the optimiser divides later ones by moments that rounding has touched.
            config.training.steps = 1;
            config.training.warmup = 0;
            (config.training.batch, config.training.accumulation) = (batch, accumulation);
        });
        run(&config, &paths, &Silent, &|| false).expect("a run");
        let file = gendr_model::Safetensors::open(&newest_checkpoint(&paths.run)).expect("a checkpoint");
        let first = |name: &str| name.starts_with("student.first.");
        let moments = file.tensors().iter().filter(|(name, _)| first(name));
        moments.flat_map(|(name, tensor)| tensor.values(name).expect("floats").to_vec()).collect::<Vec<_>>()
    };
    let (four, ones) = (weights("four", 4, 1), weights("ones", 1, 4));
    let largest = four.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    assert!(four.len() == ones.len() && largest > 0.0);
    for (a, b) in four.iter().zip(&ones) {
        assert!((a - b).abs() <= 1e-4 * largest, "{a} and {b}, the largest is {largest}");
    }
}

#[test]
fn a_step_that_diverges_is_kept_apart_and_the_checkpoints_stay() {
    let data = data();
    let paths = paths(data.path(), "run");
    let config = config(|config| {
        config.training.learning_rate = 1e30;
        config.training.warmup = 0;
        config.training.optimizer.weight_decay = 0.0;
        config.checkpoints.every = 1;
    });
    let error = run(&config, &paths, &Silent, &|| false).expect_err("a divergence");
    assert!(error.is_divergence() && error.hint().is_some(), "{error}");
    let names: Vec<_> = fs::read_dir(&paths.run)
        .expect("a run")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("offending-")), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("checkpoint-")), "{names:?}");
}

#[test]
fn what_cannot_be_learnt_from_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).expect("a new folder");
    let attempt = || run(&config(|_| ()), &paths(folder.path(), "run"), &Silent, &|| false);
    let error = attempt().expect_err("an empty folder");
    assert!(error.kind() == ErrorKind::Argument && error.to_string().contains("no photographs"), "{error}");
    for index in 0..18 {
        write_picture(&photos.join(format!("{index:02}.png")), index, 8);
    }
    let error = attempt().expect_err("pictures smaller than the crop");
    assert!(error.to_string().contains("smaller than a crop of 16"), "{error}");

    let error = parse_config::<RegressConfig>(&CONFIG.replace("steps", "stesp")).expect_err("an unknown key");
    assert!(error.to_string().contains("stesp"), "{error}");
    assert_eq!(error.hint(), Some("did you mean steps?"));
}

#[test]
fn another_configuration_and_a_damaged_checkpoint_are_named() {
    let data = data();
    let paths = paths(data.path(), "run");
    let short = config(|config| config.training.steps = 10);
    run(&short, &paths, &Silent, &|| false).expect("a run");
    let error = run(&config(|_| ()), &paths, &Silent, &|| false).expect_err("other settings");
    assert_eq!(error.kind(), ErrorKind::Argument);
    let newest = newest_checkpoint(&paths.run);
    let bytes = fs::read(&newest).expect("readable");
    fs::write(&newest, &bytes[..bytes.len() / 2]).expect("room");
    let error = run(&short, &paths, &Silent, &|| false).expect_err("a damaged checkpoint");
    let name = newest.file_name().unwrap_or_default().to_string_lossy().into_owned();
    assert!(error.kind() == ErrorKind::Input && error.to_string().contains(&name), "{error}");
    fs::remove_file(&newest).expect("there");
    run(&short, &paths, &Silent, &|| false).expect("the checkpoint before");
}
