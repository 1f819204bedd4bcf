//! The UNet on pixels: pixel-unshuffle in, and either pixel-shuffle out (GenDR-Pix) or a latent (GenDR-Adc).
//!
//! arXiv 2602.10630; padded guidance (PadCFG) runs its two branches at different phases of the shuffle, so that the
//! shuffle's own pattern cancels.

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    guided_pass::GuidedPass,
    ops::{self, Padding},
    pass::Pass,
    unet::{Conditioning, Unet},
};

/// What the UNet's output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PixOutput {
    /// The picture.
    Direct,
    /// What is to be added to the input; a network of zeros then changes nothing.
    #[default]
    Residual,
}

/// The shape of a UNet on pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PixConfig {
    /// Side of the square of pixels that becomes one position, 2 to 64.
    pub patch: usize,
    /// What the UNet's output is.
    pub output: PixOutput,
}

impl Default for PixConfig {
    fn default() -> Self {
        Self { patch: 8, output: PixOutput::default() }
    }
}

/// A second branch that guides the first.
#[derive(Clone, Copy, Debug)]
pub struct PadGuidance<'a> {
    /// What the second branch is conditioned on.
    pub negative: &'a Conditioning,
    /// w in w · positive + (1 - w) · negative.
    pub weight: f64,
}

impl PixConfig {
    /// Checks the patch.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) where it is not 2 to 64.
    pub fn validate(&self) -> Result<()> {
        match self.patch {
            2..=64 => Ok(()),
            patch => Err(Error::input(format!("a patch of {patch} pixels; 2 to 64 are possible"))),
        }
    }

    /// Restores a picture `[n, 3, h, w]` in [-1, 1] whose sides are multiples of the patch; not clamped.
    ///
    /// With guidance both branches run on the picture padded by reflection to one more patch each way.
    pub fn forward(
        &self,
        unet: &Unet,
        picture: Tensor<4>,
        positive: &Conditioning,
        guidance: Option<PadGuidance<'_>>,
        pass: &mut GuidedPass,
    ) -> Tensor<4> {
        let y = match guidance {
            None => self.branch(unet, picture.clone(), positive, Padding::default(), &mut pass.positive),
            Some(PadGuidance { negative, weight }) => {
                let half = self.patch / 2;
                let even = Padding::all(half);
                let odd = Padding { top: half - 1, left: half - 1, bottom: half + 1, right: half + 1 };
                let odd = self.completed(odd);
                let even = self.completed(even);
                let positive = self.branch(unet, picture.clone(), positive, even, &mut pass.positive);
                let negative = self.branch(unet, picture.clone(), negative, odd, &mut pass.negative);
                positive * weight + negative * (1.0 - weight)
            }
        };
        match self.output {
            PixOutput::Direct => y,
            PixOutput::Residual => picture + y,
        }
    }

    /// The UNet's output as a picture, for an input padded by reflection; the padding is cut off again.
    pub fn branch(
        &self,
        unet: &Unet,
        picture: Tensor<4>,
        conditioning: &Conditioning,
        padding: Padding,
        pass: &mut Pass,
    ) -> Tensor<4> {
        let [_, _, h, w] = picture.dims();
        let x = ops::pixel_unshuffle(self.pad(picture, padding), self.patch);
        let y = ops::pixel_shuffle(unet.forward_pass(x, conditioning, pass), self.patch);
        y.narrow(2, padding.top, h).narrow(3, padding.left, w)
    }

    /// Pads `[n, c, h, w]` with its mirror image, the edge itself not repeated; wider paddings are mirrored again.
    pub fn pad(&self, picture: Tensor<4>, padding: Padding) -> Tensor<4> {
        let Padding { top, bottom, left, right } = padding;
        pad_axis_reflect(pad_axis_reflect(picture, 2, top, bottom), 3, left, right)
    }

    /// For an odd patch: the padding made up to a whole patch below and on the right.
    fn completed(&self, padding: Padding) -> Padding {
        let rest = self.patch % 2;
        Padding { bottom: padding.bottom + rest, right: padding.right + rest, ..padding }
    }
}

fn pad_axis_reflect(x: Tensor<4>, axis: usize, before: usize, after: usize) -> Tensor<4> {
    if before == 0 && after == 0 {
        return x;
    }
    let size = x.dims()[axis] as i64;
    let period = (2 * size - 2).max(1);
    let mirrored = |place: i64| {
        let place = place.rem_euclid(period);
        place.min(period - place)
    };
    let places: Vec<i64> = (-(before as i64)..size + after as i64).map(mirrored).collect();
    let places = Tensor::<1, Int>::from_data(places.as_slice(), &x.device());
    x.select(axis, places)
}
