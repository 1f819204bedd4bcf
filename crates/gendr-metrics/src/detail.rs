//! Is there as much detail as there should be, and is it true?

use gendr_image::{Error, Planes, Resampling, Result, resize};

use crate::{
    levels::{Levels, Luma, check_pair},
    window::{Border, blur, gaussian},
};

/// How the detail of an output compares with the reference's.
///
/// All on `Y`, [`Luma::StudioRange`], not rounded. The detail layer is `d(Y) = Y - up4(down4(Y))`, both antialiased
/// bicubic with a = -0.5: all that a quarter-size copy cannot hold. Two pictures without detail or
/// gradients have `dcor` 0. Source: this project.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetailScores {
    /// Cosine of the two detail layers, in `-1..=1`, higher is better: is the added detail true?
    pub dcor: f64,
    /// Mean of `|E(output) - E(reference)|`, `E = log2(G(d^2) + 1) / 2`, `G` a Gaussian of sigma 6 pixels; in octaves,
    /// from 0, lower is better: is there as much detail as there should be, where it should be?
    pub derr: f64,
    /// The detail score `dcor - derr / 2`; 1 is a perfect copy, higher is better.
    pub d: f64,
    /// log2 of the ratio of gradient energies, each + 0.5: negative is blurrier than the reference, positive crisper, 0
    /// is best.
    pub sharp: f64,
}

/// Compares the detail of an output with its reference's.
///
/// # Errors
/// Where the pictures differ in shape, are neither grey nor colour, hold values that are not finite, or have a side
/// under 4 pixels.
pub fn detail_scores(output: &Planes, reference: &Planes) -> Result<DetailScores> {
    check_pair(output, reference)?;
    detail_scores_of_luma(
        &Levels::luma(output, Luma::StudioRange)?,
        &Levels::luma(reference, Luma::StudioRange)?,
    )
}

pub(crate) fn detail_scores_of_luma(output: &Levels, reference: &Levels) -> Result<DetailScores> {
    let (a, b) = (detail_layer(output)?, detail_layer(reference)?);
    let products = |a: &Levels, b: &Levels| a.data.iter().zip(&b.data).map(|(a, b)| a * b).sum::<f64>();
    let dcor = products(&a, &b) / (products(&a, &a) * products(&b, &b) + 1e-9).sqrt();
    let (a, b) = (amplitude(&a), amplitude(&b));
    let distances = a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs());
    let derr = distances.sum::<f64>() / a.data.len() as f64;
    let sharp = (gradient_energy(output) / gradient_energy(reference)).log2();
    Ok(DetailScores { dcor, derr, d: dcor - derr / 2.0, sharp })
}

fn detail_layer(luma: &Levels) -> Result<Levels> {
    let (width, height) = (luma.width, luma.height);
    if width < 4 || height < 4 {
        return Err(Error::unsupported(format!(
            "detail scores need sides of at least 4 pixels, this picture is {width}x{height}"
        )));
    }
    let quarter = resize(&luma.to_planes()?, width / 4, height / 4, Resampling::PILLOW_BICUBIC)?;
    let smooth = resize(&quarter, width, height, Resampling::PILLOW_BICUBIC)?;
    let data =
        luma.data.iter().zip(smooth.data()).map(|(value, &smooth)| value - f64::from(smooth)).collect();
    Ok(Levels { width, height, data })
}

/// Local strength of the detail, in octaves above one grey level.
fn amplitude(detail: &Levels) -> Levels {
    let mut energy = blur(detail, &gaussian(24, 6.0), Border::Reflect, |value| value * value);
    for value in &mut energy.data {
        *value = (*value + 1.0).log2() / 2.0;
    }
    energy
}

/// Mean squared differences of neighbours, down and across, with a floor that keeps flat pictures comparable.
fn gradient_energy(luma: &Levels) -> f64 {
    let squares = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let (width, height) = (luma.width, luma.height);
    let across: f64 = (0..height).map(|y| squares(&luma.row(y)[1..], luma.row(y))).sum();
    let down = squares(&luma.data[width..], &luma.data);
    down / ((height - 1) * width) as f64 + across / (height * (width - 1)) as f64 + 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(width: usize, height: usize, contrast: f32) -> Planes {
        let value = |index: usize| {
            0.5 + contrast * if (index % width + index / width).is_multiple_of(2) { 0.5 } else { -0.5 }
        };
        Planes::from_vec(1, height, width, (0..width * height).map(value).collect()).unwrap()
    }

    #[test]
    fn the_reference_itself_scores_one() {
        let scores = detail_scores(&checks(33, 21, 0.8), &checks(33, 21, 0.8)).unwrap();
        assert!((scores.dcor - 1.0).abs() < 1e-9 && (scores.d - 1.0).abs() < 1e-9);
        assert_eq!((scores.derr, scores.sharp), (0.0, 0.0));
    }

    #[test]
    fn half_the_contrast_is_one_octave() {
        let scores = detail_scores(&checks(64, 64, 0.4), &checks(64, 64, 0.8)).unwrap();
        assert!((scores.derr - 1.0).abs() < 0.01, "{scores:?}");
        assert!((scores.sharp + 2.0).abs() < 0.01, "{scores:?}");
        assert!((scores.dcor - 1.0).abs() < 1e-6, "{scores:?}");
    }

    #[test]
    fn flat_and_tiny_pictures_are_defined_or_refused() {
        let flat = Planes::filled(3, 4, 4, 0.5);
        let scores = detail_scores(&flat, &flat).unwrap();
        assert!(scores.dcor.abs() < 1e-3 && scores.derr == 0.0 && scores.sharp == 0.0);
        let thin = Planes::filled(3, 3, 40, 0.5);
        assert!(detail_scores(&thin, &thin).is_err());
    }
}
