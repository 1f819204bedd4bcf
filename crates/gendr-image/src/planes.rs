//! Planar f32 pixels, the one form in which pictures pass between crates.

use crate::{Error, Result};

/// A stack of equally sized planes, `[channels, height, width]`, row by row.
///
/// Colour is R'G'B' in `[0, 1]` (values slightly outside are allowed between steps); alpha and grey are one plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Planes {
    channels: usize,
    height: usize,
    width: usize,
    data: Vec<f32>,
}

impl Planes {
    /// Planes filled with `value`.
    pub fn filled(channels: usize, height: usize, width: usize, value: f32) -> Self {
        Self { channels, height, width, data: vec![value; channels * height * width] }
    }

    /// Wraps `data`, laid out `[channels, height, width]`.
    ///
    /// # Errors
    /// An argument error where the length is not `channels * height * width`.
    pub fn from_vec(channels: usize, height: usize, width: usize, data: Vec<f32>) -> Result<Self> {
        let wanted = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
        if wanted != Some(data.len()) {
            return Err(Error::argument(format!(
                "{} values do not fill {channels} planes of {width}x{height}",
                data.len()
            )));
        }
        Ok(Self { channels, height, width, data })
    }

    /// Number of planes.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Rows of a plane.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of a plane.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All values, `[channels, height, width]`.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All values, mutable.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Gives the values away.
    pub fn into_vec(self) -> Vec<f32> {
        self.data
    }

    /// One plane, `[height, width]`.
    pub fn plane(&self, channel: usize) -> &[f32] {
        let size = self.height * self.width;
        &self.data[channel * size..(channel + 1) * size]
    }

    /// One plane, mutable.
    pub fn plane_mut(&mut self, channel: usize) -> &mut [f32] {
        let size = self.height * self.width;
        &mut self.data[channel * size..(channel + 1) * size]
    }

    /// A row of one plane.
    pub fn row(&self, channel: usize, y: usize) -> &[f32] {
        &self.plane(channel)[y * self.width..(y + 1) * self.width]
    }

    /// Copies the rectangle with its corner at column `x`, row `y`.
    ///
    /// # Errors
    /// An argument error where the rectangle leaves the picture.
    pub fn crop(&self, x: usize, y: usize, width: usize, height: usize) -> Result<Self> {
        let fits =
            |start: usize, length: usize, whole| start.checked_add(length).is_some_and(|end| end <= whole);
        if !fits(x, width, self.width) || !fits(y, height, self.height) {
            return Err(Error::argument(format!(
                "a crop of {width}x{height} at {x},{y} leaves a picture of {}x{}",
                self.width, self.height
            )));
        }
        let mut data = Vec::with_capacity(self.channels * height * width);
        for channel in 0..self.channels {
            for line in y..y + height {
                data.extend_from_slice(&self.row(channel, line)[x..x + width]);
            }
        }
        Ok(Self { channels: self.channels, height, width, data })
    }

    /// Applies `f` to every value.
    pub fn map_in_place(&mut self, f: impl Fn(f32) -> f32) {
        for value in &mut self.data {
            *value = f(*value);
        }
    }
}
