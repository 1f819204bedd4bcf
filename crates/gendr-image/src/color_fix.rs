//! Colour correction of a restored picture against the upscaled input, as StableSR, OSEDiff and InvSR do it.

use rayon::prelude::*;

use crate::{Error, Planes, Result, back_projection::BackProjection};

/// How the colours of a restored picture are brought back to those of the reference. Only Ycbcr clamps to `[0, 1]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ColorFix {
    /// Not at all.
    None,
    /// Mean and standard deviation of each channel are the reference's (adaptive instance normalisation).
    #[default]
    Adain,
    /// The lowest of five wavelet bands is the reference's.
    Wavelet,
    /// Luma of the restored picture, chroma of the reference.
    Ycbcr,
    /// As [`ColorFix::Wavelet`]; then a third of what a copy of the input's size differs from the input is taken away, where the
    /// picture is at least three times larger.
    Projection,
}

/// Mean and standard deviation of each channel, `sqrt(unbiased variance + 1e-5)`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStatistics {
    count: f64,
    mean: Vec<f64>,
    /// Sum of squared differences from the mean.
    spread: Vec<f64>,
}

const ADAIN_EPSILON: f64 = 1e-5;
const WAVELET_LEVELS: u32 = 5;

/// Beyond this distance, in pixels, nothing changes the result of [`ColorFix::Wavelet`]: 1 + 2 + 4 + 8 + 16.
pub(crate) const WAVELET_REACH: usize = (1 << WAVELET_LEVELS) - 1;

/// Applies `fix` to `restored`, `[channels, height, width]` in `[0, 1]`. Except for [`ColorFix::Adain`] the reference
/// must have the same size; `input` is the width and height that the picture had before.
///
/// # Errors
/// An argument error where sizes or channels differ, or where Ycbcr is asked of anything but three channels.
pub fn apply(fix: ColorFix, restored: &Planes, reference: &Planes, input: (usize, usize)) -> Result<Planes> {
    if fix != ColorFix::None {
        check_sizes(fix, restored, reference)?;
    }
    Ok(match fix {
        ColorFix::None => restored.clone(),
        ColorFix::Adain => {
            let (from, to) = (ChannelStatistics::of(restored), ChannelStatistics::of(reference));
            match_statistics(restored, &from, &to)?
        }
        ColorFix::Wavelet => wavelet(restored, reference),
        ColorFix::Ycbcr => ycbcr(restored, reference),
        ColorFix::Projection => {
            let size = (restored.width(), restored.height());
            BackProjection::new(input, size)?.rows(restored, reference, 0, 0..size.1)?
        }
    })
}

fn check_sizes(fix: ColorFix, restored: &Planes, reference: &Planes) -> Result<()> {
    let size = |planes: &Planes| (planes.height(), planes.width());
    if restored.channels() != reference.channels() {
        return Err(Error::argument("the colour reference has other channels than the picture"));
    }
    if fix != ColorFix::Adain && size(restored) != size(reference) {
        return Err(Error::argument("the colour reference has another size than the picture"));
    }
    if fix == ColorFix::Ycbcr && restored.channels() != 3 {
        return Err(Error::argument("the YCbCr colour fix needs three channels"));
    }
    Ok(())
}

impl ColorFix {
    /// All, with their names in options, models and recipes.
    const NAMES: [(&'static str, Self); 5] = [
        ("none", Self::None),
        ("adain", Self::Adain),
        ("wavelet", Self::Wavelet),
        ("ycbcr", Self::Ycbcr),
        ("projection", Self::Projection),
    ];

    /// `none`, `adain`, `wavelet`, `ycbcr` or `projection`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, fix)| *fix == self).map_or("", |(name, _)| name)
    }

    /// The fix of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, fix)| *fix)
    }
}

impl ChannelStatistics {
    /// Statistics of a whole picture, summed in f64 in an order that no thread count changes.
    pub fn of(planes: &Planes) -> Self {
        let count = (planes.height() * planes.width()) as f64;
        let mean: Vec<f64> = (0..planes.channels())
            .map(|channel| total(planes, channel, |value| value) / count.max(1.0))
            .collect();
        let spread = mean
            .iter()
            .enumerate()
            .map(|(channel, mean)| total(planes, channel, |value| (value - mean) * (value - mean)))
            .collect();
        Self { count, mean, spread }
    }

    /// Statistics of two parts together.
    ///
    /// # Errors
    /// An argument error where the channels differ in number.
    pub fn merge(&self, other: &Self) -> Result<Self> {
        if self.mean.len() != other.mean.len() {
            return Err(Error::argument("statistics of different channels cannot be merged"));
        }
        let count = self.count + other.count;
        let share = other.count / count.max(1.0);
        let (mean, spread) = (0..self.mean.len())
            .map(|channel| {
                let shift = other.mean[channel] - self.mean[channel];
                let spread =
                    self.spread[channel] + other.spread[channel] + shift * shift * self.count * share;
                (self.mean[channel] + shift * share, spread)
            })
            .unzip();
        Ok(Self { count, mean, spread })
    }

    /// Mean of each channel.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    fn deviation(&self, channel: usize) -> f64 {
        (self.spread[channel] / (self.count - 1.0).max(1.0) + ADAIN_EPSILON).sqrt()
    }
}

/// Sum of `term` over a plane: row by row, then over the rows in order.
fn total(planes: &Planes, channel: usize, term: impl Fn(f64) -> f64 + Sync) -> f64 {
    row_sums(planes, channel, term).iter().sum()
}

fn row_sums(planes: &Planes, channel: usize, term: impl Fn(f64) -> f64 + Sync) -> Vec<f64> {
    (0..planes.height())
        .into_par_iter()
        .map(|y| planes.row(channel, y).iter().map(|&value| term(f64::from(value))).sum())
        .collect()
}

/// [`ChannelStatistics`] of a picture that is seen in bands of rows, from top to bottom and twice: for the means, and for the
/// spread around them. The numbers are those of the whole picture.
#[derive(Clone, Debug)]
pub struct BandedStatistics {
    pixels: usize,
    sum: Vec<f64>,
    /// Known in the second pass.
    mean: Option<Vec<f64>>,
}

impl BandedStatistics {
    /// Nothing seen yet of a picture with so many channels.
    pub fn new(channels: usize) -> Self {
        Self { pixels: 0, sum: vec![0.0; channels], mean: None }
    }

    /// Adds the next rows.
    pub fn add(&mut self, band: &Planes) {
        self.pixels += band.width() * band.height();
        for (channel, sum) in self.sum.iter_mut().enumerate() {
            let mean = self.mean.as_ref().map(|mean| mean[channel]);
            let rows = row_sums(band, channel, |value| match mean {
                None => value,
                Some(mean) => (value - mean) * (value - mean),
            });
            rows.iter().for_each(|row| *sum += row);
        }
    }

    /// Ends the first pass.
    pub fn turn(&mut self) {
        let count = (self.pixels as f64).max(1.0);
        self.mean = Some(self.sum.iter().map(|sum| sum / count).collect());
        self.sum.fill(0.0);
        self.pixels = 0;
    }

    /// Ends the second pass.
    pub fn finish(self) -> ChannelStatistics {
        let mean = self.mean.unwrap_or_else(|| vec![0.0; self.sum.len()]);
        ChannelStatistics { count: self.pixels as f64, mean, spread: self.sum }
    }
}

/// AdaIN with given statistics, `(x - mean_from) / std_from * std_to + mean_to`, for pictures corrected part by part.
///
/// # Errors
/// An argument error where the statistics are of another number of channels.
pub fn match_statistics(planes: &Planes, from: &ChannelStatistics, to: &ChannelStatistics) -> Result<Planes> {
    if from.mean.len() != planes.channels() || to.mean.len() != planes.channels() {
        return Err(Error::argument("colour statistics are of another number of channels"));
    }
    let mut result = planes.clone();
    for channel in 0..planes.channels() {
        let gain = to.deviation(channel) / from.deviation(channel);
        let (old, new) = (from.mean[channel], to.mean[channel]);
        result
            .plane_mut(channel)
            .par_iter_mut()
            .for_each(|value| *value = ((f64::from(*value) - old) * gain + new) as f32);
    }
    Ok(result)
}

/// `high(restored) + low(reference)`. As `high(x) = x - low(x)` and `low` is linear, this is
/// `restored + low(reference - restored)`: one decomposition instead of two.
pub(crate) fn wavelet(restored: &Planes, reference: &Planes) -> Planes {
    let mut low = reference.clone();
    low.data_mut().par_iter_mut().zip(restored.data()).for_each(|(value, restored)| *value -= restored);
    for level in 0..WAVELET_LEVELS {
        low = blur(&low, 1 << level);
    }
    low.data_mut().par_iter_mut().zip(restored.data()).for_each(|(value, restored)| *value += restored);
    low
}

/// The a trous blur: binomial 1/4, 1/2, 1/4 along both axes with `reach` pixels between taps, border repeated.
fn blur(source: &Planes, reach: usize) -> Planes {
    let (height, width) = (source.height(), source.width());
    let mut result = Planes::filled(source.channels(), height, width, 0.0);
    if result.data().is_empty() {
        return result;
    }
    result.data_mut().par_chunks_mut(width).enumerate().for_each(|(line, output)| {
        let (channel, y) = (line / height, line % height);
        let above = source.row(channel, y.saturating_sub(reach));
        let here = source.row(channel, y);
        let below = source.row(channel, (y + reach).min(height - 1));
        let column: Vec<f32> = (above.iter().zip(here).zip(below))
            .map(|((above, here), below)| 0.25 * (above + below) + 0.5 * here)
            .collect();
        for (x, value) in output.iter_mut().enumerate() {
            let (left, right) = (column[x.saturating_sub(reach)], column[(x + reach).min(width - 1)]);
            *value = 0.25 * (left + right) + 0.5 * column[x];
        }
    });
    result
}

/// Luma by the weights of Rec. 601. As YCbCr is linear, luma of one and chroma of the other is `reference + Y - Y'`.
fn ycbcr(restored: &Planes, reference: &Planes) -> Planes {
    let luma = |planes: &Planes, index: usize| {
        0.299 * planes.plane(0)[index] + 0.587 * planes.plane(1)[index] + 0.114 * planes.plane(2)[index]
    };
    let mut result = reference.clone();
    for channel in 0..3 {
        result.plane_mut(channel).par_iter_mut().enumerate().for_each(|(index, value)| {
            *value = (*value + luma(restored, index) - luma(reference, index)).clamp(0.0, 1.0);
        });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_bands_are_those_of_the_whole() {
        let data = (0..3 * 11 * 7).map(|index| (index * 7919 % 101) as f32 / 101.0).collect();
        let whole = Planes::from_vec(3, 11, 7, data).unwrap();
        let mut banded = BandedStatistics::new(3);
        for pass in 0..2 {
            for (y, height) in [(0, 4), (4, 1), (5, 6)] {
                banded.add(&whole.crop(0, y, 7, height).unwrap());
            }
            if pass == 0 {
                banded.turn();
            }
        }
        assert_eq!(banded.finish(), ChannelStatistics::of(&whole));
    }

    #[test]
    fn names_lead_back() {
        for (name, fix) in ColorFix::NAMES {
            assert_eq!((fix.name(), ColorFix::from_name(name)), (name, Some(fix)));
        }
        assert_eq!(ColorFix::from_name("other"), None);
    }
}
