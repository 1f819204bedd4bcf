//! The 36 features of each block of 96x96 pixels: 18 at full size, 18 at half size.

use gendr_image::{Planes, Resampling, Result, resize};
use rayon::prelude::*;

use super::gaussian_fit::{Fit, Moments};
use crate::{
    levels::Levels,
    window::{Border, blur, gaussian},
};

/// Side of a block at full size, in pixels.
pub(super) const BLOCK: usize = 96;
/// Features of a block.
pub(super) const COUNT: usize = 2 * AT_ONE_SIZE;
const AT_ONE_SIZE: usize = 18;
/// The neighbours a value is multiplied with: rows up and columns left, around the block's edge.
const NEIGHBOURS: [(usize, isize); 4] = [(0, 1), (1, 0), (1, 1), (1, -1)];

/// The features of a block; NaN where there is no fit.
pub(super) type Features = [f64; COUNT];

pub(super) struct Block {
    pub(super) features: Features,
    /// Mean local standard deviation at full size.
    pub(super) contrast: f64,
}

/// The whole blocks of a picture of rounded luma, row by row.
pub(super) fn blocks(mut luma: Levels) -> Result<Vec<Block>> {
    let (columns, rows) = (luma.width / BLOCK, luma.height / BLOCK);
    if columns == 0 || rows == 0 {
        return Ok(Vec::new());
    }
    luma = cut(&luma, columns * BLOCK, rows * BLOCK);
    let full = Normalized::new(&luma);
    let half = Normalized::new(&halved(&luma)?);
    let positions: Vec<(usize, usize)> =
        (0..rows * columns).map(|index| (index / columns, index % columns)).collect();
    Ok(positions
        .into_par_iter()
        .map(|position| {
            let mut features = [f64::NAN; COUNT];
            for (size, features) in [&full, &half].into_iter().zip(features.chunks_exact_mut(AT_ONE_SIZE)) {
                size.features(position, size.values.width / columns, features);
            }
            Block { features, contrast: full.contrast(position) }
        })
        .collect())
}

fn cut(luma: &Levels, width: usize, height: usize) -> Levels {
    let data = (0..height).flat_map(|y| &luma.row(y)[..width]).copied().collect();
    Levels { width, height, data }
}

/// Half the size, as MATLAB's `imresize` makes it.
fn halved(luma: &Levels) -> Result<Levels> {
    let (width, height) = (luma.width / 2, luma.height / 2);
    let half: Planes = resize(&luma.to_planes()?, width, height, Resampling::MATLAB_BICUBIC)?;
    Ok(Levels { width, height, data: half.data().iter().map(|&value| f64::from(value)).collect() })
}

/// Mean-subtracted contrast-normalised values, and the contrast.
struct Normalized {
    values: Levels,
    deviation: Vec<f64>,
}

impl Normalized {
    fn new(luma: &Levels) -> Self {
        let taps = gaussian(3, 7.0 / 6.0);
        let mut values = blur(luma, &taps, Border::Replicate, |value| value);
        let mut deviation = blur(luma, &taps, Border::Replicate, |value| value * value).data;
        for ((mean, deviation), value) in values.data.iter_mut().zip(&mut deviation).zip(&luma.data) {
            *deviation = (*deviation - *mean * *mean).abs().sqrt();
            *mean = (value - *mean) / (*deviation + 1.0);
        }
        Self { values, deviation }
    }

    fn contrast(&self, (row, column): (usize, usize)) -> f64 {
        let rows = (row * BLOCK..(row + 1) * BLOCK).map(|y| y * self.values.width + column * BLOCK);
        rows.map(|start| self.deviation[start..start + BLOCK].iter().sum::<f64>()).sum::<f64>()
            / (BLOCK * BLOCK) as f64
    }

    /// The 18 features of the block of side `side` at block row and column.
    fn features(&self, (row, column): (usize, usize), side: usize, features: &mut [f64]) {
        let line = |y: usize| &self.values.row(row * side + y)[column * side..(column + 1) * side];
        let mut moments = Moments::default();
        (0..side).for_each(|y| moments.add(line(y)));
        let fit = Fit::new(&moments);
        features[0] = fit.shape;
        features[1] = (fit.left + fit.right) / 2.0;
        let mut products = vec![0.0; side];
        for (&(up, left), features) in NEIGHBOURS.iter().zip(features[2..].chunks_exact_mut(4)) {
            let mut moments = Moments::default();
            for y in 0..side {
                let neighbours = line((y + side - up) % side);
                multiply_turned(line(y), neighbours, left, &mut products);
                moments.add(&products);
            }
            let fit = Fit::new(&moments);
            features.copy_from_slice(&[fit.shape, fit.mean(), fit.left, fit.right]);
        }
    }
}

/// `output[x] = row[x] * neighbours[x - left]`, the neighbours joined end to end.
fn multiply_turned(row: &[f64], neighbours: &[f64], left: isize, output: &mut [f64]) {
    let (last, first) = neighbours.split_at((-left).rem_euclid(neighbours.len() as isize) as usize);
    let (row_first, row_last) = row.split_at(first.len());
    let (output_first, output_last) = output.split_at_mut(first.len());
    for (output, a, b) in [(output_first, row_first, first), (output_last, row_last, last)] {
        for (value, (a, b)) in output.iter_mut().zip(a.iter().zip(b)) {
            *value = a * b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_go_around_the_edge() {
        let mut products = [0.0; 3];
        for (left, wanted) in [(0, [1.0, 2.0, 3.0]), (1, [3.0, 1.0, 2.0]), (-1, [2.0, 3.0, 1.0])] {
            multiply_turned(&[1.0; 3], &[1.0, 2.0, 3.0], left, &mut products);
            assert_eq!(products, wanted);
        }
    }
}
