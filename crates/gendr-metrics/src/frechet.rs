//! Fréchet distance between two sets of feature vectors.

use faer::{Mat, Side};
use gendr_image::{Error, Result};
use rayon::prelude::*;

/// Mean and covariance of feature vectors, gathered as they come; memory does not grow with their number.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    width: usize,
    count: usize,
    /// The first vector: sums of differences from it lose no digits.
    origin: Vec<f64>,
    sums: Vec<f64>,
    /// Sums of products, `[width, width]`, the lower triangle.
    products: Vec<f64>,
}

impl Distribution {
    pub(crate) fn new(width: usize) -> Self {
        let sums = vec![0.0; width];
        Self { width, count: 0, origin: Vec::new(), sums, products: vec![0.0; width * width] }
    }

    /// Adds vectors, one after another.
    pub(crate) fn add(&mut self, vectors: &[f32]) {
        let width = self.width;
        if self.count == 0 {
            self.origin = vectors.iter().take(width).map(|&value| f64::from(value)).collect();
        }
        let origin = &self.origin;
        let differences: Vec<Vec<f64>> = vectors
            .chunks_exact(width)
            .map(|vector| {
                vector.iter().zip(origin).map(|(&value, origin)| f64::from(value) - origin).collect()
            })
            .collect();
        self.count += differences.len();
        for vector in &differences {
            for (sum, value) in self.sums.iter_mut().zip(vector) {
                *sum += value;
            }
        }
        self.products.par_chunks_exact_mut(width).enumerate().for_each(|(row, products)| {
            for vector in &differences {
                let factor = vector[row];
                for (sum, value) in products[..=row].iter_mut().zip(vector) {
                    *sum += factor * value;
                }
            }
        });
    }

    /// `|m1 - m2|^2 + tr(C1 + C2 - 2 sqrt(C1 C2))` of the means and the unbiased covariances.
    ///
    /// # Errors
    /// An input error where a set has fewer than two vectors or a value is not finite.
    pub(crate) fn distance(&self, other: &Self) -> Result<f64> {
        if self.count.min(other.count) < 2 {
            return Err(Error::input(
                "a distance of distributions needs two pictures or patches in each set",
            ));
        }
        let apart = self.mean().zip(other.mean()).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let (a, b) = (self.covariance(), other.covariance());
        let distance = apart + trace(&a) + trace(&b) - 2.0 * trace_of_root(&a, &b)?;
        if !distance.is_finite() {
            return Err(Error::input("the features of the sets hold values that are not finite"));
        }
        // Rounding alone can bring it below zero.
        Ok(distance.max(0.0))
    }

    fn mean(&self) -> impl Iterator<Item = f64> {
        self.origin.iter().zip(&self.sums).map(|(origin, sum)| origin + sum / self.count as f64)
    }

    fn covariance(&self) -> Mat<f64> {
        let count = self.count as f64;
        Mat::from_fn(self.width, self.width, |row, column| {
            let products = self.products[row.max(column) * self.width + row.min(column)];
            (products - self.sums[row] * self.sums[column] / count) / (count - 1.0)
        })
    }
}

fn trace(matrix: &Mat<f64>) -> f64 {
    (0..matrix.nrows()).map(|index| matrix[(index, index)]).sum()
}

/// tr(sqrt(a b)) of two positive semi-definite matrices: the sum of the roots of the eigenvalues of sqrt(a) b sqrt(a), which has
/// those of a b and is symmetric.
fn trace_of_root(a: &Mat<f64>, b: &Mat<f64>) -> Result<f64> {
    let failed = |error| Error::input(format!("no eigenvalues of the features: {error:?}"));
    let eigen = a.self_adjoint_eigen(Side::Lower).map_err(failed)?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    let size = a.nrows();
    let half =
        Mat::from_fn(size, size, |row, column| vectors[(row, column)] * values[column].max(0.0).sqrt());
    let product = half.transpose() * (b * &half);
    let eigenvalues = product.self_adjoint_eigenvalues(Side::Lower).map_err(failed)?;
    Ok(eigenvalues.iter().map(|value| value.max(0.0).sqrt()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(count: usize, width: usize, seed: usize) -> Vec<f32> {
        (0..count * width).map(|index| ((index * 7919 + seed * 104_729) % 1009) as f32 / 1009.0).collect()
    }

    fn distribution(vectors: &[f32], width: usize) -> Distribution {
        let mut distribution = Distribution::new(width);
        vectors.chunks(3 * width).for_each(|some| distribution.add(some));
        distribution
    }

    #[test]
    fn one_dimension_has_the_known_formula() {
        let (a, b) = (distribution(&[1.0, 2.0, 3.0, 4.0], 1), distribution(&[10.0, 14.0, 18.0], 1));
        // |2.5 - 14|^2 + (sqrt(5 / 3) - 4)^2
        let wanted = 11.5_f64.powi(2) + ((5.0_f64 / 3.0).sqrt() - 4.0).powi(2);
        assert!((a.distance(&b).unwrap() - wanted).abs() < 1e-9);
    }

    #[test]
    fn a_shift_is_its_squared_length_and_nothing_is_nothing() {
        // Fewer vectors than dimensions: the covariances are singular.
        for count in [4, 40] {
            let values = vectors(count, 8, 1);
            let moved: Vec<f32> = values.iter().map(|value| value + 0.5).collect();
            let (a, b) = (distribution(&values, 8), distribution(&moved, 8));
            assert!(a.distance(&a).unwrap() < 1e-6);
            assert!((a.distance(&b).unwrap() - 2.0).abs() < 1e-5);
            let c = distribution(&vectors(30, 8, 2), 8);
            assert!((a.distance(&c).unwrap() - c.distance(&a).unwrap()).abs() < 1e-9);
        }
    }

    #[test]
    fn too_few_vectors_are_refused() {
        let (a, b) = (distribution(&[1.0, 2.0], 2), distribution(&vectors(5, 2, 1), 2));
        assert!(a.distance(&b).is_err() && b.distance(&a).is_err());
    }
}
