//! The reference numbers of optimisation.

use gendr_train::{
    AdamW, AdamWConfig, Schedule, clip_gradients, half_life_decay, update_average, warm_decay,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::PathBuf};

struct Fixture {
    json: Value,
    tensors: BTreeMap<String, Vec<f64>>,
}

/// The fixtures of the optimisation folder that describe themselves as `kind`; at least one, or the test fails.
fn fixtures(kind: &str) -> Vec<Fixture> {
    let root = std::env::var_os("GENDR_FIXTURES")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")), PathBuf::from);
    let folder = root.join("optim");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("readable folder").path());
    let found: Vec<Fixture> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter_map(|path| {
            let json: Value =
                serde_json::from_slice(&fs::read(&path).expect("readable")).expect("valid JSON");
            (json["fixture"] == kind).then(|| {
                let bytes = fs::read(path.with_extension("safetensors")).expect("readable");
                Fixture { json, tensors: read_tensors(&bytes) }
            })
        })
        .collect();
    assert!(!found.is_empty(), "no {kind} fixture in {}", folder.display());
    found
}

fn read_tensors(bytes: &[u8]) -> BTreeMap<String, Vec<f64>> {
    let file = SafeTensors::deserialize(bytes).expect("valid safetensors");
    let values = |data: &[u8]| data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    file.iter()
        .map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::F64, "{name}");
            (name.to_owned(), values(view.data()))
        })
        .collect()
}

impl Fixture {
    fn f32(&self, name: &str) -> Vec<f32> {
        self.tensors[name].iter().map(|&value| value as f32).collect()
    }

    fn check(&self, name: &str, got: impl IntoIterator<Item = f64>) {
        let tolerance = &self.json["tensors"][name]["tolerance"];
        let [abs, rel] = ["abs", "rel"].map(|key| tolerance[key].as_f64().expect("a tolerance"));
        let got: Vec<f64> = got.into_iter().collect();
        let want = &self.tensors[name];
        assert_eq!(got.len(), want.len(), "{name}: number of values");
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            assert!((got - want).abs() <= abs + rel * want.abs(), "{name}[{i}]: {got} for {want}");
        }
    }

    /// Names of the parameters that gradients are given for.
    fn parameters(&self) -> Vec<&str> {
        let names: Vec<&str> = self.tensors.keys().filter_map(|name| name.strip_prefix("grad.")).collect();
        assert!(!names.is_empty());
        names
    }

    fn gradient(&self, name: &str, step: usize, length: usize) -> Vec<f32> {
        self.f32(&format!("grad.{name}"))[step * length..(step + 1) * length].to_vec()
    }
}

fn widened(values: &[f32]) -> impl Iterator<Item = f64> {
    values.iter().map(|&value| f64::from(value))
}

#[test]
fn fixtures_optim_adamw() {
    for fixture in fixtures("adamw") {
        let names = fixture.parameters();
        let settings = fixture.json["params"]["settings"].as_object().expect("settings");
        assert!(!settings.is_empty());
        for (case, settings) in settings {
            let number = |value: &Value| value.as_f64().expect("a number");
            let config = AdamWConfig {
                betas: [number(&settings["betas"][0]), number(&settings["betas"][1])],
                epsilon: number(&settings["eps"]),
                weight_decay: number(&settings["weight_decay"]),
            };
            let mut weights: Vec<Vec<f32>> =
                names.iter().map(|name| fixture.f32(&format!("init.{name}"))).collect();
            let mut optimiser = AdamW::new(config, weights.iter().map(Vec::len));
            let mut norms = Vec::new();
            let mut history = vec![Vec::new(); names.len()];
            for step in 0..fixture.tensors[&format!("{case}.norm")].len() {
                let mut gradients: Vec<Vec<f32>> = names
                    .iter()
                    .zip(&weights)
                    .map(|(name, w)| fixture.gradient(name, step, w.len()))
                    .collect();
                norms.push(clip_gradients(
                    &mut gradients,
                    settings["max_norm"].as_f64().unwrap_or(f64::INFINITY),
                ));
                optimiser.step(number(&settings["lr"]), weights.iter_mut(), &gradients);
                history
                    .iter_mut()
                    .zip(&weights)
                    .for_each(|(history, weights)| history.extend(widened(weights)));
            }
            fixture.check(&format!("{case}.norm"), norms);
            for (i, name) in names.iter().enumerate() {
                fixture.check(&format!("{case}.{name}"), history[i].iter().copied());
                fixture.check(&format!("{case}.{name}.exp_avg"), widened(&optimiser.first_moments[i]));
                fixture.check(&format!("{case}.{name}.exp_avg_sq"), widened(&optimiser.second_moments[i]));
            }
        }
    }
}

#[test]
fn fixtures_optim_moving_average() {
    for fixture in fixtures("adamw") {
        let length = fixture.tensors["init.w"].len();
        let weights = fixture.f32("default.w");
        let averages = |start: &[f32], decay: &dyn Fn(u64) -> f64| {
            let mut average = vec![start.to_vec()];
            let rows = weights.chunks_exact(length).enumerate();
            let rows = rows.flat_map(|(i, row)| {
                update_average(&mut average, [row.to_vec()].iter(), decay(i as u64 + 1));
                average[0].clone()
            });
            rows.map(f64::from).collect::<Vec<_>>()
        };
        fixture.check("ema.constant", averages(&weights[..length], &|_| 0.95));
        fixture.check("ema.warm", averages(&weights[..length], &|call| warm_decay(0.9, call)));
        let calls = 1..=(weights.len() / length) as u64;
        fixture.check("ema.warm.decay", calls.map(|call| warm_decay(0.9, call)));
        fixture.check("ema.half_life", [64.0, 512.0].map(|batch| half_life_decay(50_000.0, batch)));
    }
}

#[test]
fn fixtures_optim_schedules() {
    for fixture in fixtures("schedules") {
        let schedules = fixture.json["params"]["schedules"].as_object().expect("schedules");
        assert!(!schedules.is_empty());
        for (name, parameters) in schedules {
            let count = |key: &str| parameters[key].as_u64().expect("a whole number");
            let (warmup, steps) = (|| count("num_warmup_steps"), || count("num_training_steps"));
            let schedule = match parameters["name"].as_str().expect("a name") {
                "constant" => Schedule::Constant,
                "constant_with_warmup" => Schedule::ConstantWithWarmup { warmup: warmup() },
                "linear" => Schedule::Linear { warmup: warmup(), steps: steps() },
                "cosine" => Schedule::Cosine { warmup: warmup(), steps: steps() },
                "cosine_with_restarts" => Schedule::CosineWithRestarts {
                    warmup: warmup(),
                    steps: steps(),
                    cycles: count("num_cycles"),
                },
                "polynomial" => {
                    let power = parameters["power"].as_f64().expect("a number");
                    Schedule::Polynomial { warmup: warmup(), steps: steps(), power }
                }
                other => panic!("unknown schedule {other}"),
            };
            let length = fixture.tensors[name].len() as u64;
            fixture.check(name, (0..length).map(|step| schedule.factor(step)));
        }
    }
}
