//! LPIPS: learned perceptual similarity of picture patches.

use gendr_image::{Error, Planes, Result};

use super::{check_size, features::Backbone, network_input, weights::Weights};
use crate::levels::check_pair;

/// LPIPS version 0.1 (Zhang, Isola, Efros, Shechtman and Wang 2018).
///
/// From 0, lower is better. Features are divided by their length over the channels; squared differences are weighted by
/// channel, averaged over the picture and added over five layers.
#[derive(Clone, Debug)]
pub struct Lpips {
    backbone: Backbone,
    /// Weights of the channels of each layer.
    linear: Vec<Vec<f32>>,
}

impl Lpips {
    /// With AlexNet under torchvision's names (`features.0.weight`) and the layers `lin0.model.1.weight` or `lin0.weight`.
    ///
    /// # Errors
    /// An input error that names the tensor that is missing or has the wrong shape.
    pub fn alex(weights: &Weights) -> Result<Self> {
        Self::new(Backbone::alexnet(weights)?, weights)
    }

    /// With VGG16.
    ///
    /// # Errors
    /// As [`Lpips::alex`].
    pub fn vgg(weights: &Weights) -> Result<Self> {
        Self::new(Backbone::vgg16(weights)?, weights)
    }

    pub(super) fn new(backbone: Backbone, weights: &Weights) -> Result<Self> {
        let linear = |(layer, channels): (usize, usize)| {
            let names = [format!("lin{layer}.model.1.weight"), format!("lin{layer}.weight")];
            let tensor = weights.get(&names, 4)?;
            if tensor.data.len() != channels {
                let message =
                    format!("lin{layer} has the shape {:?}, not [1, {channels}, 1, 1]", tensor.shape);
                return Err(Error::input(message));
            }
            Ok(tensor.data)
        };
        let linear = backbone.channels().into_iter().enumerate().map(linear).collect::<Result<_>>()?;
        Ok(Self { backbone, linear })
    }

    /// The distance of two pictures.
    ///
    /// # Errors
    /// Where the pictures differ in shape, are neither grey nor colour, hold values that are not finite, are smaller than the
    /// network's reach (31 pixels for AlexNet, 16 for VGG16) or have more than 2^24 pixels.
    pub fn score(&self, output: &Planes, reference: &Planes) -> Result<f64> {
        Ok(self.layers(output, reference)?.iter().sum())
    }

    /// The terms of the five layers, whose sum is the score.
    ///
    /// # Errors
    /// As [`Lpips::score`].
    pub fn layers(&self, output: &Planes, reference: &Planes) -> Result<Vec<f64>> {
        check_pair(output, reference)?;
        check_size(output, self.backbone.least_side, "LPIPS")?;
        let features = |picture: &Planes| {
            let input = network_input(picture, |channel, value| {
                const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
                const SCALE: [f32; 3] = [0.458, 0.448, 0.450];
                (value * 2.0 - 1.0 - SHIFT[channel]) / SCALE[channel]
            });
            self.backbone.walk(&input)
        };
        let (a, b) = (features(output)?, features(reference)?);
        Ok(a.iter().zip(&b).zip(&self.linear).map(|((a, b), weights)| distance(a, b, weights)).collect())
    }
}

fn distance(a: &Planes, b: &Planes, weights: &[f32]) -> f64 {
    let [a_length, b_length] = [a, b].map(lengths);
    let area = a.height() * a.width();
    let mut sum = 0.0;
    for (channel, &weight) in weights.iter().enumerate() {
        let values = a.plane(channel).iter().zip(b.plane(channel)).zip(a_length.iter().zip(&b_length));
        let squares = values.map(|((&a, &b), (a_length, b_length))| {
            let difference = f64::from(a) / a_length - f64::from(b) / b_length;
            difference * difference
        });
        sum += f64::from(weight) * squares.sum::<f64>();
    }
    sum / area as f64
}

/// Length over the channels at each place.
fn lengths(maps: &Planes) -> Vec<f64> {
    let mut squares = vec![0.0; maps.height() * maps.width()];
    for channel in 0..maps.channels() {
        for (sum, &value) in squares.iter_mut().zip(maps.plane(channel)) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    squares.into_iter().map(|sum| sum.sqrt() + 1e-10).collect()
}
