//! Ways to compute a step that must not change its gradients: part by part, batch by batch.

use crate::{
    common::{data, logged, newest_checkpoint, paths},
    stages::{BASE, PIX, PREVIOUS, VAE, distill_config, train_base, train_vae, with_shared},
};
use gendr_train::{
    Report, Result, Silent, StepsConfig,
    base::{self, BaseConfig},
    distill,
    features::Backbone,
    parse_config,
    pix::{self, PixStageConfig},
    vae::{self, VaeConfig},
};
use std::path::Path;

/// What the optimisers of all networks remember of the first step's gradients.
fn first_gradients(run: &Path) -> Vec<f32> {
    let file = gendr_model::Safetensors::open(&newest_checkpoint(run)).expect("a checkpoint");
    let moments = file.tensors().iter().filter(|(name, _)| name.contains(".first."));
    let values =
        |(name, tensor): (&String, &gendr_model::StoredTensor)| tensor.values(name).expect("floats").to_vec();
    moments.flat_map(values).collect()
}

/// Fails where two runs of one step had other gradients, by more than `share` of the largest, or other losses.
fn assert_equal(name: &str, runs: [&Path; 2], losses: &[&str], share: f32) {
    let [a, b] = runs.map(first_gradients);
    let largest = a.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    assert!(largest > 0.0 && a.len() == b.len(), "{name}");
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() <= share * largest, "{name}: {a} and {b}, the largest is {largest}");
    }
    for loss in losses {
        let [a, b] = runs.map(|run| logged(run, loss)[0]);
        assert!((a - b).abs() <= 1e-4 * (1.0 + a.abs()), "{name}, {loss}: {a} and {b}");
    }
}

/// One step at once, without a warm-up that would take its gradient's weight.
fn one_step(steps: &mut StepsConfig, batch: usize, accumulation: usize) {
    *steps = StepsConfig { steps: 1, batch, accumulation, warmup: 0 };
}

/// The stages, each a function of `(batch, accumulation, checkpointing, name of the run)`.
struct Stages<'a> {
    data: &'a Path,
}

impl Stages<'_> {
    fn vae(&self, batch: usize, accumulation: usize, checkpointing: bool, run: &str) -> Result<Report> {
        let mut config: VaeConfig = parse_config(&with_shared(VAE))?;
        one_step(&mut config.training, batch, accumulation);
        config.loss.adversarial_from = 0;
        config.loss.kl = 1e-3;
        config.checkpointing = checkpointing;
        config.perceptual.weight = 0.3;
        vae::run(&config, &paths(self.data, run), &Silent, &|| false)
    }

    fn base(&self, batch: usize, accumulation: usize, checkpointing: bool, run: &str) -> Result<Report> {
        let mut config: BaseConfig = parse_config(&with_shared(BASE))?;
        one_step(&mut config.training, batch, accumulation);
        config.degraded_share = 0.5;
        config.checkpointing = checkpointing;
        base::run(&config, &paths(self.data, run), &Silent, &|| false)
    }

    fn distill(
        &self,
        (method, more): (&str, &str),
        batch: usize,
        accumulation: usize,
        checkpointing: bool,
        run: &str,
    ) -> Result<Report> {
        let mut config = distill_config(method, more);
        one_step(&mut config.training, batch, accumulation);
        config.checkpointing = checkpointing;
        config.loss.pixel = 0.1;
        config.perceptual.weight = 0.3;
        distill::run(&config, &paths(self.data, run), &Silent, &|| false)
    }

    fn pix(
        &self,
        target: &str,
        batch: usize,
        accumulation: usize,
        checkpointing: bool,
        run: &str,
    ) -> Result<Report> {
        let text = PIX.replace("[training]", &format!("{target}\n[training]"));
        let mut config: PixStageConfig = parse_config(&with_shared(&text))?;
        one_step(&mut config.training, batch, accumulation);
        config.checkpointing = checkpointing;
        config.perceptual.weight = 0.3;
        pix::run(&config, &paths(self.data, run), &Silent, &|| false)
    }
}

const LORA: &str = "[generator.lora]\nrank = 2\nalpha = 4\n[real.lora]\nrank = 2\n[fake.lora]\nrank = 2\n";

/// A run of every stage, by `batch`, `accumulation` and `checkpointing`, and what it logs.
fn every_stage(
    data: &Path,
    mut check: impl FnMut(&str, &dyn Fn(usize, usize, bool, &str) -> Result<Report>, &[&str]),
) {
    let stages = Stages { data };
    check("vae", &|b, a, c, run| stages.vae(b, a, c, run), &["l1", "kl", "perceptual", "adversarial"]);
    check("base", &|b, a, c, run| stages.base(b, a, c, run), &["loss", "alignment"]);
    for setting in [("vsd", ""), ("sid", ""), ("cid", LORA), ("cida", ""), ("cida", LORA)] {
        let name = format!("{}{}", setting.0, setting.1.len());
        let losses = ["generator", "score", "alignment", "perceptual", "fake", "real"];
        check(&name, &|b, a, c, run| stages.distill(setting, b, a, c, run), &losses);
    }
    let cida = distill_config("cida", "");
    distill::run(&cida, &paths(data, "cida"), &Silent, &|| false).expect("a teacher");
    let losses = ["l1", "adversarial", "discriminator"];
    check("adc", &|b, a, c, run| stages.pix("target = \"latent\"", b, a, c, run), &losses);
    check("pix", &|b, a, c, run| stages.pix(PREVIOUS, b, a, c, run), &["l1", "fourier", "perceptual"]);
}

#[test]
fn checkpointing_gives_equal_gradients_in_every_stage() {
    let data = data();
    train_vae(&paths(data.path(), "vae"));
    train_base(&paths(data.path(), "base"));
    every_stage(data.path(), |name, stage, losses| {
        let runs = [false, true].map(|checkpointing| {
            let run = if name == "adc" && !checkpointing {
                "adc".to_owned()
            } else {
                format!("{name}-{checkpointing}")
            };
            stage(2, 1, checkpointing, &run).expect("a run");
            data.path().join(run)
        });
        assert_equal(name, runs.each_ref().map(AsRef::as_ref), losses, 1e-4);
    });
}

#[test]
fn four_batches_of_one_are_one_of_four_in_every_stage() {
    let data = data();
    train_vae(&paths(data.path(), "vae"));
    train_base(&paths(data.path(), "base"));
    every_stage(data.path(), |name, stage, losses| {
        let runs = [(4, 1), (1, 4)].map(|(batch, accumulation)| {
            let run = if name == "adc" && batch == 4 { "adc".to_owned() } else { format!("{name}-{batch}") };
            stage(batch, accumulation, true, &run).expect("a run");
            data.path().join(run)
        });
        assert_equal(name, runs.each_ref().map(AsRef::as_ref), losses, 1e-3);
    });
}

#[test]
fn a_perceptual_term_without_files_knows_its_network() {
    let config: VaeConfig = parse_config(&with_shared(VAE)).expect("a configuration");
    assert_eq!(config.perceptual.network, Backbone::Vgg16);
    assert_eq!(config.perceptual.weight, 0.0);
}
