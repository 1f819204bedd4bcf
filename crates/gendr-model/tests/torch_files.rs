//! The reader of torch files: real ones, hostile ones, random ones. Nothing in them is ever executed.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use gendr_model::{ElementType, ErrorKind, Weights};
use proptest::prelude::*;

/// Both were written by `torch/make_torch_files.py`.
const ARCHIVE: &[u8] = include_bytes!("torch/archive.pth");
const OLD: &[u8] = include_bytes!("torch/old.pth");

fn parse(file: &[u8]) -> gendr_model::Result<Weights> {
    Weights::parse_torch(&Bytes::copy_from_slice(file))
}

fn refusal(file: &[u8]) -> (ErrorKind, String) {
    let error = parse(file).unwrap_err();
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    (error.kind(), message)
}

fn values(weights: &Weights, name: &str) -> Vec<f32> {
    weights.values(name).unwrap().try_to_vec::<f32>().unwrap()
}

#[test]
fn reads_what_torch_wrote() {
    for file in [ARCHIVE, OLD] {
        // The network is kept under `params_ema`; what else the checkpoint holds is left out.
        let weights = parse(file).unwrap();
        let shapes: BTreeMap<_, _> =
            weights.tensors().iter().map(|(name, tensor)| (name.as_str(), tensor.shape())).collect();
        let expected: BTreeMap<&str, &[usize]> = BTreeMap::from([
            ("conv.weight", [2, 3, 2, 2].as_slice()),
            ("conv.bias", &[2]),
            ("half", &[2, 3]),
            ("brain", &[3, 2]),
            ("transposed", &[3, 2]),
            ("view", &[4]),
            ("steps", &[]),
        ]);
        assert_eq!(shapes, expected);
        assert_eq!(values(&weights, "conv.weight"), (0..24).map(|v| v as f32).collect::<Vec<_>>());
        assert_eq!(values(&weights, "conv.bias"), [0.5, -1.5]);
        assert_eq!(values(&weights, "half"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(values(&weights, "brain"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(values(&weights, "transposed"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(values(&weights, "view"), [20.0, 21.0, 22.0, 23.0]);
        assert_eq!(weights.tensors()["steps"].element(), ElementType::I64);
        assert_eq!(weights.tensors()["half"].element(), ElementType::F16);
    }
}

#[test]
fn contiguous_tensors_lie_in_the_file() {
    let file = Bytes::from_static(ARCHIVE);
    let weights = Weights::parse_torch(&file).unwrap();
    let range = file.as_ptr_range();
    assert!(range.contains(&weights.tensors()["view"].bytes().as_ptr()));
}

/// A member of a zip archive under construction.
struct Member<'a> {
    name: &'a str,
    bytes: &'a [u8],
    method: u16,
    size: u32,
}

impl<'a> Member<'a> {
    fn stored(name: &'a str, bytes: &'a [u8]) -> Self {
        Self { name, bytes, method: 0, size: bytes.len() as u32 }
    }
}

fn zip(members: &[Member<'_>]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let mut common = Vec::new();
        for number in [20u16, 0, member.method, 0, 0] {
            common.extend(number.to_le_bytes());
        }
        for number in [0u32, member.bytes.len() as u32, member.size] {
            common.extend(number.to_le_bytes());
        }
        common.extend((member.name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(member.name.as_bytes());
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(member.name.as_bytes());
        file.extend(member.bytes);
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([members.len() as u16; 2].map(u16::to_le_bytes).concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

fn archive(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    zip(&[Member::stored("m/data.pkl", pickle), Member::stored("m/data/0", storage)])
}

/// A pickle of {"w": tensor} over storage "0" of `count` floats.
fn tensor_pickle(count: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK".to_vec();
    pickle.extend([count, b't', b'Q', b'K', offset]);
    for sizes in [shape, strides] {
        pickle.push(b'(');
        pickle.extend(sizes.iter().flat_map(|&size| [b'K', size]));
        pickle.push(b't');
    }
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    pickle
}

#[test]
fn the_archives_of_these_tests_are_sound() {
    let weights = parse(&archive(&tensor_pickle(2, 0, &[2], &[1]), &[0, 0, 128, 63, 0, 0, 0, 64])).unwrap();
    assert_eq!(values(&weights, "w"), [1.0, 2.0]);
}

#[test]
fn a_call_of_the_system_is_refused_by_name() {
    let witness = std::env::temp_dir().join(format!("gendr-pickle-{}", std::process::id()));
    let command = format!("touch {}", witness.display());
    let size = (command.len() as u32).to_le_bytes();
    let short = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
    let pickles: [(&str, Vec<u8>); 6] = [
        ("os.system", [b"\x80\x02cos\nsystem\nX", &size[..], command.as_bytes(), b"\x85R."].concat()),
        ("posix.system", [b"\x80\x02cposix\nsystem\nX", &size[..], command.as_bytes(), b"\x85R."].concat()),
        ("os.system", [b"(S'".as_slice(), command.as_bytes(), b"'\nios\nsystem\n."].concat()),
        (
            "os.system",
            [b"\x80\x04".as_slice(), &short("os"), &short("system"), b"\x93", &short(&command), b"\x85R."]
                .concat(),
        ),
        ("builtins.eval", [b"\x80\x02cbuiltins\neval\nX", &size[..], command.as_bytes(), b"\x85R."].concat()),
        ("torch.load", b"\x80\x02ctorch\nload\n.".to_vec()),
    ];
    for (name, pickle) in pickles {
        for file in [pickle.clone(), archive(&pickle, &[])] {
            let (kind, message) = refusal(&file);
            // The oldest way to write a string is not understood at all, and that comes first.
            let expected = if pickle.starts_with(b"(S") { "instruction 0x53" } else { name };
            assert!(message.contains(expected), "{message}");
            assert!(matches!(kind, ErrorKind::Input | ErrorKind::Unsupported));
        }
    }
    assert!(!witness.exists());
}

#[test]
fn a_call_inside_an_instance_is_refused_by_name() {
    let (kind, message) = refusal(b"\x80\x02(ios\nsystem\n.");
    assert_eq!(kind, ErrorKind::Input);
    assert!(message.contains("os.system"), "{message}");
}

#[test]
fn tensors_stay_inside_their_storage() {
    let storage = [0; 16];
    let cases: [(&[u8], &[u8], u8, &str); 6] = [
        (&[5], &[1], 0, "beyond its storage"),
        (&[4], &[1], 1, "beyond its storage"),
        (&[2, 2], &[3, 1], 0, "beyond its storage"),
        (&[255, 255, 255, 255], &[0, 0, 0, 0], 0, "more memory than the file"),
        (&[2], &[1, 1], 0, "strides"),
        (&[1, 1, 1, 1, 1, 1, 1, 1, 1], &[0; 9], 0, "at most 8"),
    ];
    for (shape, strides, offset, expected) in cases {
        let (_, message) = refusal(&archive(&tensor_pickle(4, offset, shape, strides), &storage));
        assert!(message.contains(expected), "{shape:?}: {message}");
    }
    let (_, message) = refusal(&archive(&tensor_pickle(5, 0, &[1], &[1]), &storage));
    assert!(message.contains("tensor w: its storage 0 has 16 bytes"), "{message}");
    let no_storage = zip(&[Member::stored("m/data.pkl", &tensor_pickle(4, 0, &[4], &[1]))]);
    assert!(refusal(&no_storage).1.contains("storage 0 is missing"));
}

#[test]
fn nothing_is_ever_inflated() {
    let bomb = Member { name: "m/data.pkl", bytes: &[0; 10], method: 8, size: u32::MAX - 1 };
    let (kind, message) = refusal(&zip(&[bomb]));
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(message.contains("m/data.pkl is compressed"), "{message}");
    let liar = Member { name: "m/data.pkl", bytes: &[0; 10], method: 0, size: 1 << 30 };
    assert_eq!(refusal(&zip(&[liar])).0, ErrorKind::Unsupported);
    let twice = [Member::stored("m/data.pkl", b"N."), Member::stored("m/data.pkl", b"N.")];
    assert!(refusal(&zip(&twice)).1.contains("there twice"));
    assert!(refusal(&zip(&[Member::stored("a", b"")])).1.contains("without data.pkl"));
}

#[test]
fn deep_cyclic_and_endless_pickles_are_limited() {
    // A list that holds itself, lists in lists, and dictionaries doubled sixteen times.
    let cycle = b"\x80\x02]q\0h\0a.".to_vec();
    let deep = [vec![b']'; 100_000], vec![b'a'; 99_999], vec![b'.']].concat();
    let mut doubled = b"\x80\x02]q\0".to_vec();
    for level in 0..15u8 {
        doubled.extend([b']', b'q', level + 1]);
        doubled.extend([[b'h', level, b'a']; 4].concat());
    }
    doubled.push(b'.');
    let endless = vec![b'N'; (1 << 20) + 1];
    for pickle in [cycle, deep, doubled, endless] {
        assert_eq!(refusal(&archive(&pickle, &[])).0, ErrorKind::Limit);
    }
}

#[test]
fn every_truncation_is_an_error() {
    for file in [ARCHIVE, OLD] {
        for length in 0..file.len() {
            let (_, message) = refusal(&file[..length]);
            assert!(!message.is_empty());
        }
    }
}

#[test]
fn other_files_are_no_torch_files() {
    for file in [b"".as_slice(), b"\x89PNG\r\n", b"hello", b"PK\x03\x04", b"\x80\x02N."] {
        assert!(parse(file).is_err(), "{file:?}");
    }
    let error = Weights::open(Path::new("model.gguf")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().ends_with("model.gguf"), "{error}");
}

/// Reads everything there is; what matters is that it comes back.
fn read_whole(file: &[u8]) -> usize {
    let Ok(weights) = parse(file) else { return 0 };
    weights.tensors().keys().filter(|name| weights.values(name).is_ok()).count()
}

/// Instructions that mean something, and any byte.
fn pickle() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(b"().]}NRQtaseu012bK\x85\x86\x87\x88\x94h\0q\0".to_vec())
            .prop_map(|byte| vec![byte]),
        Just(b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec()),
        Just(b"ctorch._utils\n_rebuild_parameter\n".to_vec()),
        Just(b"ccollections\nOrderedDict\n".to_vec()),
        Just(b"ctorch\nFloatStorage\n".to_vec()),
        Just(b"ctorch\nSize\n".to_vec()),
        Just(b"X\x07\0\0\0storage".to_vec()),
        Just(b"X\x01\0\0\x000".to_vec()),
        any::<u8>().prop_map(|byte| vec![b'K', byte]),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn changed(file: &[u8], changes: &[(usize, u8)]) -> Vec<u8> {
    let mut file = file.to_vec();
    for &(place, byte) in changes {
        let place = place % file.len();
        file[place] = byte;
    }
    file
}

proptest! {
    #[test]
    fn random_bytes_never_panic(file in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(read_whole(&file), 0);
        prop_assert_eq!(read_whole(&[b"PK\x03\x04", &file[..], b"PK\x05\x06", &file[..]].concat()), 0);
    }

    #[test]
    fn random_pickles_never_panic(pickle in pickle(), ended in any::<bool>()) {
        let pickle = if ended { [&pickle[..], b"."].concat() } else { pickle };
        prop_assert!(read_whole(&archive(&pickle, &[0; 64])) <= 60);
    }

    #[test]
    fn random_tensors_never_panic(
        count in any::<u8>(),
        offset in 0u8..20,
        sizes in prop::collection::vec((any::<u8>(), any::<u8>()), 0..9),
    ) {
        let (shape, strides): (Vec<_>, Vec<_>) = sizes.into_iter().unzip();
        prop_assert!(read_whole(&archive(&tensor_pickle(count, offset, &shape, &strides), &[0; 64])) <= 1);
    }

    #[test]
    fn changed_files_never_panic(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        prop_assert!(read_whole(&changed(ARCHIVE, &changes)) <= 10);
        prop_assert!(read_whole(&changed(OLD, &changes)) <= 10);
    }
}
