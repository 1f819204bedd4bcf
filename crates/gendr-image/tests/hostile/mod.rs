//! Files that mean harm: cut, changed, lying about lengths, or growing without end when unpacked.

mod chunks;
mod profiles;
mod tags;

use crate::samples::{all, folder};

/// Name and content of every file.
pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let mut samples = all();
    samples.extend(folder("jxl"));
    // A panic of the AV1 decoder ends the process; without the feature its files are refused.
    if !cfg!(feature = "avif") {
        samples.extend(folder("avif"));
    }
    let mut files: Vec<_> = samples.iter().flat_map(|(name, bytes)| damaged(name, bytes)).collect();
    files.extend(chunks::files());
    files.extend(profiles::files());
    files.extend(tags::files());
    files
}

/// A sample cut at twelve places and with bits turned in twelve.
fn damaged(name: &str, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let length = bytes.len();
    let cut = (0..12).map(|part| {
        let end = if part < 6 { length * (part + 1) / 8 } else { length.saturating_sub(part - 5) };
        (format!("{name} cut to {end}"), bytes[..end].to_vec())
    });
    // Heads, where the lengths stand, more often than bodies.
    let turned = (0..12usize).map(|turn| {
        let within = if turn < 6 { length.min(120) } else { length };
        let at = (turn * 7919 + length * 31 + name.len()) % within;
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << (turn % 8);
        (format!("{name} with a bit turned at {at}"), bytes)
    });
    cut.chain(turned).collect()
}

/// `count` zeros compressed.
pub(crate) fn packed(count: usize) -> Vec<u8> {
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 16];
    for _ in 0..count >> 16 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}
