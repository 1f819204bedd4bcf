//! The safetensors reader on sound, hostile and random files, and what the writer makes of it.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use burn::tensor::TensorData;
use bytes::Bytes;
use gendr_model::{ErrorKind, Precision, Safetensors, SafetensorsWriter};
use proptest::prelude::*;

fn file(header: &str, values: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend((0..values).map(|index| index as u8));
    file
}

fn refusal(file: Vec<u8>) -> (ErrorKind, String) {
    let error = Safetensors::parse(&Bytes::from(file)).unwrap_err();
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    (error.kind(), message)
}

#[test]
fn reads_a_sound_file() {
    let header = r#"{"__metadata__":{"format":"pt"},
        "b":{"dtype":"U8","shape":[],"data_offsets":[8,9]},
        "a.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},
        "none":{"dtype":"F32","shape":[0,3],"data_offsets":[8,8]}}"#;
    let file = Safetensors::parse(&Bytes::from(file(header, 9))).unwrap();
    assert_eq!(file.metadata()["format"], "pt");
    assert_eq!(file.tensors().keys().collect::<Vec<_>>(), ["a.weight", "b", "none"]);
    assert_eq!(file.tensors()["a.weight"].shape(), [2, 1]);
    assert_eq!(file.tensors()["a.weight"].bytes(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(file.tensors()["b"].bytes(), [8]);
    assert!(file.tensors()["none"].is_empty());
}

#[test]
fn refuses_headers_that_lie() {
    let f32 = |shape: &str, place: &str| {
        format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":{place}}}}}"#)
    };
    let two = |a: &str, b: &str| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{a}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{b}}}}}"#
        )
    };
    let cases = [
        ("wrong size", f32("[3]", "[0,8]"), 8, "tensor w "),
        ("end before start", f32("[2]", "[8,0]"), 8, "tensor w "),
        ("beyond the end", f32("[2]", "[0,8]"), 4, "tensor w "),
        ("absurd dimension", f32("[18446744073709551615,2]", "[0,8]"), 8, "tensor w "),
        ("product that overflows", f32("[4294967296,4294967296,4]", "[0,0]"), 0, "tensor w "),
        ("negative size", f32("[-1]", "[0,8]"), 8, "invalid value"),
        ("many dimensions", f32("[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "more than 8"),
        ("offsets of three", f32("[1]", "[0,4,4]"), 4, "more than 2"),
        ("bytes that belong to none", f32("[2]", "[0,8]"), 9, "1 bytes after"),
        ("overlap", two("[0,4]", "[2,6]"), 6, "tensor b at 2..6 overlaps"),
        ("same place", two("[0,4]", "[0,4]"), 4, "overlaps"),
        ("hole", two("[0,4]", "[5,9]"), 9, "tensor b at 5..9 leaves a hole"),
        ("no shape", r#"{"w":{"dtype":"F32","data_offsets":[0,4]}}"#.to_owned(), 4, "tensor w lacks"),
        ("not an object", "[1,2]".to_owned(), 0, "an object of tensors"),
        ("not JSON", "{{{{".to_owned(), 0, "header"),
        ("empty", String::new(), 0, "header"),
    ];
    for (what, header, values, expected) in cases {
        let (kind, message) = refusal(file(&header, values));
        assert_eq!(kind, ErrorKind::Input, "{what}: {message}");
        assert!(message.contains(expected), "{what}: {message}");
    }
}

#[test]
fn refuses_a_name_that_is_there_twice() {
    let entry = r#""w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#;
    let (kind, message) = refusal(file(&format!("{{{entry},{entry}}}"), 4));
    assert_eq!(kind, ErrorKind::Input);
    assert!(message.contains("tensor w is there twice"), "{message}");
}

#[test]
fn refuses_types_it_does_not_know() {
    let (kind, message) = refusal(file(r#"{"w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}"#, 4));
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(message.contains("F8_E4M3 of tensor w"), "{message}");
}

#[test]
fn refuses_absurd_header_lengths() {
    for length in [1u64 << 60, u64::MAX, 9, 1 << 40] {
        let (kind, message) = refusal(length.to_le_bytes().into_iter().chain([0; 8]).collect());
        assert_eq!(kind, ErrorKind::Input);
        assert!(message.contains(&length.to_string()), "{message}");
    }
    let mut large = (9u64 << 20).to_le_bytes().to_vec();
    large.resize(8 + (9 << 20), b' ');
    assert_eq!(refusal(large).0, ErrorKind::Limit);
}

#[test]
fn every_truncation_is_an_error() {
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let whole = file(header, 8);
    assert!(Safetensors::parse(&Bytes::from(whole.clone())).is_ok());
    for length in 0..whole.len() {
        assert_eq!(refusal(whole[..length].to_vec()).0, ErrorKind::Input);
    }
}

#[test]
fn errors_end_with_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let missing = Safetensors::open(&path).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io);
    fs::write(&path, b"").unwrap();
    let empty = Safetensors::open(&path).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::Input);
    let directory = Safetensors::open(folder.path()).unwrap_err();
    assert_eq!(directory.kind(), ErrorKind::Io);
    for (error, path) in [(missing, path.as_path()), (empty, &path), (directory, folder.path())] {
        assert!(error.to_string().ends_with(&format!(": {}", path.display())), "{error}");
    }
}

/// Writes two tensors; the values go through f32 and back.
fn write(path: &Path, precision: Precision, values: &[f32]) -> gendr_model::Result<()> {
    let shapes = vec![("z".to_owned(), vec![values.len()]), ("a".to_owned(), vec![1, 1])];
    let metadata = BTreeMap::from([("gendr".to_owned(), "{\"x\":1}".to_owned())]);
    let mut writer = SafetensorsWriter::create(path, precision, shapes, &metadata)?;
    writer.write("z", TensorData::new(values.to_vec(), [values.len()]))?;
    writer.write("a", TensorData::new(vec![0.5f32], [1, 1]))?;
    writer.finish()
}

#[test]
fn reads_back_what_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let values: Vec<f32> = (0..70_001).map(|index| (index % 200) as f32 - 100.0).collect();
    for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
        write(&path, precision, &values).unwrap();
        let file = Safetensors::open(&path).unwrap();
        assert_eq!(file.metadata()["gendr"], "{\"x\":1}");
        let tensor = &file.tensors()["z"];
        assert_eq!(tensor.element(), precision.element());
        assert_eq!(tensor.values("z").unwrap().to_vec(), values);
        assert_eq!(file.tensors()["a"].values("a").unwrap().to_vec(), [0.5]);
    }
}

#[test]
fn a_file_that_cannot_be_finished_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let error = write(&path, Precision::F16, &[1.0, 1e6]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("tensor z"), "{error}");
    write(&path, Precision::Bf16, &[1.0, 1e6]).unwrap();
    fs::remove_file(&path).unwrap();

    let shapes = vec![("a".to_owned(), vec![2])];
    let start =
        || SafetensorsWriter::create(&path, Precision::F32, shapes.clone(), &BTreeMap::new()).unwrap();
    assert_eq!(start().finish().unwrap_err().kind(), ErrorKind::Argument);
    let wrong_name = start().write("b", TensorData::new(vec![0f32; 2], [2])).unwrap_err();
    let wrong_shape = start().write("a", TensorData::new(vec![0f32; 2], [1, 2])).unwrap_err();
    assert_eq!([wrong_name.kind(), wrong_shape.kind()], [ErrorKind::Argument; 2]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A header with the parts that matter, each sound or not.
fn headers() -> impl Strategy<Value = String> {
    let size = prop_oneof![0u64..5, Just(u64::MAX), Just(1 << 62), any::<u64>()];
    let element = prop_oneof![Just("F32"), Just("F16"), Just("U8"), Just("F64"), Just("X")];
    let entry = ("[a-c]", element, prop::collection::vec(size.clone(), 0..10), size.clone(), size).prop_map(
        |(name, element, shape, start, end)| {
            format!(r#""{name}":{{"dtype":"{element}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#)
        },
    );
    prop::collection::vec(entry, 0..4).prop_map(|entries| format!("{{{}}}", entries.join(",")))
}

/// Reads everything there is; what matters is that it comes back.
fn read_whole(bytes: Vec<u8>) -> usize {
    let Ok(file) = Safetensors::parse(&Bytes::from(bytes)) else { return 0 };
    file.tensors().iter().map(|(name, tensor)| usize::from(tensor.values(name).is_ok())).sum()
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(read_whole(bytes), 0);
    }

    #[test]
    fn random_headers_never_panic(header in headers(), values in 0usize..40) {
        prop_assert!(read_whole(file(&header, values)) <= 3);
    }

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0usize..150, any::<u8>()), 1..4)) {
        let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"h":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]}}"#;
        let mut bytes = file(header, 12);
        for (place, byte) in changes {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        prop_assert!(read_whole(bytes) <= 2);
    }
}
