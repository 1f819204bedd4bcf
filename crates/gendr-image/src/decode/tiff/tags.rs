//! What a TIFF file's tags say besides the pixels.

use std::borrow::Cow;

use crate::{
    Density, DensityUnit, Notice,
    decode::Decoded,
    exif::{self, Entry, Exif, tag},
    iptc,
    orientation::Orientation,
};

const PHOTOMETRIC: u16 = 0x0106;
const RESOLUTION_X: u16 = 0x011a;
const RESOLUTION_Y: u16 = 0x011b;
const RESOLUTION_UNIT: u16 = 0x0128;
pub(crate) const XMP: u16 = 0x02bc;
pub(crate) const IPTC: u16 = 0x83bb;
const PHOTOSHOP: u16 = 0x8649;
pub(crate) const ICC: u16 = 0x8773;

/// Tags that say how the pixels of this very file are stored.
const STRUCTURE: [(u16, u16); 10] = [
    (0x00fe, 0x0103),
    (0x0106, 0x010a),
    (0x0111, 0x0111),
    (0x0115, 0x0119),
    (0x011c, 0x011c),
    (0x0129, 0x0129),
    (0x013d, 0x0145),
    (0x0152, 0x015b),
    (0x0200, 0x0214),
    (0xc660, 0xc660),
];

/// Tags that describe the picture, kept with EXIF.
const DESCRIPTION: [(u16, u16); 8] = [
    (0x010d, 0x0110),
    (0x011d, 0x011d),
    (0x0131, 0x0132),
    (0x013b, 0x013c),
    (0x4746, 0x4749),
    (0x8298, 0x8298),
    (0x9c9b, 0x9c9f),
    (0xc4a5, 0xc4a5),
];

/// Fills in metadata, orientation and notices from the first directory of the file.
pub(super) fn read(bytes: &[u8], decoded: &mut Decoded) {
    let Some(mut exif) = Exif::read(bytes) else {
        decoded.notices.push(Notice::dropped("the metadata of a BigTIFF file were dropped"));
        return;
    };
    let order = exif.order;
    let metadata = &mut decoded.metadata;
    let mut take = |tag| exif.main.remove(tag);
    metadata.icc = take(ICC).map(|entry| entry.value);
    metadata.xmp = take(XMP).map(|entry| entry.value);
    metadata.iptc = take(IPTC).map(|entry| entry.value);
    if let Some(resources) = take(PHOTOSHOP) {
        metadata.iptc = metadata.iptc.take().or_else(|| iptc::from_resources(&resources.value));
    }
    let orientation = take(tag::ORIENTATION).and_then(|entry| entry.number(order)).unwrap_or(1);
    decoded.orientation = Some(Orientation::from_exif(orientation as u16));
    let unit = match take(RESOLUTION_UNIT).and_then(|entry| entry.number(order)) {
        Some(1) => DensityUnit::Ratio,
        Some(3) => DensityUnit::Centimetre,
        _ => DensityUnit::Inch,
    };
    let mut resolution = |tag| take(tag).and_then(|entry| entry.rational(order)).filter(|&value| value > 0.0);
    metadata.density = (resolution(RESOLUTION_X).zip(resolution(RESOLUTION_Y)))
        .filter(|(x, y)| unit != DensityUnit::Ratio || x != y)
        .map(|(x, y)| Density { x, y, unit });

    exif.main.0.retain(|entry| !among(entry, &STRUCTURE));
    let unknown = exif.main.0.extract_if(.., |entry| !among(entry, &DESCRIPTION));
    let unknown: Vec<String> = unknown.map(|entry| entry.tag.to_string()).collect();
    if !unknown.is_empty() {
        decoded.notices.push(Notice::dropped(format!("TIFF tags were dropped: {}", unknown.join(", "))));
    }
    if !exif.is_empty() {
        metadata.exif = Some(exif.to_bytes());
    }
}

/// The decoder knows no palettes. A file that has one is changed to say that its indices are grey, which they then come
/// out as; returns whether it was.
pub(super) fn unname_palette(bytes: &mut Cow<'_, [u8]>) -> bool {
    const PALETTE: u32 = 3;
    let has_palette = exif::number(bytes, PHOTOMETRIC) == Some(PALETTE);
    if has_palette {
        exif::set_number(bytes.to_mut(), PHOTOMETRIC, 1);
    }
    has_palette
}

fn among(entry: &Entry, ranges: &[(u16, u16)]) -> bool {
    ranges.iter().any(|&(first, last)| (first..=last).contains(&entry.tag))
}
