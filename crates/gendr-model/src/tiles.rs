//! Work done tile by tile and joined smoothly.

use burn::tensor::{Tensor, TensorData};

/// A tile on a grid of pixels or latents, and its share in each of its places. Over all tiles of a plan the shares,
/// row times column, sum to one everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct TileWindow {
    /// First row.
    pub y: usize,
    /// First column.
    pub x: usize,
    /// Weight of each row.
    pub rows: Vec<f32>,
    /// Weight of each column.
    pub columns: Vec<f32>,
}

impl TileWindow {
    /// The tile's part of `[n, c, h, w]` on the grid of the tile.
    pub fn cut(&self, x: &Tensor<4>) -> Tensor<4> {
        self.cut_enlarged(x, 1)
    }

    /// The tile's part of a tensor `factor` times as large as the tile's grid: pixels for a tile of latents.
    pub fn cut_enlarged(&self, x: &Tensor<4>, factor: usize) -> Tensor<4> {
        let rows = x.clone().narrow(2, factor * self.y, factor * self.rows.len());
        rows.narrow(3, factor * self.x, factor * self.columns.len())
    }

    /// The tile's part of a tensor `factor` times as small as the tile's grid: latents for a tile of pixels, all of
    /// whose sides are multiples of `factor`.
    pub fn cut_reduced(&self, x: &Tensor<4>, factor: usize) -> Tensor<4> {
        let rows = x.clone().narrow(2, self.y / factor, self.rows.len() / factor);
        rows.narrow(3, self.x / factor, self.columns.len() / factor)
    }
}

/// The weighted sum of what `compute` makes of each tile of a grid of `height` x `width`; `None` without tiles.
///
/// # Errors
/// The first error of `compute`, which is the place to stop early.
pub fn join_tiles<E>(
    [height, width]: [usize; 2],
    tiles: impl IntoIterator<Item = TileWindow>,
    mut compute: impl FnMut(&TileWindow) -> Result<Tensor<4>, E>,
) -> Result<Option<Tensor<4>>, E> {
    let mut canvas: Option<Tensor<4>> = None;
    for tile in tiles {
        let part = compute(&tile)?;
        let [n, c, h, w] = part.dims();
        let device = part.device();
        let weights = |weights: &[f32], shape: [usize; 4]| {
            Tensor::<4>::from_data(TensorData::new(weights.to_vec(), shape), &device)
        };
        let part = part * weights(&tile.rows, [1, 1, h, 1]) * weights(&tile.columns, [1, 1, 1, w]);
        let place = [0..n, 0..c, tile.y..tile.y + h, tile.x..tile.x + w];
        let whole = canvas.take().unwrap_or_else(|| Tensor::zeros([n, c, height, width], &device));
        let part = whole.clone().slice(place.clone()) + part;
        canvas = Some(whole.slice_assign(place, part));
    }
    Ok(canvas)
}
