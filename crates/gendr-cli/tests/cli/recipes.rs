//! Recipes: written, printed, followed.

use std::{fs, path::Path};

use serde_json::Value;
use snapbox::cmd::{Command, OutputAssert, cargo_bin};

use crate::pictures::{waves, write};

fn gendr(root: &Path, arguments: &str) -> OutputAssert {
    Command::new(cargo_bin!("gendr")).current_dir(root).args(arguments.split(' ')).assert()
}

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("a.png"), waves(90, 61, 0.0, 0.1));
    root
}

fn recipe(root: &Path, name: &str) -> Value {
    let assert = gendr(root, &format!("recipe {name} --json")).success();
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

#[test]
fn a_recipe_is_in_every_format_and_leads_to_the_same_file() {
    let root = folder();
    let unusual = "--scale 2.5 --fidelity 0.3 --color-fix wavelet --tile 64 --overlap 16 --seed 7";
    for name in ["a.png", "a.jpg", "a.webp", "a.tif"] {
        gendr(root.path(), &format!("restore a.png -o made_{name} {unusual}")).success();
        let recipe = recipe(root.path(), &format!("made_{name}"));
        assert_eq!(recipe["size"]["scale"], 2.5);
        assert_eq!((&recipe["fidelity"], &recipe["seed"]), (&0.3.into(), &7.into()));
        assert_eq!((&recipe["color_fix"], &recipe["side"]), (&"wavelet".into(), &64.into()));
        assert_eq!((&recipe["model"]["name"], &recipe["device"]), (&"gendr-tiny".into(), &"cpu".into()));
        gendr(root.path(), &format!("restore a.png --like made_{name} -o again_{name} --threads 1"))
            .success();
        let [made, again] =
            ["made", "again"].map(|which| fs::read(root.path().join(format!("{which}_{name}"))).unwrap());
        assert!(made == again, "{name}");
    }
}

#[test]
fn names_and_formats_follow_the_recipe_too() {
    let root = folder();
    gendr(root.path(), "restore a.png --width 100 --format jpeg --quality 60 -o made.jpg").success();
    gendr(root.path(), "restore a.png --like made.jpg").success();
    let [made, again] = ["made.jpg", "a_restored.jpg"].map(|name| fs::read(root.path().join(name)).unwrap());
    assert!(made == again);
}

#[test]
fn a_recipe_holds_no_time_path_or_threads() {
    let root = folder();
    gendr(root.path(), "restore a.png -o one.png --threads 1").success();
    gendr(root.path(), "restore a.png -o two.png --threads 2").success();
    let [one, two] = ["one.png", "two.png"].map(|name| recipe(root.path(), name));
    assert_eq!(one, two);
    let mut keys: Vec<&str> = one.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "color_fix",
            "device",
            "fidelity",
            "file",
            "guidance",
            "model",
            "program",
            "seed",
            "size",
            "tiles",
            "version",
        ]
    );
}

#[test]
fn without_a_recipe_it_is_said() {
    let root = folder();
    gendr(root.path(), "restore a.png -o bare.png --strip").success();
    let cases = [("recipe bare.png", 1), ("recipe a.png", 1), ("restore a.png --like bare.png -o x.png", 2)];
    for (arguments, status) in cases {
        let assert = gendr(root.path(), arguments).code(status);
        let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(said.starts_with("error: no recipe in this picture: "), "{said}");
    }
    assert!(!root.path().join("x.png").exists());
}

#[test]
fn another_model_and_other_options_do_not_go_with_a_recipe() {
    let root = folder();
    gendr(root.path(), "restore a.png -o made.png").success();
    gendr(root.path(), "restore a.png --like made.png --fidelity 0.5 -o x.png").code(2);
    gendr(root.path(), "model convert gendr-tiny -o other.safetensors --precision bf16").success();
    let assert = gendr(root.path(), "restore a.png --like made.png -m other.safetensors -o x.png").code(2);
    let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(said.starts_with("error: the model is not the one of the recipe, gendr-tiny\nhint: "), "{said}");
    // The same model as a folder is the same model.
    gendr(root.path(), "model convert gendr-tiny -o folder --precision f16").success();
    gendr(root.path(), "restore a.png --like made.png -m folder -o x.png").success();
    let [made, again] = ["made.png", "x.png"].map(|name| fs::read(root.path().join(name)).unwrap());
    assert!(made == again);
}

#[test]
fn a_coarser_precision_is_in_the_recipe_or_in_a_warning() {
    let root = folder();
    gendr(root.path(), "restore a.png -o exact.png").success();
    let made = gendr(root.path(), "restore a.png -o made.png --precision bf16").success();
    let said = String::from_utf8_lossy(&made.get_output().stderr).into_owned();
    let precision = recipe(root.path(), "made.png")["precision"].clone();
    if said.contains("no instructions for bf16") {
        assert!(precision.is_null());
        let [exact, made] = ["exact.png", "made.png"].map(|name| fs::read(root.path().join(name)).unwrap());
        assert!(exact == made);
    } else {
        assert_eq!(precision, "bf16");
        let other = gendr(root.path(), "restore a.png --like made.png -o again.png").code(2);
        assert!(String::from_utf8_lossy(&other.get_output().stderr).contains("computed in bf16"));
        gendr(root.path(), "restore a.png --like made.png -o again.png --precision bf16").success();
        let [made, again] = ["made.png", "again.png"].map(|name| fs::read(root.path().join(name)).unwrap());
        assert!(made == again);
    }
}
