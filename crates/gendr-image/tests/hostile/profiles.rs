//! ICC profiles that lie.

use moxcms::ColorProfile;

use super::chunks::png;
use crate::samples::folder;

pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let mut profiles = Vec::new();
    for (name, profile) in [
        ("Display P3", ColorProfile::new_display_p3()),
        ("ProPhoto", ColorProfile::new_pro_photo_rgb()),
        ("grey", ColorProfile::new_gray_with_gamma(1.8)),
    ] {
        let whole = profile.encode().unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 24) {
            for value in [0u8, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                profiles.push((format!("{name} with {value} at {at}"), changed));
            }
            profiles.push((format!("{name} cut to {at}"), whole[..at].to_vec()));
        }
        // Counts and offsets of the table of tags.
        for word in [128, 136, 140, 148, 152] {
            let mut changed = whole.clone();
            changed[word..word + 4].fill(0xff);
            profiles.push((format!("{name} with 2^32-1 at {word}"), changed));
        }
    }
    for kind in [*b"mft1", *b"mft2", *b"mAB "] {
        for (space, channels) in [(*b"RGB ", 3u8), (*b"CMYK", 4)] {
            for grid in [0u8, 1, 2, 33, 255] {
                let name =
                    format!("{} of {channels} channels and {grid} points", String::from_utf8_lossy(&kind));
                profiles.push((name, tables(kind, space, channels, grid)));
            }
        }
    }
    let cmyk = folder("near").into_iter().find(|(name, _)| name.ends_with("cmyk.jpg")).unwrap().1;
    profiles
        .into_iter()
        .flat_map(|(name, profile)| {
            [(format!("PNG: {name}"), in_png(&profile)), (format!("CMYK: {name}"), in_jpeg(&cmyk, &profile))]
        })
        .collect()
}

/// A profile whose only table has hardly any data.
fn tables(kind: [u8; 4], space: [u8; 4], channels: u8, grid: u8) -> Vec<u8> {
    let mut table = [&kind[..], &[0; 4], &[channels, 3, grid, 0]].concat();
    table.extend([0u8; 36]);
    if kind == *b"mft2" {
        table.extend([0xff, 0xff, 0xff, 0xff]);
    }
    table.extend([0; 64]);
    let mut profile = vec![0; 128];
    profile[8] = 4;
    profile[12..16].copy_from_slice(b"prtr");
    profile[16..20].copy_from_slice(&space);
    profile[20..24].copy_from_slice(b"Lab ");
    profile[36..40].copy_from_slice(b"acsp");
    profile.extend(1u32.to_be_bytes());
    profile.extend(b"A2B0");
    profile.extend(144u32.to_be_bytes());
    profile.extend((table.len() as u32).to_be_bytes());
    profile.extend(table);
    let length = profile.len() as u32;
    profile[..4].copy_from_slice(&length.to_be_bytes());
    profile
}

fn in_png(profile: &[u8]) -> Vec<u8> {
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;
    let mut encoder = ZlibEncoder::new(b"icc\0\0".to_vec(), Compression::fast());
    encoder.write_all(profile).unwrap();
    png(8, 8, &[(*b"iCCP", encoder.finish().unwrap())], &[])
}

fn in_jpeg(jpeg: &[u8], profile: &[u8]) -> Vec<u8> {
    let mut segment = b"\xff\xe2".to_vec();
    segment.extend((profile.len().min(65_000) as u16 + 16).to_be_bytes());
    segment.extend(b"ICC_PROFILE\0\x01\x01");
    segment.extend(&profile[..profile.len().min(65_000)]);
    [&jpeg[..2], &segment, &jpeg[2..]].concat()
}
