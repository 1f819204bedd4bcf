//! CPU arithmetic on slices for restoration networks.
//!
//! Plain functions on `f32` slices in the order `[batch, channels, height, width]`, forward and backward. The instruction set is
//! chosen at run time ([`Level`]), the work is spread by rayon, and a result never depends on the number of threads.
//! Slices whose lengths do not match the shape are a programming error and panic.
//!
//! - [`conv2d`] and its gradients: Winograd's minimal filtering or a matrix product, chosen by shape.

// The only crate with `unsafe`: vector instructions and writes from several threads to disjoint parts of one slice.
#![allow(unsafe_code)]

mod activation;
mod attention;
mod conv2d;
mod conv_shape;
mod direct;
mod elementwise;
mod filters;
mod gemm;
mod gradient_input;
mod gradient_weight;
mod group_norm;
mod large_blocks;
mod layer_norm;
mod mapped_file;
mod math;
mod matmul;
mod moments;
#[cfg(test)]
mod noise;
mod peak;
mod plain_loops;
mod rearrange;
mod scratch;
mod simd;
mod winograd;

pub use activation::{Activation, Finish};
pub use attention::{AttentionShape, attention, attention_backward};
pub use conv_shape::{ConvShape, Padding, ShapeError};
pub use conv2d::{conv2d, conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight};
pub use elementwise::{Rectifier, geglu, geglu_backward};
pub use gemm::Factors;
pub use group_norm::{GroupNormShape, group_moments, group_norm, group_norm_backward, group_norm_by};
pub use large_blocks::LargeBlockAllocator;
pub use layer_norm::{LayerNormShape, layer_norm, layer_norm_backward};
pub use mapped_file::MappedFile;
pub use matmul::{
    LinearShape, MatmulShape, linear, linear_added, linear_backward_bias, linear_backward_input,
    linear_backward_weight, linear_geglu, matmul,
};
pub use peak::peak_operations;
pub use plain_loops::{PlainLoops, vectorized};
pub use rearrange::{channels_to_pixels, enlarge, enlarge_backward, pixels_to_channels, transpose};
pub use scratch::{copy, overwritten, release_scratch};
pub use simd::{LEVEL_VARIABLE, Level, LevelError};
