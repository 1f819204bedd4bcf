//! NIQE: how far the statistics of a picture's patches are from those of pristine photographs.

mod features;
mod gaussian_fit;
mod symmetric;

use std::path::Path;

use gendr_image::{Error, Limits, Planes, Result};
use serde::{Deserialize, Serialize};

use crate::{
    levels::{Levels, Luma},
    pairing::pictures_in,
};
use features::{BLOCK, Block, COUNT, Features, blocks};

/// A block serves the fit of a model where its mean local contrast passes this share of the picture's sharpest block.
const SHARP_ENOUGH: f64 = 0.75;

/// Mean and covariance of the 36 features over the blocks of pristine pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredModel")]
pub struct NiqeModel {
    mean: Vec<f64>,
    covariance: Vec<f64>,
}

/// As [`NiqeModel`], not yet checked.
#[derive(Deserialize)]
struct StoredModel {
    mean: Vec<f64>,
    covariance: Vec<f64>,
}

impl TryFrom<StoredModel> for NiqeModel {
    type Error = Error;

    fn try_from(stored: StoredModel) -> Result<Self> {
        Self::new(stored.mean, stored.covariance)
    }
}

impl NiqeModel {
    /// A model of `mean`, 36 numbers, and `covariance`, 36 rows of 36.
    ///
    /// # Errors
    /// An input error where the numbers are too few, too many or not finite, or the covariance is not symmetric.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self> {
        if mean.len() != COUNT || covariance.len() != COUNT * COUNT {
            return Err(Error::input(format!(
                "a NIQE model has {COUNT} means and {} covariances, not {} and {}",
                COUNT * COUNT,
                mean.len(),
                covariance.len()
            )));
        }
        if !mean.iter().chain(&covariance).all(|value| value.is_finite()) {
            return Err(Error::input("a NIQE model holds values that are not finite numbers"));
        }
        let symmetric = (0..COUNT * COUNT).all(|index| {
            let (a, b) = (covariance[index], covariance[index % COUNT * COUNT + index / COUNT]);
            (a - b).abs() <= 1e-9 * (1.0 + a.abs())
        });
        if !symmetric {
            return Err(Error::input("the covariance of a NIQE model is not symmetric"));
        }
        Ok(Self { mean, covariance })
    }

    /// The 36 means.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance, 36 rows of 36.
    pub fn covariance(&self) -> &[f64] {
        &self.covariance
    }

    /// The model that the authors of NIQE published.
    pub fn published() -> Self {
        serde_json::from_str(include_str!("niqe/pristine.json"))
            .expect("the model shipped with the crate is sound")
    }

    /// The model in the JSON file at `path`, an object of `mean` and `covariance`, or one fitted on the pictures of the folder at
    /// `path` ([`NiqeModel::fit`]).
    ///
    /// # Errors
    /// An input error where the file or folder cannot be read or holds no sound model; those of [`NiqeModel::fit`].
    pub fn open(path: &Path, luma: Luma) -> Result<Self> {
        if path.is_dir() {
            let pictures = pictures_in(path)?.into_iter();
            let colors = pictures.map(|picture| Ok(gendr_image::read(&picture, &Limits::default())?.color));
            return Self::fit(colors, luma);
        }
        let text = gendr_image::read_file(path, &Limits::default())?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::input(format!("no NIQE model: {error}")).with_source(error).at(path))
    }

    /// Fits a model on pristine pictures, one at a time, with the luma it will be used on. As the authors did, only blocks
    /// count whose mean local contrast passes 0.75 of the sharpest block's in the same picture. Pictures under 96x96
    /// give no block.
    ///
    /// # Errors
    /// The first error that `pictures` gives, and an input error where they hold fewer than 37 textured blocks.
    pub fn fit(pictures: impl IntoIterator<Item = Result<Planes>>, luma: Luma) -> Result<Self> {
        let mut chosen: Vec<Features> = Vec::new();
        for picture in pictures {
            let blocks = blocks(Levels::luma(&picture?, luma)?.rounded())?;
            let sharpest = blocks.iter().map(|block| block.contrast).fold(0.0, f64::max);
            let sharp = blocks.into_iter().filter(|block| block.contrast > SHARP_ENOUGH * sharpest);
            chosen.extend(sharp.map(|block| block.features).filter(is_complete));
        }
        if chosen.len() <= COUNT {
            return Err(Error::input(format!(
                "a NIQE model needs at least {} textured blocks of {BLOCK}x{BLOCK} pixels, the pictures hold {}",
                COUNT + 1,
                chosen.len()
            )));
        }
        let mean = (0..COUNT).map(|feature| mean_of(&chosen, feature)).collect();
        Self::new(mean, covariance(&chosen))
    }
}

/// NIQE (Mittal, Soundararajan and Bovik 2013), a score without a reference.
///
/// From 0, lower is better; sharp photographs have 3 to 6. The picture is cut to whole blocks of 96x96 pixels of
/// rounded luma; each gives 18 features at full and at half size (antialiased bicubic) from fits of generalised
/// Gaussians to mean-subtracted contrast-normalised values (7x7 Gaussian window of sigma 7/6, borders repeated) and to their
/// products with four neighbours. The score is the Mahalanobis distance of the blocks' mean from the model's mean
/// under the average of both covariances. Flat blocks, which have no fit, are left out; with few blocks the score
/// says little. Inside flat places the sign of rounding errors counts as left or right of the middle, in every
/// implementation after its own order of additions: on pictures with such places they differ by up to 0.2.
#[derive(Clone, Debug)]
pub struct Niqe {
    model: NiqeModel,
    luma: Luma,
}

impl Niqe {
    /// With the published model on full-range luma, as pyiqa computes it.
    pub fn published() -> Self {
        Self::new(NiqeModel::published(), Luma::FullRange)
    }

    /// With any model, on the luma it was fitted on.
    pub fn new(model: NiqeModel, luma: Luma) -> Self {
        Self { model, luma }
    }

    /// Scores a picture.
    ///
    /// # Errors
    /// Where the picture is neither grey nor colour, holds values that are not finite, or has fewer than two textured
    /// blocks of 96x96 pixels.
    pub fn score(&self, picture: &Planes) -> Result<f64> {
        let blocks = blocks(Levels::luma(picture, self.luma)?.rounded())?;
        let all: Vec<Features> = blocks.into_iter().map(|block: Block| block.features).collect();
        let complete: Vec<Features> = all.iter().copied().filter(is_complete).collect();
        if complete.len() < 2 {
            return Err(Error::unsupported(format!(
                "NIQE needs two textured blocks of {BLOCK}x{BLOCK} pixels, this picture of {}x{} has {}",
                picture.width(),
                picture.height(),
                complete.len()
            )));
        }
        // The mean takes what is known of incomplete blocks too, as the published implementations do.
        let difference: Vec<f64> =
            (0..COUNT).map(|feature| self.model.mean[feature] - mean_of(&all, feature)).collect();
        let average: Vec<f64> =
            self.model.covariance.iter().zip(covariance(&complete)).map(|(a, b)| (a + b) / 2.0).collect();
        Ok(symmetric::inverse_form(&average, &difference).max(0.0).sqrt())
    }
}

fn is_complete(features: &Features) -> bool {
    features.iter().all(|value| value.is_finite())
}

/// Mean of one feature over the blocks that have it.
fn mean_of(blocks: &[Features], feature: usize) -> f64 {
    let known = blocks.iter().map(|block| block[feature]).filter(|value| !value.is_nan());
    let (sum, count) = known.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

/// Unbiased covariance of complete features.
fn covariance(blocks: &[Features]) -> Vec<f64> {
    let mean: Vec<f64> = (0..COUNT).map(|feature| mean_of(blocks, feature)).collect();
    let mut sums = vec![0.0; COUNT * COUNT];
    for block in blocks {
        for (row, sums) in sums.chunks_exact_mut(COUNT).enumerate() {
            for (column, sum) in sums.iter_mut().enumerate() {
                *sum += (block[row] - mean[row]) * (block[column] - mean[column]);
            }
        }
    }
    sums.iter().map(|sum| sum / (blocks.len() - 1) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture with structure at several scales.
    fn textured(width: usize, height: usize, seed: u32) -> Planes {
        let mut state = seed;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        let value = |index: usize| {
            let (x, y) = ((index % width) as f32, (index / width) as f32);
            0.5 + 0.3 * (x * 0.07).sin() * (y * 0.05).cos() + 0.2 * (random() - 0.5)
        };
        Planes::from_vec(1, height, width, (0..width * height).map(value).collect()).unwrap()
    }

    #[test]
    fn small_and_flat_pictures_are_refused() {
        let niqe = Niqe::published();
        assert!(niqe.score(&textured(95, 400, 1)).is_err());
        assert!(niqe.score(&textured(100, 100, 1)).is_err());
        assert!(niqe.score(&Planes::filled(3, 300, 300, 0.5)).is_err());
        assert!(niqe.score(&textured(96, 192, 1)).unwrap().is_finite());
    }

    #[test]
    fn a_refitted_model_finds_its_own_pictures_natural() {
        let pictures = || (0..8).map(|seed| Ok(textured(480, 480, seed)));
        let model = NiqeModel::fit(pictures(), Luma::FullRange).unwrap();
        let niqe = Niqe::new(model.clone(), Luma::FullRange);
        assert!(
            niqe.score(&textured(480, 480, 100)).unwrap()
                < Niqe::published().score(&textured(480, 480, 100)).unwrap()
        );
        let stored = serde_json::to_string(&model).unwrap();
        let back: NiqeModel = serde_json::from_str(&stored).unwrap();
        assert!(back.mean.iter().zip(&model.mean).all(|(a, b)| (a - b).abs() <= 1e-14 * b.abs()));
        assert!(NiqeModel::fit(pictures().take(1), Luma::FullRange).is_err());
    }

    #[test]
    fn damaged_models_are_refused() {
        let sound = NiqeModel::published();
        assert!(NiqeModel::new(vec![0.0; 35], sound.covariance.clone()).is_err());
        assert!(NiqeModel::new(vec![f64::NAN; 36], sound.covariance.clone()).is_err());
        let mut crooked = sound.covariance.clone();
        crooked[1] += 1.0;
        assert!(NiqeModel::new(sound.mean, crooked).is_err());
        assert!(serde_json::from_str::<NiqeModel>("{\"mean\": [1], \"covariance\": []}").is_err());
    }
}
