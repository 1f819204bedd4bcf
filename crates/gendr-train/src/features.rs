//! Networks that were trained elsewhere and look at pictures while others are trained: VGG16 and AlexNet for perceptual
//! distances, DINOv2 for alignment. Their weights come from files in their public layouts and stay as they are; gradients flow
//! through them to the picture.

mod convolutional;
mod dinov2;
mod perceptual;
mod resample;
mod weights;

pub use convolutional::{Backbone, ConvolutionalFeatures};
pub use dinov2::Dinov2;
pub use perceptual::{PerceptualDistance, feature_distance};
pub use resample::{resample, resampling_matrix};
