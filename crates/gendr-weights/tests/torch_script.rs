//! TorchScript archives: tensors by name, code left alone.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

use bytes::Bytes;
use gendr_weights::parse_torch_network;

/// Written by `make_torch_script.py`.
const SCRIPT: &[u8] = include_bytes!("torch_script.pt");

#[test]
fn modules_are_read_as_their_tensors() {
    let tensors = parse_torch_network(&Bytes::from_static(SCRIPT)).unwrap();
    let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["layers.0.conv.bias", "layers.0.conv.weight", "layers.0.steps", "scale"]);
    let weight = &tensors["layers.0.conv.weight"];
    assert_eq!(weight.shape(), [3, 2, 1, 1]);
    assert_eq!(weight.values("weight").unwrap()[..], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(tensors["scale"].values("scale").unwrap()[..], [0.5, -2.0]);
}

#[test]
fn objects_of_other_classes_are_refused() {
    // c__main__\nEvil\n)\x81. : an object of a class of the program that wrote the file.
    for (module, wanted) in [("__main__", "asks for __main__.Evil"), ("collections", "OrderedDict")] {
        let name = if module == "__main__" { "Evil" } else { "OrderedDict" };
        let pickle = format!("\u{2}c{module}\n{name}\n)");
        let mut file = vec![0x80];
        file.extend(pickle.as_bytes());
        file.extend([0x81, b'.']);
        let error = parse_torch_network(&Bytes::from(file)).unwrap_err().to_string();
        assert!(error.contains(wanted) || error.contains("no part of a weight file"), "{error}");
    }
}
