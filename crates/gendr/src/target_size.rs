//! The size a picture is to have, exactly.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Largest `scale` that [`TargetSize::Scale`] takes.
pub const MAX_SCALE: f64 = 64.0;
/// Longest side of a result, in pixels.
pub const MAX_SIDE: usize = 1_000_000;

/// The size asked for. The aspect ratio is kept: the other side follows by rounding to the nearest pixel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetSize {
    /// Both sides times this, in `(0, MAX_SCALE]`.
    Scale(f64),
    /// This many columns.
    Width(usize),
    /// This many rows.
    Height(usize),
    /// The longer side has this many pixels.
    LongSide(usize),
    /// The shorter side has this many pixels.
    ShortSide(usize),
}

impl Default for TargetSize {
    fn default() -> Self {
        Self::Scale(4.0)
    }
}

impl TargetSize {
    /// Checks what can be checked without a picture.
    ///
    /// # Errors
    /// An argument error for a scale that is not a number in `(0, MAX_SCALE]` or a side outside `1..=MAX_SIDE`.
    pub fn validate(self) -> Result<()> {
        match self {
            Self::Scale(scale) if scale > 0.0 && scale <= MAX_SCALE => Ok(()),
            Self::Scale(scale) => Err(Error::argument(format!(
                "the scale must be more than 0 and at most {MAX_SCALE}, not {scale}"
            ))),
            Self::Width(side) | Self::Height(side) | Self::LongSide(side) | Self::ShortSide(side) => {
                if (1..=MAX_SIDE).contains(&side) {
                    Ok(())
                } else {
                    Err(Error::argument(format!("a side must have 1 to {MAX_SIDE} pixels, not {side}")))
                }
            }
        }
    }

    /// The exact size `(width, height)` of the result for a picture of `width` x `height`; at least one pixel a side.
    ///
    /// # Errors
    /// As [`validate`](Self::validate); an argument error for an empty picture, a limit error where a side of the
    /// result passes [`MAX_SIDE`].
    pub fn resolve(self, width: usize, height: usize) -> Result<(usize, usize)> {
        self.validate()?;
        if width == 0 || height == 0 {
            return Err(Error::argument(format!("a picture of {width}x{height} has no pixels")));
        }
        let follow = |side: usize, other: usize, wanted: usize| scaled(other, wanted as f64 / side as f64);
        let by_width = |wanted| (wanted, follow(width, height, wanted));
        let by_height = |wanted| (follow(height, width, wanted), wanted);
        let size = match self {
            Self::Scale(scale) => (scaled(width, scale), scaled(height, scale)),
            Self::Width(wanted) => by_width(wanted),
            Self::Height(wanted) => by_height(wanted),
            Self::LongSide(wanted) if width >= height => by_width(wanted),
            Self::ShortSide(wanted) if width <= height => by_width(wanted),
            Self::LongSide(wanted) | Self::ShortSide(wanted) => by_height(wanted),
        };
        if size.0.max(size.1) > MAX_SIDE {
            return Err(Error::limit(format!(
                "a result of {}x{} is larger than {MAX_SIDE} pixels a side",
                size.0, size.1
            )));
        }
        Ok(size)
    }
}

/// `side * factor`, rounded to the nearest pixel, never zero.
fn scaled(side: usize, factor: f64) -> usize {
    (side as f64 * factor).round().max(1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use proptest::prelude::*;

    #[test]
    fn senseless_sizes_are_argument_errors() {
        for scale in [0.0, -1.0, f64::NAN, 1e9, f64::INFINITY, f64::NEG_INFINITY] {
            let error = TargetSize::Scale(scale).validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Argument, "{scale}");
        }
        for side in [0, MAX_SIDE + 1, usize::MAX] {
            assert_eq!(TargetSize::Width(side).validate().unwrap_err().kind(), ErrorKind::Argument);
        }
    }

    #[test]
    fn a_result_too_long_is_a_limit_error() {
        let error = TargetSize::Scale(64.0).resolve(20_000, 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        let error = TargetSize::Width(1000).resolve(1, 100_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    }

    #[test]
    fn the_named_side_is_exact() {
        assert_eq!(TargetSize::Width(100).resolve(7, 3).unwrap(), (100, 43));
        assert_eq!(TargetSize::Height(100).resolve(7, 3).unwrap(), (233, 100));
        assert_eq!(TargetSize::LongSide(100).resolve(7, 3).unwrap(), (100, 43));
        assert_eq!(TargetSize::LongSide(100).resolve(3, 7).unwrap(), (43, 100));
        assert_eq!(TargetSize::ShortSide(100).resolve(7, 3).unwrap(), (233, 100));
        assert_eq!(TargetSize::ShortSide(100).resolve(3, 7).unwrap(), (100, 233));
        assert_eq!(TargetSize::Scale(0.1).resolve(1, 1).unwrap(), (1, 1));
    }

    proptest! {
        #[test]
        fn a_scale_rounds_each_side(width in 1usize..5000, height in 1usize..5000, scale in 0.01f64..16.0) {
            let (w, h) = TargetSize::Scale(scale).resolve(width, height).unwrap();
            prop_assert_eq!(w, ((width as f64 * scale).round() as usize).max(1));
            prop_assert_eq!(h, ((height as f64 * scale).round() as usize).max(1));
        }

        #[test]
        fn any_size_resolves_or_is_refused(width in any::<usize>(), height in any::<usize>(), scale in any::<f64>(), side in any::<usize>()) {
            for size in [
                TargetSize::Scale(scale),
                TargetSize::Width(side),
                TargetSize::Height(side),
                TargetSize::LongSide(side),
                TargetSize::ShortSide(side),
            ] {
                if let Ok((w, h)) = size.resolve(width, height) {
                    prop_assert!((1..=MAX_SIDE).contains(&w) && (1..=MAX_SIDE).contains(&h));
                }
            }
        }
    }
}
