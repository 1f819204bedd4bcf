//! The reference pipelines, from picture to picture, through a model folder.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;
use gendr::{ColorFix, ModelSource, Picture, Planes, RestoreOptions, Restorer, TargetSize};
use gendr_model::{Precision, SafetensorsWriter, Weights};
use serde_json::{Value, json};

use crate::support::{fixtures, restore, threads};

/// One file of reference numbers.
struct Reference {
    about: Value,
    tensors: Weights,
}

impl Reference {
    /// Every reference in the folder of pipelines.
    fn all() -> Vec<Self> {
        let folder = fixtures().join("pipeline");
        let paths = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
        paths.sort();
        assert!(!paths.is_empty(), "no reference numbers in {}", folder.display());
        let open = |path: &PathBuf| Self {
            about: serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap(),
            tensors: Weights::open(&path.with_extension("safetensors")).unwrap(),
        };
        paths.iter().map(open).collect()
    }

    fn has(&self, name: &str) -> bool {
        !self.about["tensors"][name].is_null()
    }

    fn values(&self, name: &str) -> Vec<f32> {
        self.tensors.values(name).unwrap().try_into_vec().unwrap()
    }

    /// `[1, c, h, w]` as planes.
    fn planes(&self, name: &str) -> Planes {
        let values = self.tensors.values(name).unwrap();
        let &[1, c, h, w] = values.shape().as_slice() else { panic!("{name} is no picture") };
        Planes::from_vec(c, h, w, values.try_into_vec::<f32>().unwrap()).unwrap()
    }

    /// A model folder of the reference's networks and prompts.
    fn model(&self, folder: &Path, description: &Value) -> Restorer {
        for part in ["unet", "vae"] {
            if let Some(source) = self.about["params"][part].as_str() {
                copy_folder(&fixtures().join(source), &folder.join(part));
            }
        }
        fs::write(folder.join("gendr.json"), description.to_string()).unwrap();
        let prompts: Vec<(&str, TensorData)> = ["positive", "negative"]
            .map(|name| (name, self.tensors.values(&format!("context.{name}")).unwrap()))
            .into();
        let shapes = prompts.iter().map(|(name, data)| ((*name).to_owned(), data.shape()[1..].to_vec()));
        let path = folder.join("prompt.safetensors");
        let mut writer =
            SafetensorsWriter::create(&path, Precision::F32, shapes.collect(), &BTreeMap::new()).unwrap();
        for (name, data) in prompts {
            let shape = data.shape()[1..].to_vec();
            writer.write(name, TensorData::new(data.try_into_vec::<f32>().unwrap(), shape)).unwrap();
        }
        writer.finish().unwrap();
        Restorer::open(&ModelSource::Path(folder.to_owned()), threads(2)).unwrap()
    }

    fn compare(&self, name: &str, got: &Planes) {
        let tolerance = &self.about["tensors"][name]["tolerance"];
        let [abs, rel] = ["abs", "rel"].map(|key| tolerance[key].as_f64().unwrap());
        let want = self.planes(name);
        assert_eq!((got.width(), got.height()), (want.width(), want.height()), "{name}");
        for (index, (&got, &want)) in got.data().iter().zip(want.data()).enumerate() {
            let (got, want) = (f64::from(got), f64::from(want));
            assert!((got - want).abs() <= abs + rel * want.abs(), "{name}[{index}] is {got}, not {want}");
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn options(lr: &Planes, want: &Planes, guidance: f64) -> RestoreOptions {
    assert_eq!(want.width() % lr.width(), 0);
    RestoreOptions {
        size: TargetSize::Width(want.width()),
        color_fix: Some(ColorFix::None),
        guidance: guidance as f32,
        ..RestoreOptions::default()
    }
}

/// The case whose picture a guided one takes: eps_neg + guidance * (eps_pos - eps_neg) is its eps.
fn plain_case(reference: &Reference, guided: &str, guidance: f32) -> String {
    let [eps, negative] = ["eps", "eps_neg"].map(|step| reference.values(&format!("{guided}.{step}")));
    let is_plain = |case: &String| {
        let positive = reference.values(&format!("{case}.eps_pos"));
        let guided = |(positive, negative): (&f32, &f32)| negative + guidance * (positive - negative);
        positive.len() == eps.len()
            && positive.iter().zip(&negative).map(guided).zip(&eps).all(|(got, eps)| (got - eps).abs() < 2e-2)
    };
    cases(reference, ".eps_pos").into_iter().find(is_plain).expect("the plain case of a guided one")
}

/// Names that end in `suffix`, without it.
fn cases(reference: &Reference, suffix: &str) -> Vec<String> {
    let tensors = reference.about["tensors"].as_object().unwrap();
    tensors.keys().filter_map(|name| name.strip_suffix(suffix)).map(str::to_owned).collect()
}

#[test]
fn fixtures_pipeline_latent_models_restore_to_the_reference() {
    let mut count = 0;
    for reference in Reference::all().iter().filter(|reference| reference.about["params"]["vae"].is_string())
    {
        let params = &reference.about["params"];
        let square = |name: &str| params[name].as_f64().unwrap().powi(2);
        let description = json!({
            "family": "latent", "timestep": params["timestep"], "alpha_bar": square("a"), "beta_bar": square("s"),
            "scaling_factor": params["scaling_factor"],
        });
        let folder = tempfile::tempdir().unwrap();
        let restorer = reference.model(folder.path(), &description);
        for case in cases(reference, ".output") {
            let guided = reference.has(&format!("{case}.eps_neg"));
            let guidance = if guided { params["cfg_scale"].as_f64().unwrap() } else { 1.0 };
            let picture = if guided { plain_case(reference, &case, guidance as f32) } else { case.clone() };
            let lr = reference.planes(&format!("{picture}.lr"));
            let name = format!("{case}.output");
            let options = options(&lr, &reference.planes(&name), guidance);
            let result = restore(&restorer, &Picture::from_color(lr), &options);
            reference.compare(&name, &result.picture.color);
            count += 1;
        }
    }
    assert!(count > 0, "no reference of a latent model");
}

#[test]
fn fixtures_pipeline_pixel_models_restore_to_the_reference() {
    let mut count = 0;
    for reference in Reference::all().iter().filter(|reference| !reference.about["params"]["vae"].is_string())
    {
        let params = &reference.about["params"];
        for (output, suffix) in [("direct", ".direct"), ("residual", ".residual")] {
            let description =
                json!({ "family": "pix", "timestep": params["timestep"], "pix": { "output": output } });
            let folder = tempfile::tempdir().unwrap();
            let restorer = reference.model(folder.path(), &description);
            for case in cases(reference, suffix) {
                let picture = case.split('.').next().unwrap();
                let lr = reference.planes(&format!("{picture}.lr"));
                let guided = case.ends_with("padcfg");
                let guidance = if guided { params["padcfg_w"].as_f64().unwrap() } else { 1.0 };
                let name = format!("{case}{suffix}");
                let options = options(&lr, &reference.planes(&name), guidance);
                let result = restore(&restorer, &Picture::from_color(lr), &options);
                reference.compare(&name, &result.picture.color);
                count += 1;
            }
        }
    }
    assert!(count > 0, "no reference of a pixel model");
}
