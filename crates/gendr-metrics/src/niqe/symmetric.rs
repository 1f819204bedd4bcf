//! The one piece of linear algebra that NIQE needs.

use faer::{MatRef, Side};
use gendr_image::{Error, Result};

/// `vector^T pinv(matrix) vector` for a symmetric `matrix`, row by row: eigenvalues under 1e-15 of the largest count as zero.
///
/// # Errors
/// An input error where the matrix holds values that are not finite.
pub(super) fn inverse_form(matrix: &[f64], vector: &[f64]) -> Result<f64> {
    let size = vector.len();
    let eigen = MatRef::from_row_major_slice(matrix, size, size)
        .self_adjoint_eigen(Side::Lower)
        .map_err(|error| Error::input(format!("a covariance without eigenvalues: {error:?}")))?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let terms = (0..size).filter(|&index| values[index].abs() > 1e-15 * largest).map(|index| {
        let coordinate: f64 =
            vector.iter().enumerate().map(|(row, value)| value * vectors[(row, index)]).sum();
        coordinate * coordinate / values[index]
    });
    Ok(terms.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(matrix: &[f64], vector: &[f64]) -> f64 {
        inverse_form(matrix, vector).unwrap()
    }

    #[test]
    fn a_known_system_is_solved() {
        // inverse of [[4, 1], [1, 3]] is [[3, -1], [-1, 4]] / 11
        assert!((form(&[4.0, 1.0, 1.0, 3.0], &[1.0, 2.0]) - 15.0 / 11.0).abs() < 1e-14);
    }

    #[test]
    fn directions_without_variance_do_not_count() {
        assert!((form(&[1.0, 1.0, 1.0, 1.0], &[3.0, 1.0]) - 4.0).abs() < 1e-12);
        assert_eq!(form(&[0.0; 4], &[1.0, 1.0]), 0.0);
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
        assert!((form(&matrix, &x) / wanted - 1.0).abs() < 1e-12);
    }
}
