//! The one piece of linear algebra that NIQE needs.

/// Sweeps after which Jacobi's method has long converged.
const SWEEPS: usize = 30;

/// `vector^T pinv(matrix) vector` for a symmetric `matrix`, row by row: eigenvalues by Jacobi's method, those under 1e-15 of
/// the largest counted as zero.
pub(super) fn inverse_form(matrix: &[f64], vector: &[f64]) -> f64 {
    let size = vector.len();
    let mut matrix = matrix.to_vec();
    let mut vector = vector.to_vec();
    for _ in 0..SWEEPS {
        if !sweep(&mut matrix, &mut vector) {
            break;
        }
    }
    let eigenvalues: Vec<f64> = (0..size).map(|index| matrix[index * size + index]).collect();
    let largest = eigenvalues.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    eigenvalues
        .iter()
        .zip(&vector)
        .filter(|(eigenvalue, _)| eigenvalue.abs() > 1e-15 * largest)
        .map(|(eigenvalue, coordinate)| coordinate * coordinate / eigenvalue)
        .sum()
}

/// Rotates every pair of axes so that their common element becomes zero, the vector along with them. Returns
/// whether anything turned.
fn sweep(matrix: &mut [f64], vector: &mut [f64]) -> bool {
    let size = vector.len();
    let mut turned = false;
    for p in 0..size {
        for q in p + 1..size {
            let common = matrix[p * size + q];
            let (at_p, at_q) = (matrix[p * size + p], matrix[q * size + q]);
            if common.abs() <= f64::EPSILON * 1e-3 * (at_p * at_q).abs().sqrt() || common == 0.0 {
                continue;
            }
            turned = true;
            let theta = (at_q - at_p) / (2.0 * common);
            let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
            let cosine = 1.0 / tangent.hypot(1.0);
            let sine = tangent * cosine;
            let rotate = |a: f64, b: f64| (cosine * a - sine * b, sine * a + cosine * b);
            for row in 0..size {
                let (a, b) = (row * size + p, row * size + q);
                (matrix[a], matrix[b]) = rotate(matrix[a], matrix[b]);
            }
            for column in 0..size {
                let (a, b) = (p * size + column, q * size + column);
                (matrix[a], matrix[b]) = rotate(matrix[a], matrix[b]);
            }
            (vector[p], vector[q]) = rotate(vector[p], vector[q]);
        }
    }
    turned
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
