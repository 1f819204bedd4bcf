//! Models that are damaged or mean harm: one line that ends with the file, and nothing written.

use std::{fs, path::Path};

use serde_json::Value;
use snapbox::cmd::{Command, cargo_bin};

use crate::pictures::{waves, write};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../gendr/models/gendr-tiny.safetensors");
const TENSOR: &str = "unet.conv_out.weight";

/// Restores with the model `name` and checks what is said.
fn refused(root: &Path, name: &str, said: &str) {
    write(&root.join("a.png"), waves(16, 16, 0.0, 0.0));
    let command = Command::new(cargo_bin!("gendr")).current_dir(root);
    let assert = command.args(["restore", "a.png", "-o", "out.png", "-m", name]).assert();
    assert.code(2).stdout_eq("").stderr_eq(format!("error: {said}: {name}\n"));
    assert!(!root.join("out.png").exists());
}

/// Changes header and values of the built-in model.
fn changed(change: impl FnOnce(&mut Value, &mut Vec<u8>)) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let file = fs::read(TINY).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let mut values = file[8 + length..].to_vec();
    change(&mut header, &mut values);
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    let parts = [length.as_slice(), header.as_bytes(), &values];
    fs::write(root.path().join("m.safetensors"), parts.concat()).unwrap();
    root
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let root = changed(|header, _| {
        let tensors = header.as_object_mut().unwrap();
        let tensor = tensors.remove(TENSOR).unwrap();
        tensors.insert("unet.more".to_owned(), tensor);
    });
    refused(
        root.path(),
        "m.safetensors",
        "tensor unet.conv_out.weight is missing, the network needs [48, 64, 3, 3] (1 more do not fit)",
    );
    let root = changed(|header, _| header[TENSOR]["shape"] = [3, 3, 64, 48].as_slice().into());
    refused(
        root.path(),
        "m.safetensors",
        "tensor unet.conv_out.weight has shape [3, 3, 64, 48], the network needs [48, 64, 3, 3]",
    );
}

/// Changes the description of the built-in model.
fn described(change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    changed(|header, _| {
        let text = header["__metadata__"]["gendr.json"].as_str().unwrap();
        let mut description: Value = serde_json::from_str(text).unwrap();
        change(&mut description);
        header["__metadata__"]["gendr.json"] = description.to_string().into();
    })
}

#[test]
fn networks_that_do_not_fit_each_other_are_refused() {
    let root = described(|description| description["pix"]["patch"] = 5.into());
    let said = "channels of the UNet's input: [..], the family pix needs 75";
    refused(root.path(), "m.safetensors", said);
    let root = described(|description| description["family"] = "latent".into());
    refused(root.path(), "m.safetensors", "the model has no configuration of its VAE");
}

#[test]
fn values_that_are_no_numbers_are_refused() {
    let root = changed(|header, values| {
        let at = header[TENSOR]["data_offsets"][0].as_u64().unwrap() as usize;
        values[at..at + 2].copy_from_slice(&[0x00, 0x7e]);
    });
    refused(root.path(), "m.safetensors", "tensor unet.conv_out.weight holds NaN or infinite values");
}

#[test]
fn files_that_end_early_or_claim_too_much_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let file = fs::read(TINY).unwrap();
    fs::write(root.path().join("half.safetensors"), &file[..file.len() / 2]).unwrap();
    refused(root.path(), "half.safetensors", "truncated safetensors file: tensor [..]");
    let claim = [&(1u64 << 60).to_le_bytes()[..], b"{}"].concat();
    fs::write(root.path().join("claim.safetensors"), claim).unwrap();
    refused(
        root.path(),
        "claim.safetensors",
        "truncated or no safetensors file: the header claims 1152921504606846976 bytes, 2 follow",
    );
}

#[test]
fn a_pickle_that_calls_the_system_is_not_executed() {
    let root = tempfile::tempdir().unwrap();
    let pickle = b"\x80\x02cposix\nsystem\nX\x0d\0\0\0touch executed\x85R.";
    fs::write(root.path().join("m.pth"), pickle).unwrap();
    let said = "pickle asks for posix.system, which is no part of a weight file: m.pth\n\
                hint: nothing was executed; if you trust the file, save its tensors alone as safetensors";
    write(&root.path().join("a.png"), waves(16, 16, 0.0, 0.0));
    let command = Command::new(cargo_bin!("gendr")).current_dir(root.path());
    let assert = command.args(["restore", "a.png", "-m", "m.pth"]).assert();
    assert.code(2).stderr_eq(format!("error: {said}\n"));
    assert!(!root.path().join("executed").exists());
}
