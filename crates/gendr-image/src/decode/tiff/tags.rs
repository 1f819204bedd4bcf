//! What a TIFF file's tags say besides the pixels.

use std::borrow::Cow;

use crate::{
    Notice,
    decode::Decoded,
    exif::{self, Entry, Exif, density, tag},
    orientation::Orientation,
    photoshop,
};

const PHOTOMETRIC: u16 = 0x0106;
pub(crate) const XMP: u16 = 0x02bc;
pub(crate) const IPTC: u16 = 0x83bb;
pub(crate) const PHOTOSHOP: u16 = 0x8649;
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

/// Fills in metadata, orientation and notices from the first directory of the file; none where it could not be read.
pub(super) fn read(exif: Option<Exif>, decoded: &mut Decoded) {
    let Some(mut exif) = exif else {
        decoded.notices.push(Notice::dropped("the damaged metadata were dropped"));
        return;
    };
    let order = exif.order;
    let metadata = &mut decoded.metadata;
    let mut take = |tag| exif.main.remove(tag);
    metadata.icc = take(ICC).map(|entry| entry.value);
    metadata.xmp = take(XMP).map(|entry| entry.value);
    metadata.iptc = take(IPTC).map(|entry| entry.value);
    if let Some(resources) = take(PHOTOSHOP) {
        let resources = photoshop::read(&resources.value);
        metadata.photoshop = resources.others;
        metadata.iptc = metadata.iptc.take().or(resources.iptc);
    }
    let orientation = take(tag::ORIENTATION).and_then(|entry| entry.number(order)).unwrap_or(1);
    decoded.orientation = Some(Orientation::from_exif(orientation as u16));
    let [x, y, unit] = [density::X, density::Y, density::UNIT].map(take);
    metadata.density = density::of(x.as_ref(), y.as_ref(), unit.as_ref(), order);

    exif.main.0.retain(|entry| !is_structure(entry.tag));
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

/// Whether a tag says how pixels are stored.
pub(crate) fn is_structure(tag: u16) -> bool {
    STRUCTURE.iter().any(|&(first, last)| (first..=last).contains(&tag))
}

fn among(entry: &Entry, ranges: &[(u16, u16)]) -> bool {
    ranges.iter().any(|&(first, last)| (first..=last).contains(&entry.tag))
}
