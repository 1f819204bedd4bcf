//! The eight ways in which a camera may have been held.

use rayon::prelude::*;

use crate::Planes;

/// How stored pixels must be turned and mirrored to stand upright, as EXIF tag 0x0112 numbers it, 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orientation(u8);

impl Orientation {
    pub(crate) const UPRIGHT: Self = Self(1);

    /// By EXIF's number; what is not 1 to 8 counts as upright.
    pub(crate) fn from_exif(number: u16) -> Self {
        match number {
            2..=8 => Self(number as u8),
            _ => Self::UPRIGHT,
        }
    }

    /// Whether rows become columns.
    pub(crate) fn transposes(self) -> bool {
        self.0 >= 5
    }

    /// Columns and rows of the upright picture.
    pub(crate) fn upright_size(self, (width, height): (usize, usize)) -> (usize, usize) {
        if self.transposes() { (height, width) } else { (width, height) }
    }

    /// Where the pixel at column `x`, row `y` of the upright picture is stored, in a picture of `width` columns and `height` rows.
    pub(crate) fn stored(self, (x, y): (usize, usize), (width, height): (usize, usize)) -> (usize, usize) {
        match self.0 {
            2 => (width - 1 - x, y),
            3 => (width - 1 - x, height - 1 - y),
            4 => (x, height - 1 - y),
            5 => (y, x),
            6 => (y, height - 1 - x),
            7 => (width - 1 - y, height - 1 - x),
            8 => (width - 1 - y, x),
            _ => (x, y),
        }
    }

    /// The picture, upright.
    pub(crate) fn apply(self, planes: Planes) -> Planes {
        if self == Self::UPRIGHT {
            return planes;
        }
        let (width, height) = (planes.width(), planes.height());
        let (new_width, new_height) = self.upright_size((width, height));
        let mut result = Planes::filled(planes.channels(), new_height, new_width, 0.0);
        result.data_mut().par_chunks_mut(new_width).enumerate().for_each(|(line, row)| {
            let (channel, y) = (line / new_height, line % new_height);
            let source = planes.plane(channel);
            for (x, value) in row.iter_mut().enumerate() {
                let (from_x, from_y) = self.stored((x, y), (width, height));
                *value = source[from_y * width + from_x];
            }
        });
        result
    }
}
