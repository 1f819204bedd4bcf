//! Rectangles of pixels.

/// A rectangle of whole pixels: `width` columns from column `x`, `height` rows from row `y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// First column.
    pub x: usize,
    /// First row.
    pub y: usize,
    /// Number of columns.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
}

impl Rect {
    /// The whole of a picture.
    pub fn whole(width: usize, height: usize) -> Self {
        Self { x: 0, y: 0, width, height }
    }

    /// Whether `other` lies inside, edges included.
    pub fn contains(&self, other: &Self) -> bool {
        let inside = |start: usize, length: usize, outer: usize, outer_length: usize| {
            start >= outer
                && start.checked_add(length).is_some_and(|end| end <= outer.saturating_add(outer_length))
        };
        inside(other.x, other.width, self.x, self.width) && inside(other.y, other.height, self.y, self.height)
    }
}

impl std::fmt::Display for Rect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{} at {},{}", self.width, self.height, self.x, self.y)
    }
}
