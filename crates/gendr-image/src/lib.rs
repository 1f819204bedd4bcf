//! Picture files in, faithful picture files out.

mod color_fix;
mod error;
mod pad;
mod planes;
mod rect;
mod resize;
mod tile;

pub use color_fix::{ChannelStatistics, ColorFix, WAVELET_REACH, apply as apply_color_fix, match_statistics};
pub use error::{Error, ErrorKind, Result};
pub use pad::{pad_reflect, pad_reflect_to};
pub use planes::Planes;
pub use rect::Rect;
pub use resize::{Border, ByteRounding, Filter, Resampling, Resize, resize, upscale};
pub use tile::{Tile, TileOptions, TilePlan, Window};
