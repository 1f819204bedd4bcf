//! The segments of a JPEG file.

use crate::{Error, Result};

/// Second bytes of markers.
pub(crate) mod marker {
    pub(crate) const APP0: u8 = 0xe0;
    pub(crate) const APP1: u8 = 0xe1;
    pub(crate) const APP2: u8 = 0xe2;
    pub(crate) const APP13: u8 = 0xed;
    pub(crate) const APP14: u8 = 0xee;
    pub(crate) const COMMENT: u8 = 0xfe;
    pub(crate) const QUANTISATION: u8 = 0xdb;
    pub(super) const START_OF_SCAN: u8 = 0xda;
    pub(super) const END_OF_IMAGE: u8 = 0xd9;
}

pub(crate) const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
pub(crate) const EXTENDED_XMP: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
/// Bytes of the name of an extension of XMP.
pub(crate) const EXTENSION_NAME: usize = 32;
pub(crate) const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";
pub(crate) const ICC: &[u8] = b"ICC_PROFILE\0";

/// The segments up to the end of the image.
pub(crate) struct Segments<'a> {
    list: Vec<(u8, &'a [u8])>,
    /// Where the file goes on behind the image.
    pub(crate) end: usize,
}

/// The header of the image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) marker: u8,
    pub(crate) precision: u8,
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) components: u8,
}

impl Frame {
    pub(crate) fn is_progressive(self) -> bool {
        matches!(self.marker, 0xc2 | 0xc6)
    }
}

impl<'a> Segments<'a> {
    /// Walks over the file, scans included, to the end marker.
    ///
    /// # Errors
    /// An input error where the file ends before that marker.
    pub(crate) fn scan(bytes: &'a [u8]) -> Result<Self> {
        let mut list = Vec::new();
        let mut at = 2;
        loop {
            let (marker, next) = next_marker(bytes, at).ok_or_else(ends_early)?;
            at = next;
            match marker {
                marker::END_OF_IMAGE => return Ok(Self { list, end: at }),
                0x01 | 0xd0..=0xd8 => {}
                _ => {
                    let length = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(ends_early)?;
                    let length = usize::from(u16::from_be_bytes(*length));
                    let data = bytes.get(at + 2..at + length.max(2)).ok_or_else(ends_early)?;
                    list.push((marker, data));
                    at += length.max(2);
                    if marker == marker::START_OF_SCAN {
                        at = end_of_scan(bytes, at).ok_or_else(ends_early)?;
                    }
                }
            }
        }
    }

    /// The data of all segments with a marker.
    pub(crate) fn of(&self, marker: u8) -> impl Iterator<Item = &'a [u8]> {
        self.list.iter().filter(move |(found, _)| *found == marker).map(|(_, data)| *data)
    }

    /// The header of the image.
    pub(crate) fn frame(&self) -> Result<Frame> {
        let is_frame = |marker: u8| matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        let header = self.list.iter().find(|(marker, _)| is_frame(*marker));
        let Some(&(marker, &[precision, h0, h1, w0, w1, components, ..])) = header else {
            return Err(Error::input("the JPEG has no frame header"));
        };
        Ok(Frame {
            marker,
            precision,
            width: u16::from_be_bytes([w0, w1]),
            height: u16::from_be_bytes([h0, h1]),
            components,
        })
    }

    /// Whether Adobe's segment says how colours are stored.
    pub(crate) fn has_adobe(&self) -> bool {
        self.of(marker::APP14).any(|data| data.starts_with(b"Adobe"))
    }

    /// Quality in 1..=100 whose luma table, scaled from the standard's example as libjpeg does it, comes nearest to the
    /// file's.
    pub(crate) fn quality(&self) -> Option<u8> {
        let table = self.of(marker::QUANTISATION).find_map(luma_sum)?;
        let distance = |quality: u8| {
            let percent = if quality < 50 { 5000 / u32::from(quality) } else { 200 - 2 * u32::from(quality) };
            let scaled =
                STANDARD_LUMA.iter().map(|&entry| ((u32::from(entry) * percent + 50) / 100).clamp(1, 255));
            scaled.sum::<u32>().abs_diff(table)
        };
        (1..=100).rev().min_by_key(|&quality| distance(quality))
    }
}

/// The luma table of the standard's annex K, whose sum alone is compared.
#[rustfmt::skip]
const STANDARD_LUMA: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];

/// The sum of table 0 in a segment of quantisation tables.
fn luma_sum(mut data: &[u8]) -> Option<u32> {
    while let Some((&head, rest)) = data.split_first() {
        let wide = head >> 4 != 0;
        let (table, next) = rest.split_at_checked(if wide { 128 } else { 64 })?;
        if head & 15 == 0 {
            return Some(if wide {
                table.as_chunks().0.iter().map(|&pair| u32::from(u16::from_be_bytes(pair))).sum()
            } else {
                table.iter().map(|&entry| u32::from(entry)).sum()
            });
        }
        data = next;
    }
    None
}

/// The next marker at or behind `at`, and where its data begin. Bytes between segments are passed over.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        at += bytes[at..].iter().position(|&byte| byte != 0xff)?;
        if bytes[at] != 0 {
            return Some((bytes[at], at + 1));
        }
    }
}

/// Where the coded data that begin at `at` end: at a marker that is neither a stuffed byte nor a restart.
fn end_of_scan(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        match bytes.get(at + 1)? {
            0 | 0xd0..=0xd7 => at += 2,
            0xff => at += 1,
            _ => return Some(at),
        }
    }
}

fn ends_early() -> Error {
    Error::input("the JPEG ends early")
}
