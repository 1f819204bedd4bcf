//! Which input pixels an output pixel is made of, and with which weights.

use super::{Axis, Border, Filter, Resampling};

/// For each output pixel of a range: the first input pixel and the weights from there on.
///
/// Weights depend on the pixel's place in the whole picture alone, never on the range.
pub(super) struct Taps {
    first: Vec<usize>,
    /// Start of each pixel's weights, and the end of the last.
    starts: Vec<usize>,
    weights: Vec<f32>,
}

impl Taps {
    /// The taps of output pixels `from .. from + count`.
    pub(super) fn new(axis: Axis, from: usize, count: usize, resampling: Resampling) -> Self {
        let mut taps = Self {
            first: Vec::with_capacity(count),
            starts: Vec::with_capacity(count + 1),
            weights: Vec::new(),
        };
        taps.starts.push(0);
        let mut merged = Vec::new();
        for index in from..from + count {
            let first = match resampling.filter {
                Filter::Area => area(axis, index, &mut merged),
                filter => sampled(axis, index, filter, resampling, &mut merged),
            };
            taps.first.push(first);
            taps.weights.extend(merged.iter().map(|&weight| weight as f32));
            taps.starts.push(taps.weights.len());
        }
        taps
    }

    pub(super) fn len(&self) -> usize {
        self.first.len()
    }

    pub(super) fn get(&self, index: usize) -> (usize, &[f32]) {
        (self.first[index], &self.weights[self.starts[index]..self.starts[index + 1]])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// First input pixel used, and how many from there to the last one used.
    pub(super) fn span(&self) -> (usize, usize) {
        let start = self.first.iter().copied().min().unwrap_or(0);
        let end = self.iter().map(|(first, weights)| first + weights.len()).max().unwrap_or(0);
        (start, end - start)
    }
}

/// Equal weights on every input pixel touched.
fn area(axis: Axis, index: usize, weights: &mut Vec<f64>) -> usize {
    let (input, output) = (axis.input as u128, axis.output as u128);
    let start = (index as u128 * input / output) as usize;
    let end = ((index as u128 + 1) * input).div_ceil(output) as usize;
    weights.clear();
    weights.resize(end - start, 1.0 / (end - start) as f64);
    start
}

/// The filter around the sampled point; what falls beyond the border is folded back or cut.
fn sampled(
    axis: Axis,
    index: usize,
    filter: Filter,
    resampling: Resampling,
    weights: &mut Vec<f64>,
) -> usize {
    let stretch = if resampling.antialias { axis.step.max(1.0) } else { 1.0 };
    let support = filter.support() * stretch;
    // Pixel i covers [i, i+1) and stands at its middle.
    let centre = (index as f64 + 0.5) * axis.step;
    let low = (centre - support + 0.5).floor() as i64;
    let high = (centre + support + 0.5).floor() as i64;
    let last = axis.input as i64 - 1;
    let place = |tap: i64| match resampling.border {
        Border::Repeat => Some(tap.clamp(0, last)),
        Border::Cut => (0..=last).contains(&tap).then_some(tap),
        Border::Mirror => Some(mirror(tap, axis.input as i64)),
    };
    let high = high.max(low + 1);
    weights.clear();
    let (Some(start), Some(end)) = ((low..high).filter_map(place).min(), (low..high).filter_map(place).max())
    else {
        // The point lies wholly beyond a cut border: the nearest pixel stands in.
        weights.push(1.0);
        return (centre.floor() as i64).clamp(0, last) as usize;
    };
    weights.resize((end - start + 1) as usize, 0.0);
    for tap in low..high {
        if let Some(place) = place(tap) {
            weights[(place - start) as usize] += filter.weight((tap as f64 + 0.5 - centre) / stretch);
        }
    }
    let sum: f64 = weights.iter().sum();
    if sum != 0.0 {
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }
    start as usize
}

/// Folds an index beyond the border back, border pixel twice: ... 1 0 | 0 1 2 | 2 1 ...
fn mirror(tap: i64, length: i64) -> i64 {
    let folded = tap.rem_euclid(2 * length);
    folded.min(2 * length - 1 - folded)
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Box | Self::Area => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic { .. } => 2.0,
            Self::Lanczos3 => 3.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Box | Self::Area => f64::from(distance > -0.5 && distance <= 0.5),
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic { a } if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Self::Bicubic { a } if x < 2.0 => a * (((x - 5.0) * x + 8.0) * x - 4.0),
            Self::Bicubic { .. } => 0.0,
            Self::Lanczos3 if x < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Lanczos3 => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) }
}
