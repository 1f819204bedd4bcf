//! Cuts a picture into overlapping tiles and joins them again without seams.

use rayon::prelude::*;

use crate::{Error, Planes, Rect, Result};

/// How the weight of a tile falls towards its edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// Half a cosine over the overlap with the neighbour.
    #[default]
    RaisedCosine,
    /// A Gaussian of variance `0.01 * tile^2` around the middle, as StableSR, OSEDiff and TSD-SR use.
    Gaussian,
}

/// What tiles are wanted, in pixels of the picture that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileOptions {
    /// Side of a tile, a multiple of `multiple`.
    pub tile: usize,
    /// Least overlap of neighbours, a multiple of `multiple` and less than `tile`.
    pub overlap: usize,
    /// Tiles begin at multiples of this.
    pub multiple: usize,
    /// How tiles are joined.
    pub window: Window,
}

/// A plan of tiles. It holds no list: a plan of any size costs nothing, and tiles are made when asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TilePlan {
    columns: Axis,
    rows: Axis,
    window: Window,
}

/// One tile and its share in each of its pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Where it lies. The last of a row or column ends with the picture, so its side need not be a multiple.
    pub rect: Rect,
    /// Weight of each column. The weight of a pixel is column times row; over all tiles they sum to one.
    pub columns: Vec<f32>,
    /// Weight of each row.
    pub rows: Vec<f32>,
}

/// More tiles than this are refused as a mistake.
const MAX_TILES: usize = 1 << 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    size: usize,
    tile: usize,
    stride: usize,
    multiple: usize,
    count: usize,
}

impl TilePlan {
    /// Plans tiles over a picture of `width` by `height`.
    ///
    /// A side no longer than a tile is not cut. Otherwise tiles lie `tile - overlap` apart and the last is moved back to
    /// end with the picture, so that all have the full context; where the side is not a multiple, the last is the shorter
    /// by less than `multiple`.
    ///
    /// # Errors
    /// An argument error for a zero side, a zero tile, an overlap not under the tile, or sides that are not multiples; a
    /// limit error for more than 16 million tiles.
    pub fn new(width: usize, height: usize, options: TileOptions) -> Result<Self> {
        let columns = Axis::new(width, options)?;
        let rows = Axis::new(height, options)?;
        match columns.count.checked_mul(rows.count) {
            Some(count) if count <= MAX_TILES => Ok(Self { columns, rows, window: options.window }),
            _ => Err(Error::limit(format!(
                "{width}x{height} would take {} x {} tiles of {}",
                columns.count, rows.count, options.tile
            ))
            .with_hint("choose larger tiles or a smaller overlap")),
        }
    }

    /// Number of tiles, at least one.
    pub fn count(&self) -> usize {
        self.columns.count * self.rows.count
    }

    /// Tiles side by side, and tiles one above the other.
    pub fn grid(&self) -> (usize, usize) {
        (self.columns.count, self.rows.count)
    }

    /// Where tile `index` lies; tiles are counted row by row.
    ///
    /// # Panics
    /// Where `index` is not under [`TilePlan::count`].
    pub fn rect(&self, index: usize) -> Rect {
        assert!(index < self.count(), "tile {index} of {}", self.count());
        let (x, right) = self.columns.span(index % self.columns.count);
        let (y, bottom) = self.rows.span(index / self.columns.count);
        Rect { x, y, width: right - x, height: bottom - y }
    }

    /// Tile `index` with its weights.
    ///
    /// # Panics
    /// Where `index` is not under [`TilePlan::count`].
    pub fn tile(&self, index: usize) -> Tile {
        Tile {
            rect: self.rect(index),
            columns: self.columns.weights(index % self.columns.count, self.window),
            rows: self.rows.weights(index / self.columns.count, self.window),
        }
    }

    /// All tiles, row by row.
    pub fn tiles(&self) -> impl Iterator<Item = Tile> {
        (0..self.count()).map(|index| self.tile(index))
    }
}

impl Tile {
    /// Adds `pixels`, the tile's content, with its weights to `canvas`, whose corner stands at column and row `origin` of
    /// the picture. Parts of the tile beyond the canvas are left out, so that a canvas may be a strip.
    ///
    /// # Errors
    /// An argument error where `pixels` are not of the tile's size or not of the canvas' channels.
    pub fn add_to(&self, canvas: &mut Planes, origin: (usize, usize), pixels: &Planes) -> Result<()> {
        let same_size = (pixels.width(), pixels.height()) == (self.rect.width, self.rect.height);
        if !same_size || pixels.channels() != canvas.channels() {
            return Err(Error::argument(format!(
                "{} planes of {}x{} are not the tile {}",
                pixels.channels(),
                pixels.width(),
                pixels.height(),
                self.rect
            )));
        }
        let (height, width) = (canvas.height(), canvas.width());
        if height == 0 || width == 0 {
            return Ok(());
        }
        let left = self.rect.x.max(origin.0);
        let right = (self.rect.x + self.rect.width).min(origin.0 + width);
        if left >= right {
            return Ok(());
        }
        canvas.data_mut().par_chunks_mut(width).enumerate().for_each(|(line, output)| {
            let (channel, y) = (line / height, origin.1 + line % height);
            let Some(row) = y.checked_sub(self.rect.y).filter(|&row| row < self.rect.height) else { return };
            let inside = left - self.rect.x..right - self.rect.x;
            let input = &pixels.row(channel, row)[inside.clone()];
            let output = &mut output[left - origin.0..right - origin.0];
            for ((value, pixel), column) in output.iter_mut().zip(input).zip(&self.columns[inside]) {
                *value += pixel * self.rows[row] * column;
            }
        });
        Ok(())
    }
}

impl Axis {
    fn new(size: usize, options: TileOptions) -> Result<Self> {
        let TileOptions { tile, overlap, multiple, .. } = options;
        if size == 0 {
            return Err(Error::argument("an empty picture has no tiles"));
        }
        if tile == 0 || multiple == 0 {
            return Err(Error::argument("a tile of 0 pixels makes no sense"));
        }
        if overlap >= tile {
            return Err(Error::argument(format!("an overlap of {overlap} is not under the tile of {tile}"))
                .with_hint("take an eighth of the tile"));
        }
        if !tile.is_multiple_of(multiple) || !overlap.is_multiple_of(multiple) {
            return Err(Error::argument(format!(
                "tile {tile} and overlap {overlap} must be multiples of {multiple}"
            )));
        }
        let stride = tile - overlap;
        let count = size.saturating_sub(tile).div_ceil(stride) + 1;
        Ok(Self { size, tile, stride, multiple, count })
    }

    /// First pixel of a tile and the one after its last.
    fn span(self, index: usize) -> (usize, usize) {
        if self.size <= self.tile {
            return (0, self.size);
        }
        // No overflow: the rounding up ends at the last regular start, which lies inside the picture.
        let latest = (self.size - self.tile).div_ceil(self.multiple) * self.multiple;
        let start = (index * self.stride).min(latest);
        (start, self.size.min(start + self.tile))
    }

    /// Weights of a tile's pixels, divided by the sum over all tiles that hold the pixel.
    fn weights(self, index: usize, window: Window) -> Vec<f32> {
        let (start, end) = self.span(index);
        // At most tile / stride neighbours on each side reach into this one, and the moved last tile.
        let reach = self.tile.div_ceil(self.stride) + 1;
        let others = index.saturating_sub(reach)..(index + reach + 1).min(self.count);
        (start..end)
            .map(|pixel| {
                let sum: f64 = others.clone().map(|other| self.raw_weight(other, pixel, window)).sum();
                (self.raw_weight(index, pixel, window) / sum) as f32
            })
            .collect()
    }

    fn raw_weight(self, index: usize, pixel: usize, window: Window) -> f64 {
        let (start, end) = self.span(index);
        if !(start..end).contains(&pixel) {
            return 0.0;
        }
        match window {
            Window::Gaussian => {
                let tile = (end - start) as f64;
                let distance = ((pixel - start) as f64 - (tile - 1.0) / 2.0) / tile;
                (-distance * distance / (2.0 * 0.01)).exp()
            }
            Window::RaisedCosine => {
                let before = if index == 0 { 0 } else { self.span(index - 1).1.saturating_sub(start) };
                let after =
                    if index + 1 == self.count { 0 } else { end.saturating_sub(self.span(index + 1).0) };
                ramp(pixel - start, before) * ramp(end - 1 - pixel, after)
            }
        }
    }
}

/// Rises from 0 to 1 over `length` pixels as half a cosine, never quite 0.
fn ramp(distance: usize, length: usize) -> f64 {
    if distance >= length {
        return 1.0;
    }
    0.5 - 0.5 * (std::f64::consts::PI * (distance as f64 + 0.5) / length as f64).cos()
}
