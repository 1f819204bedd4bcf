//! CPU arithmetic on slices for restoration networks.
#![allow(unsafe_code)]

mod activation;
mod conv2d;
mod conv2d_weight;
mod conv_shape;
mod filters;
mod gemm;
mod group_norm;
mod mapped_file;
mod math;
mod scratch;
mod simd;
mod winograd;

pub use activation::Activation;
pub use conv_shape::{ConvShape, Padding, ShapeError};
pub use conv2d::{conv2d, conv2d_backward_input, conv2d_backward_weight, has_conv2d};
pub use group_norm::{GroupNormShape, group_norm, group_norm_backward};
pub use mapped_file::MappedFile;
pub use scratch::release_scratch;
pub use simd::{LEVEL_VARIABLE, Level, LevelError};
