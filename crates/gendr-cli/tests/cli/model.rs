//! `gendr model`.

use std::{fs, path::Path};

use serde_json::Value;
use snapbox::cmd::{Command, OutputAssert, cargo_bin};

use crate::pictures::{waves, write};

fn model(root: &Path, arguments: &[&str]) -> OutputAssert {
    Command::new(cargo_bin!("gendr")).current_dir(root).arg("model").args(arguments).assert()
}

#[test]
fn the_built_in_model_describes_itself() {
    let root = tempfile::tempdir().unwrap();
    model(root.path(), &["list"]).success().stdout_eq(
        "gendr-tiny      built in, family pix, [..] parameters\n\
         sd21-vae16      for `gendr model init`, family latent, 923,246,499 parameters\n\
         sd21-vae16-adc  for `gendr model init`, family adc, [..] parameters\n\
         sd21-pix        for `gendr model init`, family pix, [..] parameters\n",
    );
    let assert = model(root.path(), &["info", "gendr-tiny", "--json"]).success();
    let info: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!((info["family"].as_str(), info["scale"].as_u64()), (Some("pix"), Some(4)));
    assert!(info["file_bytes"].as_u64().unwrap() <= 8 << 20);
    assert!(info["multiply_adds_512"].as_u64().unwrap() > 0);
}

#[test]
fn a_copy_in_another_form_restores_alike_and_a_changed_one_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("a.png"), waves(24, 20, 0.0, 0.1));
    model(root.path(), &["convert", "gendr-tiny", "-o", "folder"]).success();
    model(root.path(), &["verify", "folder"])
        .success()
        .stdout_eq("[..] tensors whole and finite, [..] hashes right\n");
    for (name, model) in [("a1.png", "gendr-tiny"), ("a2.png", "folder")] {
        let arguments = ["restore", "a.png", "-o", name, "-m", model, "--strip"];
        Command::new(cargo_bin!("gendr")).current_dir(root.path()).args(arguments).assert().success();
    }
    let [a, b] = ["a1.png", "a2.png"].map(|name| fs::read(root.path().join(name)).unwrap());
    assert!(a == b);

    let weights = root.path().join("folder/unet/diffusion_pytorch_model.safetensors");
    let mut file = fs::read(&weights).unwrap();
    let last = file.len() - 1;
    file[last] ^= 1;
    fs::write(&weights, file).unwrap();
    model(root.path(), &["verify", "folder"]).code(2).stderr_eq("error: [..]BLAKE3[..]safetensors\n...");
}

#[test]
fn a_model_between_two_is_one_of_their_shape() {
    let root = tempfile::tempdir().unwrap();
    let arguments = ["interpolate", "gendr-tiny", "gendr-tiny", "--share", "0.4", "-o", "same.safetensors"];
    model(root.path(), &[&arguments[..], &["--precision", "f16"]].concat()).success();
    model(root.path(), &["verify", "same.safetensors"]).success();
    let refused =
        ["interpolate", "gendr-tiny", "same.safetensors", "--share", "2", "-o", "other.safetensors"];
    model(root.path(), &refused).code(2).stderr_eq("error: [..]share of 2[..]\n...");
    assert!(!root.path().join("other.safetensors").exists());
}
