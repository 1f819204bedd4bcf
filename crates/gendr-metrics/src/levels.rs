//! Pictures as the metrics see them: f64 on the 8-bit scale.

use gendr_image::{Error, Planes, Result};
use rayon::prelude::*;

/// Values one task converts, and the unit in which sums are formed, so that they do not depend on the thread count.
pub(crate) const CHUNK: usize = 1 << 14;

/// Which luma a metric is taken on, both from R, G and B in `0..=255`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Luma {
    /// `Y = (65.481 R + 128.553 G + 24.966 B) / 255 + 16`, in `16..=235`: BT.601 as MATLAB's `rgb2ycbcr` has it.
    StudioRange,
    /// `Y = 0.299 R + 0.587 G + 0.114 B`, in `0..=255`.
    FullRange,
}

impl Luma {
    fn of(self, red: f64, green: f64, blue: f64) -> f64 {
        match self {
            Self::StudioRange => (65.481 * red + 128.553 * green + 24.966 * blue) / 255.0 + 16.0,
            Self::FullRange => 0.299 * red + 0.587 * green + 0.114 * blue,
        }
    }
}

/// One plane on the 8-bit scale, row by row.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) data: Vec<f64>,
}

impl Levels {
    /// The luma of a grey or colour picture.
    pub(crate) fn luma(picture: &Planes, luma: Luma) -> Result<Self> {
        check_picture(picture)?;
        let [red, green, blue] = [0, 1, 2].map(|channel| picture.plane(channel.min(picture.channels() - 1)));
        let mut data = vec![0.0; red.len()];
        data.par_chunks_mut(CHUNK)
            .zip(red.par_chunks(CHUNK).zip(green.par_chunks(CHUNK)).zip(blue.par_chunks(CHUNK)))
            .for_each(|(output, ((red, green), blue))| {
                for (((value, &r), &g), &b) in output.iter_mut().zip(red).zip(green).zip(blue) {
                    *value = luma.of(level(r), level(g), level(b));
                }
            });
        Ok(Self { width: picture.width(), height: picture.height(), data })
    }

    /// Rounds every value to the nearest whole number, halves to even.
    pub(crate) fn rounded(mut self) -> Self {
        for value in &mut self.data {
            *value = whole(*value);
        }
        self
    }

    pub(crate) fn row(&self, y: usize) -> &[f64] {
        &self.data[y * self.width..(y + 1) * self.width]
    }

    /// The same values as single precision planes, for resampling.
    pub(crate) fn to_planes(&self) -> Result<Planes> {
        Planes::from_vec(1, self.height, self.width, self.data.iter().map(|&value| value as f32).collect())
    }
}

/// Cuts `border` pixels from every side, as papers on super-resolution do before they score.
///
/// # Errors
/// An unsupported-picture error where nothing would remain.
pub fn crop_border(picture: &Planes, border: usize) -> Result<Planes> {
    let inner = |side: usize| side.checked_sub(border.checked_mul(2)?).filter(|&side| side > 0);
    match (inner(picture.width()), inner(picture.height())) {
        (Some(width), Some(height)) => picture.crop(border, border, width, height),
        _ => Err(Error::unsupported(format!(
            "a border of {border} pixels leaves nothing of {}x{}",
            picture.width(),
            picture.height()
        ))),
    }
}

/// Refuses anything but a non-empty grey or colour picture of finite numbers.
pub(crate) fn check_picture(picture: &Planes) -> Result<()> {
    check_shape(picture)?;
    // The largest exponent, and it alone, marks infinities and NaN.
    let largest = picture.data().iter().fold(0, |largest: u32, value| largest.max(value.abs().to_bits()));
    if largest >= f32::INFINITY.to_bits() {
        return Err(Error::input("the picture holds values that are not finite numbers"));
    }
    Ok(())
}

fn check_shape(picture: &Planes) -> Result<()> {
    if !matches!(picture.channels(), 1 | 3) {
        let message = format!("a picture of {} planes is neither grey nor colour", picture.channels());
        return Err(Error::argument(message).with_hint("score the colour planes and the alpha plane apart"));
    }
    if picture.data().is_empty() {
        return Err(Error::argument("the picture has no pixels"));
    }
    Ok(())
}

/// Refuses two pictures that differ in shape or cannot be scored.
pub(crate) fn check_pair(output: &Planes, reference: &Planes) -> Result<()> {
    check_shapes(output, reference)?;
    check_picture(output)?;
    check_picture(reference)
}

/// As [`check_pair`], but does not look at the values.
pub(crate) fn check_shapes(output: &Planes, reference: &Planes) -> Result<()> {
    let shape = |picture: &Planes| (picture.width(), picture.height(), picture.channels());
    if shape(output) != shape(reference) {
        return Err(Error::argument(format!(
            "the pictures differ: {}x{} with {} planes and {}x{} with {}",
            output.width(),
            output.height(),
            output.channels(),
            reference.width(),
            reference.height(),
            reference.channels()
        )));
    }
    check_shape(output)
}

/// The nearest whole number, halves to even; for magnitudes under 2^51. Unlike `round_ties_even` it needs no library call
/// on any processor.
pub(crate) fn whole(value: f64) -> f64 {
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    (value + SHIFT) - SHIFT
}

/// A sample in `0..=1` on the 8-bit scale. In single precision, where samples that came from bytes become whole again.
pub(crate) fn level(sample: f32) -> f64 {
    f64::from(sample * 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whole_and_finer_samples_stay() {
        for byte in 0..=255_u8 {
            assert_eq!(level(f32::from(byte) / 255.0), f64::from(byte));
        }
        assert!((level(1000.0 / 65535.0) - 1000.0 / 257.0).abs() < 1e-6);
    }

    #[test]
    fn halves_round_to_even() {
        assert_eq!([0.5, 1.5, 2.5, -0.5, 254.5].map(whole), [0.0, 2.0, 2.0, 0.0, 254.0]);
    }

    #[test]
    fn grey_has_the_luma_of_equal_channels() {
        let grey = Planes::from_vec(1, 1, 3, vec![0.0, 0.5, 1.0]).unwrap();
        let rgb = Planes::from_vec(3, 1, 3, [0.0, 0.5, 1.0].repeat(3)).unwrap();
        for luma in [Luma::StudioRange, Luma::FullRange] {
            assert_eq!(Levels::luma(&grey, luma).unwrap().data, Levels::luma(&rgb, luma).unwrap().data);
        }
    }

    #[test]
    fn pictures_that_cannot_be_scored_are_refused() {
        assert!(check_picture(&Planes::filled(4, 2, 2, 0.5)).is_err());
        assert!(check_picture(&Planes::filled(3, 0, 2, 0.5)).is_err());
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(check_picture(&Planes::filled(3, 2, 2, value)).is_err());
        }
        assert!(check_pair(&Planes::filled(3, 2, 2, 0.5), &Planes::filled(3, 2, 3, 0.5)).is_err());
        assert!(check_pair(&Planes::filled(3, 2, 2, 0.5), &Planes::filled(1, 2, 2, 0.5)).is_err());
    }

    #[test]
    fn a_border_that_eats_the_picture_is_refused() {
        let picture = Planes::filled(3, 9, 12, 0.5);
        assert_eq!(
            (crop_border(&picture, 4).unwrap().width(), crop_border(&picture, 4).unwrap().height()),
            (4, 1)
        );
        assert!(crop_border(&picture, 5).is_err());
        assert!(crop_border(&picture, usize::MAX).is_err());
    }
}
