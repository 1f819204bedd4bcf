//! Transparency: what must be done to colour before a network sees it.

use crate::{Picture, Planes};

impl Picture {
    /// Gives pixels that are wholly transparent the colour of what is visible around them, so that colour which nobody
    /// sees does not bleed into edges. A picture with nothing visible stays as it is.
    pub fn fill_hidden_color(&mut self) {
        if let Some(alpha) = &self.alpha
            && alpha.data().contains(&0.0)
            && alpha.data().iter().any(|&value| value > 0.0)
        {
            let weight: Vec<f32> = alpha.data().iter().map(|&value| f32::from(value > 0.0)).collect();
            fill(&mut self.color, &weight);
        }
    }
}

/// Divides colour by opacity where a file holds the product.
pub(crate) fn unmultiply(color: &mut Planes, alpha: &Planes) {
    for channel in 0..color.channels() {
        for (value, &alpha) in color.plane_mut(channel).iter_mut().zip(alpha.data()) {
            if alpha > 0.0 {
                *value = (*value / alpha).min(1.0);
            }
        }
    }
}

/// Fills pixels of weight 0 from a picture of half the size in which every pixel is the mean of up to four weighted ones,
/// filled in the same way: known pixels are kept, far ones are reached in logarithmically many steps.
fn fill(color: &mut Planes, weight: &[f32]) {
    let (width, height) = (color.width(), color.height());
    if !weight.contains(&0.0) || (width == 1 && height == 1) {
        return;
    }
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let mut coarse = Planes::filled(color.channels(), half_height, half_width, 0.0);
    let mut sum = vec![0.0f32; half_width * half_height];
    let cell = |index: usize| (index / width / 2) * half_width + index % width / 2;
    for (index, weight) in weight.iter().enumerate() {
        sum[cell(index)] += weight;
    }
    for channel in 0..color.channels() {
        let target = coarse.plane_mut(channel);
        for (index, (value, weight)) in color.plane(channel).iter().zip(weight).enumerate() {
            target[cell(index)] += value * weight;
        }
        for (value, sum) in target.iter_mut().zip(&sum) {
            *value /= sum.max(1.0);
        }
    }
    sum.iter_mut().for_each(|sum| *sum = sum.min(1.0));
    fill(&mut coarse, &sum);
    for channel in 0..color.channels() {
        let source = coarse.plane(channel);
        for (index, value) in color.plane_mut(channel).iter_mut().enumerate() {
            if weight[index] == 0.0 {
                *value = source[cell(index)];
            }
        }
    }
}
