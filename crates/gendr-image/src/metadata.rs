//! What a file says about its pixels.

/// Metadata as raw blocks, in the form common to all containers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// ICC profile.
    pub icc: Option<Vec<u8>>,
    /// EXIF as a TIFF stream (from `II*\0` or `MM\0*`), without a container's prefix.
    pub exif: Option<Vec<u8>>,
    /// XMP packet.
    pub xmp: Option<Vec<u8>>,
    /// The part of the XMP that JPEG keeps apart because it is long; the packet names it.
    pub xmp_extension: Option<Vec<u8>>,
    /// IPTC-IIM records.
    pub iptc: Option<Vec<u8>>,
    /// Photoshop's other image resources (`8BIM` blocks), without thumbnails and copies of what is here.
    pub photoshop: Option<Vec<u8>>,
    /// Pixels per length.
    pub density: Option<Density>,
    /// Keyed texts of PNG, and comments of JPEG and GIF under the key `Comment`.
    pub texts: Vec<Text>,
    /// Colour space as PNG chunks give it.
    pub png_color: PngColor,
    /// Quality of a JPEG source, 1..=100, estimated from its quantisation tables.
    pub jpeg_quality: Option<u8>,
}

/// Pixels per length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Density {
    /// Along a row.
    pub x: f64,
    /// Along a column.
    pub y: f64,
    /// Per what.
    pub unit: DensityUnit,
}

/// The length in a [`Density`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DensityUnit {
    /// None: only the ratio of x to y means something.
    Ratio,
    /// 25.4 mm.
    Inch,
    /// 10 mm.
    Centimetre,
    /// 1000 mm.
    Metre,
}

/// A keyed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What it is, such as `Author`.
    pub keyword: String,
    /// The text.
    pub value: String,
}

/// PNG's own statements of colour space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PngColor {
    /// `sRGB`: the rendering intent.
    pub srgb_intent: Option<u8>,
    /// `gAMA`: exponent times 100000.
    pub gamma: Option<u32>,
    /// `cHRM`: white, red, green, blue, each x and y times 100000.
    pub chromaticities: Option<[u32; 8]>,
    /// `cICP`: primaries, transfer, matrix, full range.
    pub cicp: Option<[u8; 4]>,
}

impl Density {
    /// Pixels per inch; none for a mere ratio.
    pub fn per_inch(&self) -> Option<(f64, f64)> {
        let factor = match self.unit {
            DensityUnit::Ratio => return None,
            DensityUnit::Inch => 1.0,
            DensityUnit::Centimetre => 2.54,
            DensityUnit::Metre => 0.0254,
        };
        Some((self.x * factor, self.y * factor))
    }

    /// Pixels per metre; none for a mere ratio.
    pub fn per_metre(&self) -> Option<(f64, f64)> {
        match self.unit {
            // Exactly as given, with no rounding by way of inches.
            DensityUnit::Metre => Some((self.x, self.y)),
            DensityUnit::Centimetre => Some((self.x * 100.0, self.y * 100.0)),
            _ => self.per_inch().map(|(x, y)| (x / 0.0254, y / 0.0254)),
        }
    }

    /// The same for the picture turned by a quarter.
    pub(crate) fn transposed(self) -> Self {
        Self { x: self.y, y: self.x, ..self }
    }
}

/// An EXIF block without the prefix that JPEG puts before it and some programs put before it elsewhere too.
pub(crate) fn bare_exif(block: &[u8]) -> &[u8] {
    block.strip_prefix(b"Exif\0\0").unwrap_or(block)
}
