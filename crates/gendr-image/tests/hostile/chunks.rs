//! Containers: PNG chunks, GIF blocks, WebP and JPEG headers, TIFF strips.

use super::packed;

pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let bomb = packed(1 << 30);
    let text = |keyword: &[u8], rest: &[u8]| [keyword, rest, &bomb[..]].concat();
    let mut files = vec![
        ("zTXt of a gibibyte".to_owned(), png(4, 4, &[(*b"zTXt", text(b"Comment\0", b"\0"))], &[])),
        ("iTXt of a gibibyte".to_owned(), png(4, 4, &[(*b"iTXt", text(b"Comment\0", b"\x01\0\0\0"))], &[])),
        (
            "XMP of a gibibyte".to_owned(),
            png(4, 4, &[(*b"iTXt", text(b"XML:com.adobe.xmp\0", b"\x01\0\0\0"))], &[]),
        ),
        ("iCCP of a gibibyte".to_owned(), png(4, 4, &[(*b"iCCP", text(b"icc\0", b"\0"))], &[])),
        ("IDAT of a gibibyte in a picture of 4x4".to_owned(), png(4, 4, &[], &bomb)),
        ("IDAT of a gibibyte in a picture of 4000x4000".to_owned(), png(4000, 4000, &[], &bomb)),
        ("IDAT of a gibibyte in a picture of 200000x2000".to_owned(), png(200_000, 2000, &[], &bomb)),
        ("IDAT of a gibibyte in one row".to_owned(), png(i32::MAX as u32, 1, &[], &bomb)),
        ("a palette without entries".to_owned(), png(4, 4, &[(*b"PLTE", vec![])], &[])),
        ("a profile name without end".to_owned(), png(4, 4, &[(*b"iCCP", vec![b'a'; 4000])], &[])),
        ("a tRNS longer than any palette".to_owned(), png(4, 4, &[(*b"tRNS", vec![0; 5000])], &[])),
        (
            "an acTL of 2^31 frames".to_owned(),
            png(4, 4, &[(*b"acTL", b"\x7f\xff\xff\xff\0\0\0\0".to_vec())], &[]),
        ),
        ("a cICP of unknown numbers".to_owned(), png(4, 4, &[(*b"cICP", vec![255; 4])], &[])),
        ("a cHRM of zeros".to_owned(), png(4, 4, &[(*b"cHRM", vec![0; 32]), (*b"gAMA", vec![0; 4])], &[])),
        (
            "a cHRM of huge numbers".to_owned(),
            png(4, 4, &[(*b"cHRM", vec![0x7f; 32]), (*b"gAMA", vec![0x7f; 4])], &[]),
        ),
        ("a pHYs of zeros".to_owned(), png(4, 4, &[(*b"pHYs", vec![0; 9])], &[])),
    ];
    // A hundred thousand small chunks of text.
    let many = (0..100_000u32).map(|i| (*b"tEXt", format!("key{i}\0value").into_bytes())).collect::<Vec<_>>();
    files.push(("a hundred thousand texts".to_owned(), png(4, 4, &many, &[])));
    for (name, length) in [("0", 0u32), ("2^31", 1 << 31), ("2^32-1", u32::MAX)] {
        for kind in [b"IDAT", b"tEXt", b"iCCP", b"eXIf", b"pHYs", b"IEND"] {
            let mut bytes = png(4, 4, &[], &[]);
            let at = bytes.len() - 12;
            bytes.splice(at..at, [&length.to_be_bytes()[..], kind, b"abcd"].concat());
            files.push((format!("{} of length {name}", String::from_utf8_lossy(kind)), bytes));
        }
    }
    files.extend(gifs());
    files.extend(others(&bomb));
    files
}

/// A PNG of 8-bit RGB with chunks before its data, which are made where none are given.
pub(crate) fn png(width: u32, height: u32, chunks: &[([u8; 4], Vec<u8>)], data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut append = |kind: [u8; 4], data: &[u8]| {
        let mut sum = flate2::Crc::new();
        sum.update(&kind);
        sum.update(data);
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(kind);
        bytes.extend(data);
        bytes.extend(sum.sum().to_be_bytes());
    };
    append(*b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat());
    for (kind, data) in chunks {
        append(*kind, data);
    }
    let made = packed(1 << 16);
    append(*b"IDAT", if data.is_empty() { &made } else { data });
    append(*b"IEND", &[]);
    bytes
}

fn gifs() -> Vec<(String, Vec<u8>)> {
    let header = |width: u16, height: u16| {
        [&b"GIF89a"[..], &width.to_le_bytes(), &height.to_le_bytes(), &[0x80, 0, 0, 0, 0, 0, 255, 255, 255]]
            .concat()
    };
    let frame = |x: u16, y: u16, width: u16, height: u16| {
        let mut bytes = vec![0x2c];
        bytes.extend([x, y, width, height].iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend(b"\0\x02\x02\x4c\x01\0");
        bytes
    };
    let many = (0..50_000).flat_map(|_| frame(0, 0, 1, 1)).collect::<Vec<u8>>();
    vec![
        ("a GIF of fifty thousand frames".to_owned(), [header(1, 1), many, vec![0x3b]].concat()),
        (
            "a frame outside the canvas".to_owned(),
            [header(2, 2), frame(65535, 65535, 1, 1), vec![0x3b]].concat(),
        ),
        (
            "a frame to the right of the canvas".to_owned(),
            [header(2, 2), frame(65535, 0, 1, 2), vec![0x3b]].concat(),
        ),
        (
            "a frame larger than the canvas".to_owned(),
            [header(2, 2), frame(1, 1, 65535, 65535), vec![0x3b]].concat(),
        ),
        (
            "a canvas of 65535x65535".to_owned(),
            [header(65535, 65535), frame(0, 0, 1, 1), vec![0x3b]].concat(),
        ),
        (
            "a canvas of 4000x4000 and little in it".to_owned(),
            [header(4000, 4000), frame(0, 0, 1, 1), vec![0x3b]].concat(),
        ),
        ("a GIF without frames".to_owned(), [header(2, 2), vec![0x3b]].concat()),
    ]
}

fn others(bomb: &[u8]) -> Vec<(String, Vec<u8>)> {
    let jpeg = |marker: u8, width: u16, height: u16, components: u8| {
        let mut bytes = b"\xff\xd8\xff".to_vec();
        bytes.push(marker);
        bytes.extend((8 + 3 * u16::from(components)).to_be_bytes());
        bytes.push(8);
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.push(components);
        (1..=components).for_each(|id| bytes.extend([id, 0x44, 0]));
        bytes.extend(b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\xff\xd9");
        bytes
    };
    let webp = |kind: &[u8], data: &[u8]| {
        let mut bytes = b"RIFF".to_vec();
        bytes.extend((data.len() as u32 + 12).to_le_bytes());
        bytes.extend(b"WEBP");
        bytes.extend(kind);
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
        bytes
    };
    let mut files = vec![
        ("a JPEG of 65535x65535".to_owned(), jpeg(0xc0, 65535, 65535, 3)),
        ("a progressive JPEG of 3000x3000".to_owned(), jpeg(0xc2, 3000, 3000, 3)),
        ("a JPEG of 255 components".to_owned(), jpeg(0xc0, 16, 16, 255)),
        ("a JPEG of no components".to_owned(), jpeg(0xc0, 16, 16, 0)),
        ("a lossless JPEG".to_owned(), jpeg(0xc3, 16, 16, 3)),
        (
            "a WebP canvas of 16777216 a side".to_owned(),
            webp(b"VP8X", &[0, 0, 0, 0, 255, 255, 255, 255, 255, 255]),
        ),
        ("a WebP of lossless nothing".to_owned(), webp(b"VP8L", b"\x2f\xff\xff\xff\x0f")),
        ("a WebP of lossy nothing".to_owned(), webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f")),
        ("a QOI that says more than it has".to_owned(), b"qoif\0\0\x0f\xa0\0\0\x0f\xa0\x03\0\xfd".to_vec()),
        (
            "a PAM of 2^32-1 channels".to_owned(),
            b"P7\nWIDTH 4\nHEIGHT 4\nDEPTH 4294967295\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n".to_vec(),
        ),
        ("a PGM with a maximum of 0".to_owned(), b"P5 4 4 0\naaaaaaaaaaaaaaaa".to_vec()),
        ("a PPM of endless comment".to_owned(), [&b"P6\n#"[..], &vec![b'x'; 5 << 20]].concat()),
        (
            "a TGA whose colour map is longer than the file".to_owned(),
            b"\0\x01\x01\0\0\xff\xff\x20\0\0\0\0\x04\0\x04\0\x08\0".to_vec(),
        ),
    ];
    for rows in [1u32, 64, 4000, u32::MAX] {
        files.push((
            format!("a TIFF strip of {rows} rows that unpacks to a gibibyte"),
            deflated_tiff(4000, rows, bomb),
        ));
    }
    files
}

/// A grey TIFF of 4000 rows whose strips are all the same deflated bytes.
fn deflated_tiff(width: u32, rows: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0\x08\0".to_vec();
    for (tag, kind, value) in [
        (256u16, 4u16, width),
        (257, 4, 4000),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (273, 4, 8 + 2 + 8 * 12 + 4),
        (278, 4, rows),
        (279, 4, data.len() as u32),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend(data);
    bytes
}
