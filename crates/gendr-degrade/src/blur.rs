//! Correlation of every plane with one kernel, the border reflected.

use crate::Kernel;
use gendr_image::Planes;

/// Correlates every plane with `kernel`. Outside the picture its mirror image is taken, the edge pixel not repeated.
pub fn blur(picture: &Planes, kernel: &Kernel) -> Planes {
    let kernel = kernel.trimmed();
    let (height, width, size) = (picture.height(), picture.width(), kernel.size());
    let radius = size / 2;
    let mut out = Planes::filled(picture.channels(), height, width, 0.0);
    if height == 0 || width == 0 {
        return out;
    }
    let padded_width = width + 2 * radius;
    for channel in 0..picture.channels() {
        let padded = pad_by_reflection(picture.plane(channel), height, width, radius);
        for (y, row) in out.plane_mut(channel).chunks_exact_mut(width).enumerate() {
            for (dy, weights) in kernel.weights().chunks_exact(size).enumerate() {
                let source = &padded[(y + dy) * padded_width..(y + dy + 1) * padded_width];
                for (dx, &weight) in weights.iter().enumerate() {
                    row.iter_mut().zip(&source[dx..]).for_each(|(sum, value)| *sum += weight * value);
                }
            }
        }
    }
    out
}

/// Applies a symmetric one-dimensional filter (odd length) along both axes, the border reflected.
pub(crate) fn blur_separable(picture: &Planes, taps: &[f32]) -> Planes {
    let (height, width, radius) = (picture.height(), picture.width(), taps.len() / 2);
    let mut out = picture.clone();
    for channel in 0..picture.channels() {
        let rows: Vec<f32> = (0..height)
            .flat_map(|y| {
                let row = picture.row(channel, y);
                (0..width).map(move |x| filter_at(taps, |i| row[reflect(x as isize + i, width)], radius))
            })
            .collect();
        for (i, value) in out.plane_mut(channel).iter_mut().enumerate() {
            let (y, x) = (i / width, i % width);
            *value = filter_at(taps, |offset| rows[reflect(y as isize + offset, height) * width + x], radius);
        }
    }
    out
}

fn filter_at(taps: &[f32], value: impl Fn(isize) -> f32, radius: usize) -> f32 {
    taps.iter().enumerate().map(|(i, tap)| tap * value(i as isize - radius as isize)).sum()
}

fn pad_by_reflection(plane: &[f32], height: usize, width: usize, radius: usize) -> Vec<f32> {
    let columns: Vec<usize> = padded_indices(width, radius).collect();
    padded_indices(height, radius).flat_map(|y| columns.iter().map(move |x| plane[y * width + x])).collect()
}

fn padded_indices(length: usize, radius: usize) -> impl Iterator<Item = usize> {
    (0..length + 2 * radius).map(move |i| reflect(i as isize - radius as isize, length))
}

/// The index that a mirror at both ends shows in place of `i`; several mirrorings where the picture is small.
fn reflect(i: isize, length: usize) -> usize {
    if length <= 1 {
        return 0;
    }
    let last = length as isize - 1;
    let folded = i.rem_euclid(2 * last);
    folded.min(2 * last - folded) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlurKernel, KernelShape};

    #[test]
    fn mirrors_without_repeating_the_edge() {
        let seen: Vec<usize> = (-4..8).map(|i| reflect(i, 4)).collect();
        assert_eq!(seen, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(reflect(-5, 1), 0);
    }

    #[test]
    fn flat_pictures_stay_flat_whatever_their_size() {
        let shape = KernelShape::Gaussian { sigma: [2.0, 1.0], theta: 0.5 };
        let kernel = Kernel::new(&BlurKernel { shape, size: 21 }).expect("valid");
        for (height, width) in [(1, 1), (2, 3), (40, 7)] {
            let blurred = blur(&Planes::filled(3, height, width, 0.25), &kernel);
            assert!(blurred.data().iter().all(|value| (value - 0.25).abs() < 1e-6));
        }
    }
}
