//! Peak signal-to-noise ratio.

use gendr_image::{Error, Planes, Resampling, Result, resize};
use gendr_kernels::{PlainLoops, vectorized};

use crate::levels::{CHUNK, Levels, Luma, check_pair, check_shapes};

/// What two equal pictures score, for which the formula has no finite value; also the highest score there is, in dB.
pub const PSNR_CEILING: f64 = 100.0;

/// PSNR over all pixels and channels: `10 log10(255^2 / MSE)` on the 8-bit scale.
///
/// In dB, higher is better, at most [`PSNR_CEILING`]. Values are not rounded or clamped.
///
/// # Errors
/// Where the pictures differ in shape, are neither grey nor colour, or hold values that are not finite.
pub fn psnr(output: &Planes, reference: &Planes) -> Result<f64> {
    check_shapes(output, reference)?;
    let error = mean_squared_difference(output.data(), reference.data());
    if !error.is_finite() {
        check_pair(output, reference)?;
    }
    Ok(decibels(error * 255.0 * 255.0))
}

/// [`psnr()`] of 8-bit samples in any order that both have in common, without a step through floating point.
///
/// In dB, higher is better, at most [`PSNR_CEILING`].
///
/// # Errors
/// Where the lengths differ or there is no sample.
pub fn psnr_of_bytes(output: &[u8], reference: &[u8]) -> Result<f64> {
    if output.len() != reference.len() || output.is_empty() {
        let (output, reference) = (output.len(), reference.len());
        return Err(Error::argument(format!("{output} samples cannot be compared with {reference}")));
    }
    let parts = output.chunks(CHUNK).zip(reference.chunks(CHUNK));
    let sum: u64 = parts.map(|(a, b)| vectorized(SquaredByteDifferences { a, b })).sum();
    Ok(decibels(sum as f64 / output.len() as f64))
}

/// PSNR of [`Luma::StudioRange`] with a peak of 255, the "PSNR-Y" of the super-resolution literature. Y is not rounded.
///
/// In dB, higher is better, at most [`PSNR_CEILING`].
///
/// # Errors
/// As [`psnr`].
pub fn psnr_y(output: &Planes, reference: &Planes) -> Result<f64> {
    check_pair(output, reference)?;
    Ok(psnr_of_luma(&Levels::luma(output, Luma::StudioRange)?, &Levels::luma(reference, Luma::StudioRange)?))
}

/// Low-resolution consistency: the [`psnr`] of the output, shrunk to the input's size by antialiased bicubic
/// (a = -0.5), against the input ("LR-PSNR" of the NTIRE challenge on learning the super-resolution space, 2021).
///
/// In dB, higher is better: how far the output is a possible original of the input. Above 45 nothing was changed that
/// the input shows.
///
/// # Errors
/// As [`psnr`], and where the output is smaller than the input.
pub fn low_resolution_psnr(output: &Planes, input: &Planes) -> Result<f64> {
    if output.width() < input.width() || output.height() < input.height() {
        return Err(Error::argument(format!(
            "the output, {}x{}, is smaller than the input, {}x{}",
            output.width(),
            output.height(),
            input.width(),
            input.height()
        )));
    }
    psnr(&resize(output, input.width(), input.height(), Resampling::PILLOW_BICUBIC)?, input)
}

pub(crate) fn psnr_of_luma(output: &Levels, reference: &Levels) -> f64 {
    decibels(mean_squared_difference(&output.data, &reference.data))
}

fn decibels(mean_squared_error: f64) -> f64 {
    (10.0 * (255.0 * 255.0 / mean_squared_error).log10()).min(PSNR_CEILING)
}

/// On one thread: several would wait for the same memory, and longer for each other.
fn mean_squared_difference<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    let parts = a.chunks(CHUNK).zip(b.chunks(CHUNK));
    parts.map(|(a, b)| vectorized(SquaredDifferences { a, b })).sum::<f64>() / a.len() as f64
}

struct SquaredDifferences<'a, T> {
    a: &'a [T],
    b: &'a [T],
}

impl<T: Copy + Into<f64>> PlainLoops for SquaredDifferences<'_, T> {
    type Output = f64;

    /// Many running sums, because a single one would wait for every addition.
    #[inline(always)]
    fn run(self) -> f64 {
        const SUMS: usize = 32;
        let square = |a: T, b: T| {
            let difference = a.into() - b.into();
            difference * difference
        };
        let (a_parts, a_rest) = self.a.as_chunks::<SUMS>();
        let (b_parts, b_rest) = self.b.as_chunks::<SUMS>();
        let mut sums = [0.0; SUMS];
        for (a, b) in a_parts.iter().zip(b_parts) {
            for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum += square(a, b);
            }
        }
        sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(&a, &b)| square(a, b)).sum::<f64>()
    }
}

/// Of at most [`CHUNK`] bytes each, so that 32 bits hold a running sum.
struct SquaredByteDifferences<'a> {
    a: &'a [u8],
    b: &'a [u8],
}

impl PlainLoops for SquaredByteDifferences<'_> {
    type Output = u64;

    #[inline(always)]
    fn run(self) -> u64 {
        let square = |a: u8, b: u8| {
            let difference = u16::from(a.abs_diff(b)); // 16 bits wide: sums of products of these are one instruction
            u32::from(difference) * u32::from(difference)
        };
        u64::from(self.a.iter().zip(self.b).map(|(&a, &b)| square(a, b)).sum::<u32>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_score_as_the_picture_they_make() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for (width, height) in [(1, 1), (7, 5), (40, 33), (211, 97)] {
            let [output, reference] =
                [0; 2].map(|_| (0..3 * width * height).map(|_| random()).collect::<Vec<u8>>());
            let picture = |bytes: &[u8]| {
                let data = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
                Planes::from_vec(3, height, width, data).unwrap()
            };
            let wanted = psnr(&picture(&output), &picture(&reference)).unwrap();
            assert!((psnr_of_bytes(&output, &reference).unwrap() - wanted).abs() < 1e-5);
            assert_eq!(psnr_of_bytes(&output, &output).unwrap(), PSNR_CEILING);
        }
        assert_eq!(psnr_of_bytes(&[0; 100_000], &[255; 100_000]).unwrap(), 0.0);
        assert!(psnr_of_bytes(&[], &[]).is_err() && psnr_of_bytes(&[1], &[1, 2]).is_err());
    }

    #[test]
    fn a_known_error_gives_the_known_figure() {
        let reference = Planes::filled(3, 7, 5, 0.5);
        let output = Planes::filled(3, 7, 5, 0.6);
        assert!((psnr(&output, &reference).unwrap() - 20.0).abs() < 1e-5);
        let one_pixel = |value| Planes::filled(1, 1, 1, value);
        assert!(psnr(&one_pixel(f32::NAN), &one_pixel(1.0)).is_err());
        assert!(psnr(&one_pixel(0.0), &one_pixel(1.0)).unwrap().abs() < 1e-9);
    }

    #[test]
    fn equal_pictures_reach_the_ceiling() {
        let picture = Planes::filled(3, 40, 50, 0.3);
        assert_eq!(psnr(&picture, &picture).unwrap(), PSNR_CEILING);
        assert_eq!(psnr_y(&picture, &picture).unwrap(), PSNR_CEILING);
    }

    #[test]
    fn a_flat_output_of_the_same_colour_is_consistent() {
        let input = Planes::filled(3, 3, 5, 0.25);
        assert!(low_resolution_psnr(&Planes::filled(3, 12, 20, 0.25), &input).unwrap() > 99.0);
        assert!((low_resolution_psnr(&Planes::filled(3, 12, 20, 0.35), &input).unwrap() - 20.0).abs() < 1e-4);
        assert!(low_resolution_psnr(&input, &Planes::filled(3, 12, 20, 0.25)).is_err());
    }
}
