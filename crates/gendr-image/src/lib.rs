//! Picture files in, faithful picture files out.

mod alpha;
mod back_projection;
mod beyond;
mod color_fix;
mod color_space;
mod decode;
mod encode;
mod error;
mod exif;
mod file;
mod format;
mod limits;
mod metadata;
mod notice;
mod orientation;
mod pad;
mod photoshop;
mod picture;
mod planes;
mod raster;
mod rect;
mod resize;
mod tile;
mod xmp;

pub use back_projection::BackProjection;
pub use color_fix::{
    BandedStatistics, ChannelStatistics, ColorFix, apply as apply_color_fix, match_statistics,
};
pub use color_space::ColorSpace;
pub use decode::{Band, StripReader, decode};
pub use encode::{EncodeOptions, Encoded, Strip, StripWriter, encode};
pub use error::{Error, ErrorKind, Result};
pub use file::{AtomicFile, open_file, read, read_file, write_atomic};
pub use format::{Format, OutputFormat};
pub use limits::Limits;
pub use metadata::{Density, DensityUnit, Metadata, PngColor, Text};
pub use notice::{Notice, NoticeKind};
pub use pad::{pad_reflect, pad_reflect_to};
pub use picture::{Depth, Picture};
pub use planes::Planes;
pub use rect::Rect;
pub use resize::{Border, ByteRounding, Filter, Resampling, Resize, resize, upscale};
pub use tile::{Tile, TileOptions, TilePlan, Window};
