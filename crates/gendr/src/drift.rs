//! How far a result lies from its input: scaled down to the input's size it should look like it.
//!
//! What a network invents beyond the input's resolution does not show here; what it changes of the input does.

use gendr_image::{Picture, Planes, Resampling, resize};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Side of the regions that are looked at, in pixels of the input.
const REGION: usize = 16;
/// The difference at which the heat map is white.
const HOTTEST: f32 = 0.25;

/// Mean absolute differences between the input and the result scaled down to its size (antialiased bicubic), over the three
/// colour channels, where 1 is the way from black to white.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Over the whole picture.
    pub mean: f64,
    /// Over the region of 16x16 pixels where it is largest: what [`FileOptions::max_drift`](crate::FileOptions::max_drift)
    /// limits.
    pub worst: f64,
}

/// A drift and where it is.
pub(crate) struct DriftMap {
    pub(crate) drift: Drift,
    /// The difference at each pixel of the input, `[1, height, width]`.
    map: Planes,
}

impl DriftMap {
    /// Compares a result with its input, at the smaller of both sizes. What transparency hides does not count.
    ///
    /// # Errors
    /// None for pictures with pixels.
    pub(crate) fn measure(input: &Picture, result: &Picture) -> Result<Self> {
        let size = (input.width().min(result.width()), input.height().min(result.height()));
        let scaled = |planes: &Planes| resize(planes, size.0, size.1, Resampling::PILLOW_BICUBIC);
        let (input_color, result_color) = (scaled(&input.color)?, scaled(&result.color)?);
        let alpha = input.alpha.as_ref().map(scaled).transpose()?;
        Ok(Self::of(difference(&input_color, &result_color, alpha.as_ref())))
    }

    /// The drift of a map that was made band by band.
    pub(crate) fn of(map: Planes) -> Self {
        Self { drift: Drift { mean: mean(&map, 0..map.width(), 0..map.height()), worst: worst(&map) }, map }
    }

    /// The map in colours: black where nothing differs, over red and yellow to white at a quarter of the way from black to
    /// white and above.
    pub(crate) fn picture(&self) -> Picture {
        let (width, height) = (self.map.width(), self.map.height());
        let mut color = Planes::filled(3, height, width, 0.0);
        for channel in 0..3 {
            for (value, difference) in color.plane_mut(channel).iter_mut().zip(self.map.data()) {
                *value = (3.0 * difference / HOTTEST - channel as f32).clamp(0.0, 1.0);
            }
        }
        Picture::from_color(color)
    }
}

/// The mean absolute difference of the channels at each pixel, as far as it is opaque.
pub(crate) fn difference(input: &Planes, result: &Planes, alpha: Option<&Planes>) -> Planes {
    let mut map = Planes::filled(1, input.height(), input.width(), 0.0);
    for (index, value) in map.data_mut().iter_mut().enumerate() {
        let sum: f32 = (0..3)
            .map(|channel| {
                let [a, b] = [input, result].map(|color| color.plane(channel)[index].clamp(0.0, 1.0));
                (a - b).abs()
            })
            .sum();
        *value = sum / 3.0 * alpha.map_or(1.0, |alpha| alpha.data()[index].clamp(0.0, 1.0));
    }
    map
}

/// The largest mean over the regions, which cover the picture; the last of a row or column ends with it.
fn worst(map: &Planes) -> f64 {
    let spans = |length: usize| {
        (0..length.div_ceil(REGION)).map(move |index| {
            let end = ((index + 1) * REGION).min(length);
            end.saturating_sub(REGION)..end
        })
    };
    spans(map.height())
        .flat_map(|rows| spans(map.width()).map(move |columns| mean(map, columns, rows.clone())))
        .fold(0.0, f64::max)
}

fn mean(map: &Planes, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> f64 {
    let count = (columns.len() * rows.len()) as f64;
    let sum: f64 =
        rows.map(|y| map.row(0, y)[columns.clone()].iter().map(|&value| f64::from(value)).sum::<f64>()).sum();
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(width: usize, height: usize, value: f32) -> Picture {
        Picture::from_color(Planes::filled(3, height, width, value))
    }

    #[test]
    fn a_plain_enlargement_does_not_drift() {
        let map = DriftMap::measure(&flat(20, 10, 0.4), &flat(80, 40, 0.4)).unwrap();
        assert!(map.drift.mean < 1e-6 && map.drift.worst < 1e-6);
    }

    #[test]
    fn a_patch_that_was_invented_shows_in_the_worst_region_and_on_the_map() {
        let input = flat(64, 64, 0.5);
        let mut result = flat(256, 256, 0.5);
        for channel in 0..3 {
            for y in 64..128 {
                result.color.plane_mut(channel)[y * 256 + 64..y * 256 + 128].fill(0.8);
            }
        }
        let map = DriftMap::measure(&input, &result).unwrap();
        assert!((map.drift.worst - 0.3).abs() < 0.01, "{:?}", map.drift);
        assert!((map.drift.mean - 0.3 / 16.0).abs() < 0.002, "{:?}", map.drift);
        let hot = map.picture();
        assert_eq!((hot.width(), hot.height()), (64, 64));
        let at = |x: usize, y: usize| [0, 1, 2].map(|channel| hot.color.row(channel, y)[x]);
        assert_eq!((at(24, 24), at(50, 50)), ([1.0; 3], [0.0; 3]));
    }

    #[test]
    fn what_is_hidden_does_not_count_and_any_size_has_a_drift() {
        let mut input = flat(5, 3, 0.0);
        input.alpha = Some(Planes::filled(1, 3, 5, 0.0));
        assert_eq!(DriftMap::measure(&input, &flat(20, 12, 1.0)).unwrap().drift.worst, 0.0);
        let drift = DriftMap::measure(&flat(1, 1, 0.0), &flat(4, 4, 1.0)).unwrap().drift;
        assert!((drift.worst - 1.0).abs() < 1e-6);
        DriftMap::measure(&flat(40, 40, 0.0), &flat(10, 10, 1.0)).unwrap();
    }
}
