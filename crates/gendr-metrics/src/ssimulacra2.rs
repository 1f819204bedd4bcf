//! SSIMULACRA2.

use gendr_image::{Error, Planes, Result};
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

use crate::levels::check_pair;

/// SSIMULACRA2 version 2.1 (Cloudinary), by the crate `ssimulacra2`, of sRGB pictures.
///
/// At most 100, higher is better; 90 cannot be told from the reference side by side, 70 is high quality, 30 low, below 0
/// very strong distortion. It is built for compression and favours blurry restorations. Single precision and the
/// recursive blur of the original, zeros outside the picture: within 0.04 of double precision. Programs that blur with a
/// truncated Gaussian instead differ by up to 2, and by up to 5 where they mirror the picture at its sides.
///
/// # Errors
/// Where the pictures differ in shape, are neither grey nor colour, hold values that are not finite, or have a side
/// under 8 pixels.
pub fn ssimulacra2(output: &Planes, reference: &Planes) -> Result<f64> {
    check_pair(output, reference)?;
    if output.width() < 8 || output.height() < 8 {
        return Err(Error::unsupported(format!(
            "SSIMULACRA2 needs sides of at least 8 pixels, this picture is {}x{}",
            output.width(),
            output.height()
        )));
    }
    let score = compute_frame_ssimulacra2(pixels(reference)?, pixels(output)?);
    score.map_err(|error| Error::unsupported(error.to_string()).with_source(error))
}

fn pixels(picture: &Planes) -> Result<Rgb> {
    let [red, green, blue] = [0, 1, 2].map(|channel| picture.plane(channel.min(picture.channels() - 1)));
    let clamp = |value: f32| value.clamp(0.0, 1.0);
    let data = red.iter().zip(green).zip(blue).map(|((&r, &g), &b)| [clamp(r), clamp(g), clamp(b)]).collect();
    Rgb::new(data, picture.width(), picture.height(), TransferCharacteristic::SRGB, ColorPrimaries::BT709)
        .map_err(|error| Error::unsupported(error.to_string()).with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pictures_score_a_hundred_and_tiny_ones_are_refused() {
        for channels in [1, 3] {
            let picture = Planes::filled(channels, 8, 9, 0.4);
            assert_eq!(ssimulacra2(&picture, &picture).unwrap(), 100.0);
        }
        let tiny = Planes::filled(3, 7, 90, 0.4);
        assert!(ssimulacra2(&tiny, &tiny).is_err());
    }
}
