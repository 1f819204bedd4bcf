//! Making maps smaller.

use gendr_image::Planes;
use rayon::prelude::*;

/// The sums of a window.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pool {
    /// Greatest value; outside counts for nothing.
    Greatest,
    /// Mean of the values inside the map.
    Mean,
    /// Root of the mean of squares under a 3x3 Hann window, zeros outside (Hénaff and Simoncelli 2016).
    Hann,
}

/// Squares of side `kernel`, `stride` apart, with `padding` pixels of nothing around the map. Where not even one fits, the
/// result is empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pooling {
    pub(super) pool: Pool,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

impl Pooling {
    pub(super) const fn new(pool: Pool, kernel: usize, stride: usize) -> Self {
        Self { pool, kernel, stride, padding: 0 }
    }

    pub(super) const fn padded(pool: Pool, kernel: usize, stride: usize) -> Self {
        Self { pool, kernel, stride, padding: kernel / 2 }
    }

    pub(super) fn forward(&self, input: &Planes) -> Planes {
        let side = |length: usize| {
            (length + 2 * self.padding).checked_sub(self.kernel).map_or(0, |rest| rest / self.stride + 1)
        };
        let (height, width) = (side(input.height()), side(input.width()));
        let mut output = Planes::filled(input.channels(), height, width, 0.0);
        if height * width == 0 {
            return output;
        }
        output.data_mut().par_chunks_exact_mut(height * width).enumerate().for_each(|(channel, output)| {
            for (index, value) in output.iter_mut().enumerate() {
                *value = self.window(input, channel, index / width, index % width);
            }
        });
        output
    }

    fn window(&self, input: &Planes, channel: usize, y: usize, x: usize) -> f32 {
        let range = |at: usize, length: usize| {
            let start = at * self.stride;
            (start.saturating_sub(self.padding))..(start + self.kernel - self.padding).min(length)
        };
        let (rows, columns) = (range(y, input.height()), range(x, input.width()));
        let values = rows.clone().flat_map(|row| &input.row(channel, row)[columns.clone()]).copied();
        match self.pool {
            Pool::Greatest => values.fold(f32::NEG_INFINITY, f32::max),
            Pool::Mean => values.sum::<f32>() / (rows.len() * columns.len()) as f32,
            Pool::Hann => {
                const TAPS: [f32; 3] = [0.25, 0.5, 0.25];
                let tap = |at: usize, middle: usize| TAPS[at + 1 - middle * self.stride];
                let weights = rows
                    .clone()
                    .flat_map(|row| columns.clone().map(move |column| tap(row, y) * tap(column, x)));
                let sum: f32 = values.zip(weights).map(|(value, weight)| weight * value * value).sum();
                (sum + 1e-12).sqrt()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_at_the_border_count_what_is_inside() {
        let map = Planes::from_vec(1, 3, 3, (1..=9).map(|value| value as f32).collect()).unwrap();
        let pool = |pooling: Pooling| pooling.forward(&map).into_vec();
        assert_eq!(pool(Pooling::new(Pool::Greatest, 3, 2)), [9.0]);
        assert_eq!(pool(Pooling::padded(Pool::Greatest, 3, 2)), [5.0, 6.0, 8.0, 9.0]);
        assert_eq!(pool(Pooling::padded(Pool::Mean, 3, 2)), [3.0, 4.0, 6.0, 7.0]);
        assert_eq!(pool(Pooling::new(Pool::Mean, 2, 2)), [3.0]);
        assert!(pool(Pooling::new(Pool::Greatest, 4, 2)).is_empty());
    }
}
