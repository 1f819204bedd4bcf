//! Samples as files hold them, and the way to planes and back.

use std::ops::Range;

use rayon::prelude::*;

use crate::{Depth, Planes, Result};

/// Samples pixel by pixel, as in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Samples {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
    Float(Vec<f32>),
}

/// What the channels of a pixel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
    /// Amounts of ink: 0 is none.
    Cmyk,
}

/// Rows of pixels, `[height, width, channels]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Raster {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) layout: Layout,
    pub(crate) samples: Samples,
}

impl Layout {
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    pub(crate) fn has_alpha(self) -> bool {
        matches!(self, Self::GreyAlpha | Self::Rgba)
    }

    pub(crate) fn is_grey(self) -> bool {
        matches!(self, Self::Grey | Self::GreyAlpha)
    }

    pub(crate) fn new(grey: bool, alpha: bool) -> Self {
        match (grey, alpha) {
            (true, false) => Self::Grey,
            (true, true) => Self::GreyAlpha,
            (false, false) => Self::Rgb,
            (false, true) => Self::Rgba,
        }
    }
}

impl Samples {
    pub(crate) fn depth(&self) -> Depth {
        match self {
            Self::Eight(_) => Depth::Eight,
            Self::Sixteen(_) => Depth::Sixteen,
            Self::Float(_) => Depth::Float,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Eight(samples) => samples.len(),
            Self::Sixteen(samples) => samples.len(),
            Self::Float(samples) => samples.len(),
        }
    }

    /// Bytes that the samples take.
    pub(crate) fn byte_length(&self) -> usize {
        match self {
            Self::Eight(samples) => samples.len(),
            Self::Sixteen(samples) => 2 * samples.len(),
            Self::Float(samples) => 4 * samples.len(),
        }
    }

    /// The samples at the places that `places` gives.
    pub(crate) fn gather(&self, places: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Eight(samples) => Self::Eight(places.map(|at| samples[at]).collect()),
            Self::Sixteen(samples) => Self::Sixteen(places.map(|at| samples[at]).collect()),
            Self::Float(samples) => Self::Float(places.map(|at| samples[at]).collect()),
        }
    }

    /// Appends a range of samples of the same kind.
    pub(crate) fn append(&mut self, other: &Self, range: Range<usize>) {
        match (self, other) {
            (Self::Eight(samples), Self::Eight(more)) => samples.extend_from_slice(&more[range]),
            (Self::Sixteen(samples), Self::Sixteen(more)) => samples.extend_from_slice(&more[range]),
            (Self::Float(samples), Self::Float(more)) => samples.extend_from_slice(&more[range]),
            _ => {}
        }
    }

    /// 16-bit samples from pairs of bytes.
    pub(crate) fn sixteen(bytes: &[u8], join: impl Fn([u8; 2]) -> u16) -> Self {
        Self::Sixteen(bytes.as_chunks().0.iter().map(|&pair| join(pair)).collect())
    }
}

impl Raster {
    /// One plane per channel, `[0, 1]`; what is not a number becomes 0.
    ///
    /// # Errors
    /// An argument error where the samples do not fill the picture.
    pub(crate) fn to_planes(&self) -> Result<Planes> {
        let (width, height, channels) = (self.width, self.height, self.layout.channels());
        let read = |at: usize| -> f32 {
            match &self.samples {
                Samples::Eight(samples) => f32::from(samples[at]) / 255.0,
                Samples::Sixteen(samples) => f32::from(samples[at]) / 65535.0,
                Samples::Float(samples) => Some(samples[at]).filter(|value| value.is_finite()).unwrap_or(0.0),
            }
        };
        if self.samples.len() != width * height * channels {
            return Err(crate::Error::input("the file holds too few or too many samples"));
        }
        let mut planes = Planes::filled(channels, height, width, 0.0);
        planes.data_mut().par_chunks_mut(width).enumerate().for_each(|(line, row)| {
            let (channel, y) = (line / height, line % height);
            for (x, value) in row.iter_mut().enumerate() {
                *value = read((y * width + x) * channels + channel);
            }
        });
        Ok(planes)
    }

    /// Rounds planes to samples, half up, after clamping to `[0, 1]` (floats are left as they are). Grey takes the mean of
    /// the three colour planes.
    pub(crate) fn from_planes(color: &Planes, alpha: Option<&Planes>, grey: bool, depth: Depth) -> Self {
        let (width, height) = (color.width(), color.height());
        let layout = Layout::new(grey, alpha.is_some());
        let channels = layout.channels();
        let value = |y: usize, x: usize, channel: usize| -> f32 {
            match alpha {
                Some(alpha) if channel + 1 == channels => alpha.row(0, y)[x],
                _ if grey => {
                    let sum: f32 = (0..3).map(|channel| color.row(channel, y)[x]).sum();
                    sum / 3.0
                }
                _ => color.row(channel, y)[x],
            }
        };
        let samples = match depth {
            Depth::Eight => Samples::Eight(interleave(width, height, channels, |y, x, c| {
                round(value(y, x, c), 255.0) as u8
            })),
            Depth::Sixteen => Samples::Sixteen(interleave(width, height, channels, |y, x, c| {
                round(value(y, x, c), 65535.0) as u16
            })),
            Depth::Float => Samples::Float(interleave(width, height, channels, value)),
        };
        Self { width, height, layout, samples }
    }
}

fn interleave<T: Default + Clone + Send>(
    width: usize,
    height: usize,
    channels: usize,
    value: impl Fn(usize, usize, usize) -> T + Sync,
) -> Vec<T> {
    let mut samples = vec![T::default(); width * height * channels];
    samples.par_chunks_mut((width * channels).max(1)).enumerate().for_each(|(y, row)| {
        for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
            for (channel, sample) in pixel.iter_mut().enumerate() {
                *sample = value(y, x, channel);
            }
        }
    });
    samples
}

/// Half up, in f64 so that no value of 16 bits drifts.
fn round(value: f32, most: f64) -> f64 {
    (f64::from(value).clamp(0.0, 1.0) * most + 0.5).floor()
}
