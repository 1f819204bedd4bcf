//! DISTS: deep image structure and texture similarity.

use gendr_image::{Error, Planes, Result};

use super::{
    IMAGENET, check_size,
    features::Backbone,
    network_input,
    pooling::{Pool, Pooling},
    weights::Weights,
};
use crate::levels::check_pair;

/// DISTS (Ding, Ma, Wang and Simoncelli 2020).
///
/// From 0, lower is better. The picture itself and five layers of VGG16 with Hann-window pooling are compared channel by
/// channel: means (texture) with the weights `alpha`, correlations (structure) with `beta`.
#[derive(Clone, Debug)]
pub struct Dists {
    backbone: Backbone,
    /// Weight of each channel's means, adding to one with `beta`.
    alpha: Vec<f64>,
    beta: Vec<f64>,
}

impl Dists {
    /// With VGG16 under torchvision's names and `alpha` and `beta`, `[1, channels, 1, 1]`.
    ///
    /// # Errors
    /// An input error that names the tensor that is missing or has the wrong shape.
    pub fn new(weights: &Weights) -> Result<Self> {
        let backbone = Backbone::vgg16(weights)?.with_pooling(Pooling::padded(Pool::Hann, 3, 2));
        let channels = 3 + backbone.channels().iter().sum::<usize>();
        let read = |name: &str| -> Result<Vec<f64>> {
            let tensor = weights.get(&[name.to_owned()], 4)?;
            if tensor.data.len() != channels {
                return Err(Error::input(format!(
                    "{name} has the shape {:?}, not [1, {channels}, 1, 1]",
                    tensor.shape
                )));
            }
            Ok(tensor.data.iter().map(|&value| f64::from(value)).collect())
        };
        let (alpha, beta) = (read("alpha")?, read("beta")?);
        let sum = alpha.iter().chain(&beta).sum::<f64>();
        if sum <= 0.0 {
            return Err(Error::input("alpha and beta add to nothing"));
        }
        let shares = |weights: Vec<f64>| weights.into_iter().map(|weight| weight / sum).collect();
        Ok(Self { backbone, alpha: shares(alpha), beta: shares(beta) })
    }

    /// The dissimilarity of two pictures.
    ///
    /// # Errors
    /// Where the pictures differ in shape, are neither grey nor colour, hold values that are not finite, have a side
    /// under 16 pixels or more than 2^24 pixels.
    pub fn score(&self, output: &Planes, reference: &Planes) -> Result<f64> {
        check_pair(output, reference)?;
        check_size(output, self.backbone.least_side, "DISTS")?;
        let features = |picture: &Planes| -> Result<Vec<Planes>> {
            let mut features = vec![network_input(picture, |_, value| value)];
            features.extend(self.backbone.walk(&IMAGENET.input(picture))?);
            Ok(features)
        };
        let (a, b) = (features(output)?, features(reference)?);
        let pairs =
            a.iter().zip(&b).flat_map(|(a, b)| (0..a.channels()).map(move |c| (a.plane(c), b.plane(c))));
        let weights = self.alpha.iter().zip(&self.beta);
        let similar = pairs.zip(weights).map(|((a, b), (alpha, beta))| {
            let [texture, structure] = similarities(a, b);
            alpha * texture + beta * structure
        });
        Ok(1.0 - similar.sum::<f64>())
    }
}

/// Similarity of the means and of the structure of two maps.
fn similarities(a: &[f32], b: &[f32]) -> [f64; 2] {
    const C: f64 = 1e-6;
    let count = a.len() as f64;
    let mean = |map: &[f32]| map.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let (a_mean, b_mean) = (mean(a), mean(b));
    let (mut a_variance, mut b_variance, mut covariance) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a) - a_mean, f64::from(b) - b_mean);
        a_variance += a * a;
        b_variance += b * b;
        covariance += a * b;
    }
    let texture = (2.0 * a_mean * b_mean + C) / (a_mean * a_mean + b_mean * b_mean + C);
    let structure = (2.0 * covariance / count + C) / ((a_variance + b_variance) / count + C);
    [texture, structure]
}
