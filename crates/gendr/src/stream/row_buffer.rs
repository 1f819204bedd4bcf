//! Some rows of a picture, between a stage that makes them and one that needs their neighbours too.

use std::{collections::VecDeque, ops::Range};

use gendr_image::Planes;

use crate::{Error, Result};

/// Rows that follow each other, all channels of a row together.
#[derive(Debug)]
pub(super) struct RowBuffer {
    channels: usize,
    width: usize,
    /// Number of the first row that is held.
    first: usize,
    rows: VecDeque<Vec<f32>>,
}

impl RowBuffer {
    pub(super) fn new(channels: usize, width: usize) -> Self {
        Self { channels, width, first: 0, rows: VecDeque::new() }
    }

    /// Number of the row that comes next.
    pub(super) fn end(&self) -> usize {
        self.first + self.rows.len()
    }

    /// Appends rows.
    pub(super) fn push(&mut self, band: &Planes) {
        for y in 0..band.height() {
            let mut row = Vec::with_capacity(self.channels * self.width);
            (0..self.channels).for_each(|channel| row.extend_from_slice(band.row(channel, y)));
            self.rows.push_back(row);
        }
    }

    /// Lets go of the rows before `row`.
    pub(super) fn drop_before(&mut self, row: usize) {
        let gone = row.saturating_sub(self.first).min(self.rows.len());
        self.rows.drain(..gone);
        self.first += gone;
    }

    /// Forgets all; the next row is the first of the picture.
    pub(super) fn restart(&mut self) {
        self.rows.clear();
        self.first = 0;
    }

    /// Whether row `row` was let go of.
    pub(super) fn is_past(&self, row: usize) -> bool {
        row < self.first
    }

    /// A copy of rows.
    ///
    /// # Errors
    /// An argument error for rows that are not held.
    pub(super) fn window(&self, rows: Range<usize>) -> Result<Planes> {
        if rows.start < self.first || rows.end > self.end() {
            return Err(Error::argument(format!("rows {rows:?} are not at hand")));
        }
        let mut data = Vec::with_capacity(self.channels * rows.len() * self.width);
        for channel in 0..self.channels {
            for row in self.rows.range(rows.start - self.first..rows.end - self.first) {
                data.extend_from_slice(&row[channel * self.width..(channel + 1) * self.width]);
            }
        }
        Ok(Planes::from_vec(self.channels, rows.len(), self.width, data)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_what_was_pushed() {
        let data: Vec<f32> = (0..2 * 7 * 3).map(|value| value as f32).collect();
        let whole = Planes::from_vec(2, 7, 3, data).unwrap();
        let mut buffer = RowBuffer::new(2, 3);
        for (y, height) in [(0, 2), (2, 4), (6, 1)] {
            buffer.push(&whole.crop(0, y, 3, height).unwrap());
        }
        assert_eq!(buffer.window(1..6).unwrap(), whole.crop(0, 1, 3, 5).unwrap());
        buffer.drop_before(4);
        assert!(buffer.is_past(3) && buffer.window(3..5).is_err());
        assert_eq!(buffer.window(4..7).unwrap(), whole.crop(0, 4, 3, 3).unwrap());
        assert!(buffer.window(5..8).is_err());
    }
}
