//! EXIF blocks: read, edited where they stand, and written.
//!
//! Editing in place leaves every offset as it was, so that maker notes, which hold offsets of their own, stay valid
//! byte for byte.

pub(crate) mod density;
mod edit;
mod tree;

pub(crate) use edit::{
    main_in_place, number, orientation, remove_gps, remove_thumbnail, set_dimensions, set_number,
    set_upright, with_fields,
};
pub(crate) use tree::{Directory, Entry, Exif, FieldType, FileSource};

/// Tags by their numbers in the EXIF and TIFF specifications.
pub(crate) mod tag {
    pub(crate) const IMAGE_WIDTH: u16 = 0x0100;
    pub(crate) const IMAGE_LENGTH: u16 = 0x0101;
    pub(crate) const ORIENTATION: u16 = 0x0112;
    pub(crate) const EXIF_DIRECTORY: u16 = 0x8769;
    pub(crate) const GPS_DIRECTORY: u16 = 0x8825;
    pub(crate) const INTEROPERABILITY_DIRECTORY: u16 = 0xa005;
    pub(crate) const PIXEL_X_DIMENSION: u16 = 0xa002;
    pub(crate) const PIXEL_Y_DIMENSION: u16 = 0xa003;
    pub(crate) const THUMBNAIL_OFFSET: u16 = 0x0201;
    pub(crate) const THUMBNAIL_LENGTH: u16 = 0x0202;
}

/// Byte order of a TIFF stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    /// By the first four bytes.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'I', b'I', 42, 0, ..] => Some(Self::Little),
            [b'M', b'M', 0, 42, ..] => Some(Self::Big),
            _ => None,
        }
    }

    /// The beginning of a TIFF stream whose main directory stands at `offset`.
    pub(crate) fn header(self, offset: u32) -> [u8; 8] {
        let [a, b, c, d] = match self {
            Self::Little => *b"II*\0",
            Self::Big => *b"MM\0*",
        };
        let [e, f, g, h] = self.u32_bytes(offset);
        [a, b, c, d, e, f, g, h]
    }

    pub(crate) fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let pair = bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(*pair),
            Self::Big => u16::from_be_bytes(*pair),
        })
    }

    pub(crate) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let four = bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(*four),
            Self::Big => u32::from_be_bytes(*four),
        })
    }

    pub(crate) fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let eight = bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u64::from_le_bytes(*eight),
            Self::Big => u64::from_be_bytes(*eight),
        })
    }

    pub(crate) fn u16_bytes(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(crate) fn u32_bytes(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}
