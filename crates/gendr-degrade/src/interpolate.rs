//! Resizing without antialiasing, as training pipelines do it.

use gendr_image::{Planes, Resampling, Resize, Result};
use serde::{Deserialize, Serialize};

/// How values between pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterpolationMode {
    /// Mean of the source pixels that an output pixel touches.
    Area,
    /// Two pixels an axis.
    Bilinear,
    /// Four pixels an axis, Keys' kernel with a = -0.75.
    Bicubic,
}

/// Resizes every plane to `size` (height, width).
///
/// `scale_factor` gives the distance of samples, which differs slightly from the ratio of the sizes when that had to be
/// rounded; `None` takes the ratio. The area mode goes by the sizes alone.
///
/// # Errors
/// An argument error where a side is zero or the factor does not bring one size to the other.
pub fn interpolate(
    picture: &Planes,
    size: [usize; 2],
    scale_factor: Option<f64>,
    mode: InterpolationMode,
) -> Result<Planes> {
    let resampling = match mode {
        InterpolationMode::Area => Resampling::TORCH_AREA,
        InterpolationMode::Bilinear => Resampling::TORCH_BILINEAR,
        InterpolationMode::Bicubic => Resampling::TORCH_BICUBIC,
    };
    let (input, output) = ((picture.width(), picture.height()), (size[1], size[0]));
    let plan = match scale_factor.filter(|_| mode != InterpolationMode::Area) {
        Some(factor) => Resize::by_factor(input, output, factor, resampling),
        None => Resize::to_size(input, output, resampling),
    };
    plan?.apply(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_cannot_be_resized() {
        let picture = Planes::filled(1, 4, 4, 0.0);
        assert!(interpolate(&picture, [0, 4], None, InterpolationMode::Area).is_err());
        assert!(interpolate(&picture, [4, 4], Some(f64::NAN), InterpolationMode::Bicubic).is_err());
    }
}
