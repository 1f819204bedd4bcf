//! FID: the distance of two sets of pictures by the distributions of their features.

use gendr_image::{Planes, Resampling, Result, resize};

use super::{check_size, inception::Inception, network_input, weights::Weights};
use crate::levels::check_picture;

/// Side of the pictures that the network sees.
const SIDE: usize = 299;
/// Side of a patch, in pixels.
const PATCH: usize = 256;

/// FID (Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter 2017), resized as in clean-fid (Parmar, Zhang and Zhu 2022).
///
/// From 0 up, lower is better: the Fréchet distance of two normal distributions with the means and covariances of 2048 features
/// of Inception v3. With few pictures it is much too large and comparable only between sets of equal size: 10,000
/// pictures are usual.
#[derive(Clone, Debug)]
pub struct Fid {
    network: Inception,
    patches: bool,
}

impl Fid {
    /// Of whole pictures, with the parameter names of pytorch-fid.
    ///
    /// # Errors
    /// An input error that names the tensor that is missing or has the wrong shape.
    pub fn new(weights: &Weights) -> Result<Self> {
        Ok(Self { network: Inception::read(weights)?, patches: false })
    }

    /// Of patches of 256x256 pixels: a grid over the picture, and the same grid moved by 128 pixels (Mentzer, Toderici, Tschannen
    /// and Agustsson 2020).
    ///
    /// # Errors
    /// As [`Fid::new`].
    pub fn of_patches(weights: &Weights) -> Result<Self> {
        Ok(Self { patches: true, ..Self::new(weights)? })
    }

    /// Length of the features of a picture or patch.
    pub fn width(&self) -> usize {
        self.network.channels()
    }

    /// The features of a picture, or of its patches, one after another.
    ///
    /// # Errors
    /// Where the picture is neither grey nor colour, holds values that are not finite, has more than 2^24 pixels, or
    /// has a side under 256 pixels where patches are looked at.
    pub fn features(&self, picture: &Planes) -> Result<Vec<f32>> {
        check_picture(picture)?;
        if !self.patches {
            check_size(picture, 1, "FID")?;
            return self.look(picture);
        }
        check_size(picture, PATCH, "patch-FID")?;
        let places = |length: usize, shift: usize| (shift..=length - PATCH).step_by(PATCH);
        let mut features = Vec::new();
        for shift in [0, PATCH / 2] {
            for y in places(picture.height(), shift) {
                for x in places(picture.width(), shift) {
                    features.extend(self.look(&picture.crop(x, y, PATCH, PATCH)?)?);
                }
            }
        }
        Ok(features)
    }

    fn look(&self, picture: &Planes) -> Result<Vec<f32>> {
        // Resized in floating point, cut to the range of bytes, and scaled as TensorFlow scales bytes.
        let levels = network_input(picture, |_, value| value * 255.0);
        let mut input = resize(&levels, SIDE, SIDE, Resampling::PILLOW_BICUBIC)?;
        input.map_in_place(|value| (value.clamp(0.0, 255.0) - 128.0) / 128.0);
        self.network.features(&input)
    }
}
