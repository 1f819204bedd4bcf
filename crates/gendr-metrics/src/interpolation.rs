//! Plain resampling of 8-bit pictures: what test sets are made with, and the methods that every restorer has to beat.

use gendr_image::{Planes, Resampling, Resize, Result};

use crate::levels::level;

/// A classic filter, as Pillow has it, to within one 8-bit step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Bicubic, a = -0.5.
    Bicubic,
    /// Lanczos with three lobes.
    Lanczos,
}

impl Interpolation {
    /// The filter of this name, `bicubic` or `lanczos`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "bicubic" => Some(Self::Bicubic),
            "lanczos" => Some(Self::Lanczos),
            _ => None,
        }
    }

    /// The picture, rounded to 8 bits, at `scale` times its size, in 8-bit steps.
    ///
    /// # Errors
    /// Where the picture is empty or the result has too many pixels.
    pub fn enlarge(self, picture: &Planes, scale: usize) -> Result<Planes> {
        let resampling = match self {
            Self::Bicubic => Resampling::PILLOW_BICUBIC,
            Self::Lanczos => Resampling::PILLOW_LANCZOS,
        };
        resample(picture, (picture.width() * scale, picture.height() * scale), resampling)
    }
}

/// The input that a test set of references stands for: cut at the right and at the bottom to a multiple of `scale`, then
/// shrunk by antialiased bicubic in 8-bit steps.
///
/// # Errors
/// Where the reference has a side under `scale` pixels.
pub fn shrink_reference(reference: &Planes, scale: usize) -> Result<Planes> {
    let scale = scale.max(1);
    let (width, height) = (reference.width() / scale, reference.height() / scale);
    let cut = reference.crop(0, 0, width * scale, height * scale)?;
    resample(&cut, (width, height), Resampling::PILLOW_BICUBIC)
}

fn resample(picture: &Planes, size: (usize, usize), resampling: Resampling) -> Result<Planes> {
    let resize = Resize::to_size((picture.width(), picture.height()), size, resampling)?;
    let mut data = Vec::with_capacity(picture.channels() * size.0 * size.1);
    for channel in 0..picture.channels() {
        let bytes: Vec<u8> =
            picture.plane(channel).iter().map(|&value| level(value).round_ties_even() as u8).collect();
        data.extend(resize.apply_bytes(&bytes)?.into_iter().map(|byte| f32::from(byte) / 255.0));
    }
    Planes::from_vec(picture.channels(), size.1, size.0, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_pictures_stay_flat_and_sizes_are_cut() {
        let flat = Planes::filled(3, 19, 22, 0.4);
        let small = shrink_reference(&flat, 4).unwrap();
        assert_eq!((small.width(), small.height()), (5, 4));
        for filter in ["bicubic", "lanczos"] {
            let large = Interpolation::named(filter).unwrap().enlarge(&small, 4).unwrap();
            assert_eq!((large.width(), large.height()), (20, 16));
            assert!(large.data().iter().all(|value| *value == 102.0 / 255.0));
        }
        assert!(shrink_reference(&Planes::filled(3, 3, 9, 0.5), 4).is_err());
        assert!(Interpolation::named("nearest").is_none());
    }
}
