//! EXIF, XMP and image resources that lie.

use super::chunks::png;

pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (name, block) in exif() {
        files.push((format!("PNG: {name}"), png(8, 8, &[(*b"eXIf", block.clone())], &[])));
        files.push((format!("TIFF: {name}"), block));
    }
    for (name, packet) in packets() {
        let chunk = [b"XML:com.adobe.xmp\0\0\0\0\0", &packet[..]].concat();
        files.push((name, png(8, 8, &[(*b"iTXt", chunk)], &[])));
    }
    for (name, text) in profiles_in_text() {
        files.push((name, png(8, 8, &[(*b"tEXt", text)], &[])));
    }
    files
}

/// A directory at 8 with one field.
fn one_field(order: &[u8; 4], tag: u16, kind: u16, count: u32, value: u32, next: u32) -> Vec<u8> {
    let big = order[0] == b'M';
    let short = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    [&order[..], &long(8), &short(1), &short(tag), &short(kind), &long(count), &long(value), &long(next)]
        .concat()
}

fn exif() -> Vec<(String, Vec<u8>)> {
    let mut blocks = Vec::new();
    for order in [b"II*\0", b"MM\0*"] {
        for (tag, what) in [
            (0x8769u16, "an EXIF directory"),
            (0x8825, "a GPS directory"),
            (0x0112, "an orientation"),
            (0x0111, "strips"),
            (0x8773, "a profile"),
        ] {
            for count in [0u32, 1, 0x4000_0000, u32::MAX] {
                for value in [0u32, 8, 20, u32::MAX] {
                    let name = format!("{what} counted {count} at {value} in {}", char::from(order[0]));
                    blocks.push((name, one_field(order, tag, 4, count, value, 8)));
                }
            }
        }
        let mut thumbnail = one_field(order, 0x0201, 4, 1, 0, 8);
        thumbnail.extend([0xff; 40]);
        blocks.push(("a directory that follows itself".to_owned(), thumbnail));
    }
    let mut many = b"II*\0\x08\0\0\0\xff\xff".to_vec();
    many.extend((0..65_535u32).flat_map(|_| *b"\x0f\x01\x07\0\0\0\x10\0\x08\0\0\0"));
    blocks.push(("65535 fields of a mebibyte each".to_owned(), many));
    blocks.push(("nothing but a header".to_owned(), b"II*\0\x08\0\0\0".to_vec()));
    blocks.push((
        "a BigTIFF without end".to_owned(),
        b"II+\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
    ));
    blocks
}

fn packets() -> Vec<(String, Vec<u8>)> {
    let open = "<a:GPS".repeat(200_000);
    let spaces = " exif:GPSLatitude".repeat(100_000);
    let nested = format!("{}{}", "<rdf:Description>".repeat(100_000), "</rdf:RDF>");
    let ends = "</rdf:RDF>".repeat(300_000);
    let quotes = " tiff:Orientation=\"".repeat(100_000);
    let many = "<gendr:Recipe>x</gendr:Recipe>".repeat(50_000);
    [
        ("XMP of opened places", open),
        ("XMP of attributes without values", spaces),
        ("XMP nested deep", nested),
        ("XMP of ends", ends),
        ("XMP of quotes", quotes),
        ("XMP of recipes", format!("{many}</rdf:RDF>")),
        ("XMP of zeros", "\0".repeat(1 << 20)),
    ]
    .into_iter()
    .map(|(name, packet)| (name.to_owned(), packet.into_bytes()))
    .collect()
}

fn profiles_in_text() -> Vec<(String, Vec<u8>)> {
    let text = |kind: &str, length: &str, digits: &str| {
        format!("Raw profile type {kind}\0\n{kind}\n{length}\n{digits}\n").into_bytes()
    };
    let mut texts = Vec::new();
    for kind in ["exif", "iptc", "8bim", "xmp", "icc", "APP1"] {
        for (length, digits) in [
            ("4294967295", "00"),
            ("18446744073709551616", ""),
            ("-1", "ff"),
            ("4", "zz zz zz zz"),
            ("12", "3842494d0404000000ffffff"),
            ("8", "49492a00ffffffff"),
        ] {
            texts.push((format!("a raw profile of {kind} and length {length}"), text(kind, length, digits)));
        }
    }
    texts
}
