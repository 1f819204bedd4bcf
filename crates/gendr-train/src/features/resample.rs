//! Bicubic resampling as two matrix products: the same on every device, and with gradients.

use burn::tensor::{Device, Tensor, TensorData};

/// Sharpness of the cubic kernel, PyTorch's.
const SHARPNESS: f64 = -0.75;

/// The matrix `[to, from]` that resamples a line of `from` values to `to`: cubic, without antialiasing, edges repeated
/// (PyTorch's `interpolate(mode="bicubic", align_corners=False)`).
pub fn resampling_matrix(from: usize, to: usize, device: &Device) -> Tensor<2> {
    let mut values = vec![0.0f32; to * from];
    for (row, values) in values.chunks_exact_mut(from.max(1)).enumerate() {
        let place = (row as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let (left, share) = (place.floor(), place - place.floor());
        for (tap, distance) in [1.0 + share, share, 1.0 - share, 2.0 - share].into_iter().enumerate() {
            let index = (left as i64 + tap as i64 - 1).clamp(0, from as i64 - 1);
            values[index as usize] += cubic(distance) as f32;
        }
    }
    Tensor::from_data(TensorData::new(values, [to, from]), device)
}

fn cubic(x: f64) -> f64 {
    let a = SHARPNESS;
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    }
}

/// Pictures `[n, c, h, w]` resampled to `[n, c, size[0], size[1]]`.
pub fn resample(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    if size == [h, w] {
        return x;
    }
    let device = x.device();
    let rows = resampling_matrix(h, size[0], &device).unsqueeze::<3>().expand([n * c, size[0], h]);
    let columns = resampling_matrix(w, size[1], &device).transpose().unsqueeze::<3>();
    let columns = columns.expand([n * c, w, size[1]]);
    rows.matmul(x.reshape([n * c, h, w])).matmul(columns).reshape([n, c, size[0], size[1]])
}
