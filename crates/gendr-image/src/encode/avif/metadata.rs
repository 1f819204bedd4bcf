//! An AVIF file written anew with what the encoder has no place for: profile, EXIF and XMP.

use crate::{Error, Metadata, Result, decode::container::Container};

/// The primary picture's number; opacity's is the next.
const PICTURE: u16 = 1;

/// One item of the file.
struct Item {
    id: u16,
    kind: [u8; 4],
    /// What follows the empty name.
    content_type: &'static [u8],
    data: Vec<u8>,
    /// Numbers of properties, from 1.
    properties: Vec<u8>,
    /// How it refers to the primary picture.
    reference: Option<[u8; 4]>,
}

/// The same pictures, with metadata.
///
/// # Errors
/// An input error where `file` is not of the form that the encoder makes.
pub(super) fn with_metadata(file: &[u8], metadata: &Metadata) -> Result<Vec<u8>> {
    let unexpected = || Error::input("the encoder made an AVIF of an unexpected form");
    let container = Container::read(file)?;
    let parts = container.parts().ok_or_else(unexpected)?;
    let (mut items, mut properties) = (Vec::new(), Vec::new());
    for (part, id) in parts.iter().zip(PICTURE..) {
        let first = properties.len();
        properties.extend(part.properties.iter().map(|(kind, data)| boxed(kind, &[data])));
        if let Some(profile) = metadata.icc.as_ref().filter(|_| id == PICTURE) {
            // The encoder's statement of colour stays, for the matrix that it gives as well.
            properties.push(boxed(b"colr", &[b"prof", profile]));
        }
        items.push(Item {
            id,
            kind: *b"av01",
            content_type: b"",
            data: part.stream.clone(),
            properties: (first..properties.len()).map(|index| index as u8 + 1).collect(),
            reference: (id != PICTURE).then_some(*b"auxl"),
        });
    }
    let mut describe = |kind, content_type, data| {
        let id = items.len() as u16 + PICTURE;
        items.push(Item { id, kind, content_type, data, properties: Vec::new(), reference: Some(*b"cdsc") });
    };
    if let Some(exif) = &metadata.exif {
        // The offset of the TIFF stream comes first.
        describe(*b"Exif", b"", [&[0; 4], &exif[..]].concat());
    }
    if let Some(packet) = &metadata.xmp {
        describe(*b"mime", b"application/rdf+xml\0", packet.clone());
    }
    Ok(write(&items, &properties))
}

fn write(items: &[Item], properties: &[Vec<u8>]) -> Vec<u8> {
    let mut file = boxed(b"ftyp", &[b"avif", &[0; 4], b"avifmif1miafMA1A"]);
    // The places of the data follow from the length of what stands before them.
    let before = file.len() + description(items, properties, 0).len() + 8;
    file.extend(description(items, properties, before));
    let data: Vec<&[u8]> = items.iter().map(|item| &item.data[..]).collect();
    file.extend(boxed(b"mdat", &data));
    file
}

/// The `meta` box of a file whose data begin at `start`.
fn description(items: &[Item], properties: &[Vec<u8>], start: usize) -> Vec<u8> {
    let handler = boxed(b"hdlr", &[&[0; 8], b"pict", &[0; 13]]);
    let primary = boxed(b"pitm", &[&[0; 4], &PICTURE.to_be_bytes()]);
    let count = (items.len() as u16).to_be_bytes();

    // Offsets and lengths of four bytes, no base.
    let mut places = [&[0; 4][..], &[0x44, 0], &count].concat();
    let mut offset = start;
    for item in items {
        places.extend(item.id.to_be_bytes());
        places.extend([0, 0, 0, 1]);
        places.extend((offset as u32).to_be_bytes());
        places.extend((item.data.len() as u32).to_be_bytes());
        offset += item.data.len();
    }

    let mut infos = [&[0; 4][..], &count].concat();
    for item in items {
        infos.extend(boxed(
            b"infe",
            &[&[2, 0, 0, 0], &item.id.to_be_bytes(), &[0; 2], &item.kind, &[0], item.content_type],
        ));
    }

    let mut references = vec![0; 4];
    for item in items {
        if let Some(kind) = &item.reference {
            let ends = [&item.id.to_be_bytes()[..], &[0, 1], &PICTURE.to_be_bytes()].concat();
            references.extend(boxed(kind, &[&ends]));
        }
    }

    let mut associations = [&[0; 6][..], &count].concat();
    let described: Vec<&Item> = items.iter().filter(|item| !item.properties.is_empty()).collect();
    associations[6..8].copy_from_slice(&(described.len() as u16).to_be_bytes());
    for item in described {
        associations.extend(item.id.to_be_bytes());
        associations.push(item.properties.len() as u8);
        for &number in &item.properties {
            // Without its configuration no decoder can read a stream.
            let is_configuration = properties[usize::from(number) - 1][4..8] == *b"av1C";
            associations.push(number | if is_configuration { 0x80 } else { 0 });
        }
    }
    let all: Vec<&[u8]> = properties.iter().map(Vec::as_slice).collect();
    let properties = boxed(b"iprp", &[&boxed(b"ipco", &all), &boxed(b"ipma", &[&associations])]);

    let mut parts = vec![vec![0; 4], handler, primary, boxed(b"iloc", &[&places]), boxed(b"iinf", &[&infos])];
    if references.len() > 4 {
        parts.push(boxed(b"iref", &[&references]));
    }
    parts.push(properties);
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    boxed(b"meta", &parts)
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&(content.len() as u32 + 8).to_be_bytes()[..], kind, &content].concat()
}
