//! Networks and weights of the GenDR family.
//!
//! Every network is defined once, in Burn, for inference and training on every device. Its configuration is a plain
//! struct read from the `config.json` of a diffusers folder, `Config::init` makes the network without creating any
//! weight, and [`load_into`] fills it from a [`TensorSource`].

mod config;
mod error;
mod layers;
pub mod ops;
mod parameters;
mod pass;
mod resnet;
mod rrdb;
mod unet;
mod weights;

pub use error::{Error, ErrorKind, Result};
pub use layers::{Conv2d, GroupNorm, LayerNorm, Linear};
pub use parameters::{
    NamedMapper, NamedVisitor, TensorSource, for_each_parameter, initialize, load_into, map_named,
    names_and_shapes, parameter_count, visit_named,
};
pub use rrdb::{RrdbConfig, RrdbNet};
pub use unet::{Conditioning, Observer, PerLevel, Unet, UnetConfig};
pub use weights::{ElementType, Precision, Safetensors, SafetensorsWriter, StoredTensor, save_parameters};
