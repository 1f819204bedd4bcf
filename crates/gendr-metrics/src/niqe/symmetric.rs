//! The one piece of linear algebra that NIQE needs.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

/// `vector^T pinv(matrix) vector` for a symmetric `matrix`, row by row: eigenvalues under 1e-15 of the largest count as zero.
pub(super) fn inverse_form(matrix: &[f64], vector: &[f64]) -> f64 {
    let size = vector.len();
    let eigen = SymmetricEigen::new(DMatrix::from_row_slice(size, size, matrix));
    let largest = eigen.eigenvalues.amax();
    let coordinates = eigen.eigenvectors.tr_mul(&DVector::from_row_slice(vector));
    let terms = eigen.eigenvalues.iter().zip(coordinates.iter());
    let known = terms.filter(|(eigenvalue, _)| eigenvalue.abs() > 1e-15 * largest);
    known.map(|(eigenvalue, coordinate)| coordinate * coordinate / eigenvalue).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_system_is_solved() {
        // inverse of [[4, 1], [1, 3]] is [[3, -1], [-1, 4]] / 11
        assert!((inverse_form(&[4.0, 1.0, 1.0, 3.0], &[1.0, 2.0]) - 15.0 / 11.0).abs() < 1e-14);
    }

    #[test]
    fn directions_without_variance_do_not_count() {
        assert!((inverse_form(&[1.0, 1.0, 1.0, 1.0], &[3.0, 1.0]) - 4.0).abs() < 1e-12);
        assert_eq!(inverse_form(&[0.0; 4], &[1.0, 1.0]), 0.0);
    }

    #[test]
    fn a_product_with_its_own_matrix_returns() {
        // matrix = B B^T + I; x^T inverse(matrix) x with x = matrix y is y^T matrix y.
        let size = 12;
        let b: Vec<f64> =
            (0..size * size).map(|index| ((index * 37 % 101) as f64 / 50.0 - 1.0).sin()).collect();
        let dot = |i: usize, j: usize| (0..size).map(|k| b[i * size + k] * b[j * size + k]).sum::<f64>();
        let matrix: Vec<f64> = (0..size * size)
            .map(|index| dot(index / size, index % size) + f64::from(u8::from(index / size == index % size)))
            .collect();
        let y: Vec<f64> = (0..size).map(|index| index as f64 - 4.0).collect();
        let x: Vec<f64> = (0..size).map(|i| (0..size).map(|j| matrix[i * size + j] * y[j]).sum()).collect();
        let wanted: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
        assert!((inverse_form(&matrix, &x) / wanted - 1.0).abs() < 1e-12);
    }
}
