//! A picture with all that its file said.

use crate::{Format, Metadata, Notice, Planes};

/// Bits of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// Whole numbers, 0..=255. Sources of fewer bits are widened to this.
    Eight,
    /// Whole numbers, 0..=65535.
    Sixteen,
    /// 32-bit floating point, 1 is white.
    Float,
}

/// A decoded picture, upright.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// R'G'B', `[3, height, width]` in `[0, 1]`, in the colour space that the metadata names. Three equal planes for grey.
    pub color: Planes,
    /// Opacity, `[1, height, width]` in `[0, 1]`; the colour is not multiplied by it.
    pub alpha: Option<Planes>,
    /// Whether the file holds grey, and the result should.
    pub grey: bool,
    /// Bits of a sample in the file.
    pub depth: Depth,
    /// What the file is.
    pub format: Format,
    /// Profile, EXIF and the like.
    pub metadata: Metadata,
    /// What could not be taken over as it was.
    pub notices: Vec<Notice>,
}

impl Picture {
    /// A plain 8-bit PNG-like picture of sRGB colour, `[3, height, width]`.
    pub fn from_color(color: Planes) -> Self {
        Self {
            color,
            alpha: None,
            grey: false,
            depth: Depth::Eight,
            format: Format::Png,
            metadata: Metadata::default(),
            notices: Vec::new(),
        }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.color.width()
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.color.height()
    }
}
