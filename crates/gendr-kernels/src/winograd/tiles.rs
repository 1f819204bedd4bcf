//! How a picture falls into tiles, and how their pixels come in and go out.

use crate::{
    conv_shape::ConvShape,
    simd::{Simd, clear, copy},
};

/// All tiles of a batch of pictures, numbered row by row, picture by picture.
#[derive(Clone, Copy)]
pub(crate) struct Tiles {
    pub(crate) shape: ConvShape,
    /// Outputs along a tile's side.
    pub(crate) side: usize,
    rows: usize,
    columns: usize,
}

/// Consecutive tiles of one row of tiles.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) image: usize,
    /// Output row and column of the first tile's corner.
    pub(crate) y: usize,
    pub(crate) x: usize,
    pub(crate) count: usize,
    /// Tiles of the block that come before.
    pub(crate) at: usize,
}

impl Tiles {
    pub(crate) fn new(shape: ConvShape, side: usize) -> Self {
        let (height, width) = shape.output_size();
        Self { shape, side, rows: height.div_ceil(side), columns: width.div_ceil(side) }
    }

    pub(crate) fn count(&self) -> usize {
        self.shape.batch * self.rows * self.columns
    }

    /// The block of `count` tiles from `first` on, row by row.
    pub(crate) fn runs(&self, first: usize, count: usize) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut at = 0;
        while at < count {
            let (row, column) = ((first + at) / self.columns, (first + at) % self.columns);
            let length = (self.columns - column).min(count - at);
            let (image, y) = (row / self.rows, row % self.rows * self.side);
            runs.push(Run { image, y, x: column * self.side, count: length, at });
            at += length;
        }
        runs
    }
}

/// A row of a picture; reading outside gives zeros.
#[derive(Clone, Copy)]
pub(crate) struct PaddedRow<'a> {
    /// None above and below the picture.
    pub(crate) pixels: Option<&'a [f32]>,
    /// Columns, twice the pixels (or one less) where each of them stands for two.
    width: usize,
    pub(crate) enlarged: bool,
}

impl<'a> PaddedRow<'a> {
    /// Row `y` of a plane of `width` columns.
    #[inline(always)]
    pub(crate) fn of_plane(plane: &'a [f32], width: usize, y: isize) -> Self {
        let from =
            usize::try_from(y).ok().and_then(|y| y.checked_mul(width)).filter(|&from| from < plane.len());
        Self { pixels: from.map(|from| &plane[from..from + width]), width, enlarged: false }
    }

    /// Row `y` of a channel of a convolution's input, `plane` as it is stored.
    #[inline(always)]
    pub(crate) fn of_input(plane: &'a [f32], shape: &ConvShape, y: isize) -> Self {
        if !shape.enlarged {
            return Self::of_plane(plane, shape.width, y);
        }
        let (_, stored_width) = shape.stored_size();
        let stored_y = if y < shape.height as isize { y >> 1 } else { -1 };
        Self { width: shape.width, enlarged: true, ..Self::of_plane(plane, stored_width, stored_y) }
    }

    /// Whether it is an enlarged row that was made of the same pixels as `other`.
    #[inline(always)]
    pub(crate) fn repeats(self, other: Self) -> bool {
        let start = |row: Self| row.pixels.map(<[f32]>::as_ptr);
        self.enlarged && start(self) == start(other)
    }

    /// Copies `len` pixels from column `x` on, which may lie outside.
    ///
    /// # Safety
    /// `len` floats are writable at `to`.
    #[inline(always)]
    pub(crate) unsafe fn read<S: Simd>(self, s: S, x: isize, to: *mut f32, len: usize) {
        let pixels = self.pixels.unwrap_or(&[]);
        if !self.enlarged && x >= 0 && x as usize + len <= pixels.len() {
            // SAFETY: the columns were just seen to lie inside the row.
            return unsafe { copy(s, pixels.as_ptr().add(x as usize), to, len) };
        }
        let before = if pixels.is_empty() { len } else { (-x).clamp(0, len as isize) as usize };
        let end = (self.width as isize - x).clamp(before as isize, len as isize) as usize;
        // SAFETY: `before <= end <= len`, and the columns from x + before to x + end lie inside the row.
        unsafe {
            clear(s, to, before);
            if end > before && self.enlarged {
                enlarge(pixels, (x + before as isize) as usize, to.add(before), end - before);
            } else if end > before {
                copy(s, pixels.as_ptr().offset(x + before as isize), to.add(before), end - before);
            }
            clear(s, to.add(end), len - end);
        }
    }
}

/// Writes `len` columns from `first` on of a row in which each pixel stands for two columns.
///
/// # Safety
/// `len` floats are writable at `to`, and `(first + len - 1) / 2` is one of the pixels.
#[inline(always)]
unsafe fn enlarge(pixels: &[f32], first: usize, to: *mut f32, len: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        let from = pixels.as_ptr().add(first.div_ceil(2));
        let odd = first % 2;
        if odd == 1 {
            *to = pixels[first / 2];
        }
        let to = to.add(odd);
        let pairs = (len - odd) / 2;
        for pair in 0..pairs {
            let pixel = *from.add(pair);
            *to.add(2 * pair) = pixel;
            *to.add(2 * pair + 1) = pixel;
        }
        if odd + 2 * pairs < len {
            *to.add(2 * pairs) = *from.add(pairs);
        }
    }
}
