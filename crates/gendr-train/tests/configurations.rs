//! The configurations of the repository can be read, each by its stage.

use gendr_train::{
    base::BaseConfig, distill::DistillConfig, pix::PixStageConfig, read_config, regress::RegressConfig,
    vae::VaeConfig,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            found.push(path);
        }
    }
}

#[test]
fn every_configuration_is_one_of_its_stage() {
    let mut found = Vec::new();
    files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs")), &mut found);
    assert!(!found.is_empty());
    for path in found {
        if path.parent().is_some_and(|folder| folder.ends_with("search")) {
            continue;
        }
        let read = match path.file_stem().unwrap_or_default().to_string_lossy().as_ref() {
            "vae" => read_config::<VaeConfig>(&path).map(drop),
            "base" => read_config::<BaseConfig>(&path).map(drop),
            "distill" | "refine" => read_config::<DistillConfig>(&path).map(drop),
            "adc" | "pix" => read_config::<PixStageConfig>(&path).map(drop),
            _ => read_config::<RegressConfig>(&path).map(drop),
        };
        assert!(read.is_ok(), "{}: {read:?}", path.display());
    }
}

#[test]
fn every_shape_of_the_search_fits_the_configuration_of_the_built_in_model() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/gendr-tiny"));
    let read = |path: &Path| -> toml::Table {
        fs::read_to_string(path).expect("readable").parse().expect("well-formed")
    };
    let mut shapes = Vec::new();
    files(&folder.join("search"), &mut shapes);
    assert!(shapes.len() >= 3);
    let work = tempfile::tempdir().expect("a folder");
    for shape in shapes {
        let mut config = read(&folder.join("regress.toml"));
        config.insert("model".to_owned(), read(&shape).remove("model").expect("a model"));
        let path = work.path().join("regress.toml");
        fs::write(&path, config.to_string()).expect("written");
        let read = read_config::<RegressConfig>(&path);
        assert!(read.is_ok(), "{}: {read:?}", shape.display());
    }
}
