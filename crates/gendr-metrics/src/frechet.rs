//! Fréchet distance between two sets of feature vectors.

use gendr_image::{Error, Result};
use nalgebra::{DMatrix, DVector};
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
        if !a.iter().chain(b.iter()).all(|value| value.is_finite()) || !apart.is_finite() {
            return Err(Error::input("the features of the sets hold values that are not finite"));
        }
        let distance = apart + a.trace() + b.trace() - 2.0 * trace_of_root(&a, &b);
        // Rounding alone can bring it below zero.
        Ok(distance.max(0.0))
    }

    fn mean(&self) -> impl Iterator<Item = f64> {
        self.origin.iter().zip(&self.sums).map(|(origin, sum)| origin + sum / self.count as f64)
    }

    fn covariance(&self) -> DMatrix<f64> {
        let count = self.count as f64;
        DMatrix::from_fn(self.width, self.width, |row, column| {
            let products = self.products[row.max(column) * self.width + row.min(column)];
            (products - self.sums[row] * self.sums[column] / count) / (count - 1.0)
        })
    }
}

/// tr(sqrt(a b)) of two positive semi-definite matrices: with a = l l^T the sum of the roots of the eigenvalues of l^T b l, which
/// has those of a b apart from zeros and is symmetric.
fn trace_of_root(a: &DMatrix<f64>, b: &DMatrix<f64>) -> f64 {
    let factor = factor(a);
    if factor.ncols() == 0 {
        return 0.0;
    }
    let product = factor.tr_mul(&(b * &factor));
    let eigenvalues = product.symmetric_eigenvalues();
    // The root would make what rounding left of a zero count.
    let negligible = eigenvalues.amax() * eigenvalues.len() as f64 * f64::EPSILON;
    eigenvalues.iter().filter(|value| **value > negligible).map(|value| value.sqrt()).sum()
}

/// The Cholesky factor with as many columns as the rank of a positive semi-definite matrix: the greatest remaining diagonal
/// element comes first (Higham 1990).
fn factor(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let size = matrix.nrows();
    let mut rest: DVector<f64> = matrix.diagonal();
    let negligible = rest.max().max(0.0) * size as f64 * f64::EPSILON;
    let mut factor = DMatrix::zeros(size, size);
    let mut rank = 0;
    while rank < size {
        let (pivot, greatest) = rest.argmax();
        if greatest <= negligible {
            break;
        }
        let done = factor.columns(0, rank);
        let known: DVector<f64> = done * done.row(pivot).transpose();
        let column: DVector<f64> = (matrix.column(pivot) - known) / greatest.sqrt();
        rest -= column.component_mul(&column);
        rest[pivot] = 0.0;
        factor.set_column(rank, &column);
        rank += 1;
    }
    factor.columns(0, rank).into_owned()
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
