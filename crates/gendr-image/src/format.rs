//! File formats: told by content when reading, by name or choice when writing.

use crate::{Error, Result};

/// What a picture file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP, lossy or lossless.
    Webp,
    /// TIFF.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// GIF.
    Gif,
    /// Portable any map: PBM, PGM, PPM, PAM.
    Pnm,
    /// Quite OK Image.
    Qoi,
    /// Truevision TGA.
    Tga,
    /// JPEG XL, with the cargo feature `jxl`.
    Jxl,
    /// AVIF, with the cargo feature `avif`.
    Avif,
}

/// A format that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputFormat {
    /// PNG, 8 or 16 bits.
    Png,
    /// JPEG without chroma subsampling, 8 bits.
    Jpeg,
    /// WebP, 8 bits: lossless, or with the cargo feature `webp-lossy` lossy where a quality is asked for.
    Webp,
    /// TIFF, 8 or 16 bits or 32-bit float.
    Tiff,
    /// AVIF, lossy, 10 bits; needs the cargo feature `avif`.
    Avif,
    /// Lossless JPEG XL, 8 or 16 bits; needs the cargo feature `jxl`.
    Jxl,
}

/// Formats that are recognised only to say so, with their first bytes and where those stand.
const UNREAD: [(&str, usize, &[u8]); 6] = [
    ("a HEIC picture", 4, b"ftyphei"),
    ("a HEIF picture", 4, b"ftypmif1"),
    ("a JPEG 2000 picture", 0, b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("a Photoshop document", 0, b"8BPS"),
    ("an OpenEXR picture", 0, b"\x76\x2f\x31\x01"),
    ("a PDF document", 0, b"%PDF-"),
];

impl Format {
    /// Tells the format by the content.
    ///
    /// # Errors
    /// An input error for an empty file or one that is no picture, an unsupported error for a picture of a format that is
    /// not read.
    pub fn detect(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(Error::input("the file is empty"));
        }
        if let Some(format) = Self::by_magic(bytes) {
            return Ok(format);
        }
        let starts = |at: usize, magic: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
        if let Some((name, ..)) = UNREAD.iter().find(|(_, at, magic)| starts(*at, magic)) {
            return Err(Error::unsupported(format!("{name}, which is not supported"))
                .with_hint("convert it to PNG or TIFF first"));
        }
        if looks_like_tga(bytes) {
            return Ok(Self::Tga);
        }
        let head = &bytes[..bytes.len().min(512)];
        let text = std::str::from_utf8(head).is_ok_and(|text| !text.contains('\0'));
        Err(Error::input(if text { "not a picture but text" } else { "not a picture of a known format" }))
    }

    fn by_magic(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Self::Tiff),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'B', b'M', ..] if bytes.len() > 14 && bytes[6..10] == [0; 4] => Some(Self::Bmp),
            [b'q', b'o', b'i', b'f', ..] => Some(Self::Qoi),
            [b'P', b'1'..=b'7', space, ..] if space.is_ascii_whitespace() => Some(Self::Pnm),
            [0xff, 0x0a, ..] => Some(Self::Jxl),
            _ if bytes.starts_with(b"\0\0\0\x0cJXL \r\n\x87\n") => Some(Self::Jxl),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => has_avif_brand(bytes).then_some(Self::Avif),
            _ => None,
        }
    }

    /// The name people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Webp => "WebP",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Pnm => "PNM",
            Self::Qoi => "QOI",
            Self::Tga => "TGA",
            Self::Jxl => "JPEG XL",
            Self::Avif => "AVIF",
        }
    }
}

impl OutputFormat {
    /// The same format as the source, or PNG where that cannot be written.
    pub fn same_as(format: Format) -> Self {
        match format {
            Format::Jpeg => Self::Jpeg,
            Format::Webp => Self::Webp,
            Format::Tiff => Self::Tiff,
            Format::Jxl => Self::Jxl,
            Format::Avif => Self::Avif,
            _ => Self::Png,
        }
    }

    /// By a file name's extension, without the dot, in any case.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "png" => Some(Self::Png),
            "jpg" | "jpeg" | "jpe" | "jfif" => Some(Self::Jpeg),
            "webp" => Some(Self::Webp),
            "tif" | "tiff" => Some(Self::Tiff),
            "avif" => Some(Self::Avif),
            "jxl" => Some(Self::Jxl),
            _ => None,
        }
    }

    /// The usual extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
            Self::Tiff => "tif",
            Self::Avif => "avif",
            Self::Jxl => "jxl",
        }
    }

    /// As a source format.
    pub fn format(self) -> Format {
        match self {
            Self::Png => Format::Png,
            Self::Jpeg => Format::Jpeg,
            Self::Webp => Format::Webp,
            Self::Tiff => Format::Tiff,
            Self::Avif => Format::Avif,
            Self::Jxl => Format::Jxl,
        }
    }

    /// Whether this build can write the format, to be asked before work is put into a picture.
    ///
    /// # Errors
    /// An unsupported error that names the cargo feature.
    pub fn check_available(self) -> Result<()> {
        match self {
            Self::Avif if !cfg!(feature = "avif") => Err(not_built("AVIF", "avif")),
            Self::Jxl if !cfg!(feature = "jxl") => Err(not_built("JPEG XL", "jxl")),
            _ => Ok(()),
        }
    }
}

/// A format that was left out of this build.
pub(crate) fn not_built(format: &str, feature: &str) -> Error {
    Error::unsupported(format!("this build has no {format}"))
        .with_hint(format!("build it with --features {feature}"))
}

/// Whether the first box names AVIF (or AVIF sequences, whose cover is a picture) among the file's brands.
fn has_avif_brand(bytes: &[u8]) -> bool {
    let length = bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    let brands = bytes.get(8..length.min(bytes.len())).unwrap_or_default();
    brands.as_chunks::<4>().0.iter().any(|brand| matches!(brand, b"avif" | b"avis"))
}

/// TGA has no signature: every header field must make sense.
fn looks_like_tga(bytes: &[u8]) -> bool {
    let &[_, map, kind, _, _, _, _, map_bits, _, _, _, _, w0, w1, h0, h1, bits, _, ..] = bytes else {
        return false;
    };
    let mapped = matches!(kind, 1 | 9);
    let true_color = matches!(kind, 2 | 3 | 10 | 11);
    let map_fits = if mapped { map == 1 && matches!(map_bits, 15 | 16 | 24 | 32) } else { map <= 1 };
    (mapped || true_color)
        && map_fits
        && matches!(bits, 8 | 15 | 16 | 24 | 32)
        && (w0 | w1) != 0
        && (h0 | h1) != 0
}
