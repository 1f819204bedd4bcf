//! Networks and weights of the GenDR family.
//!
//! Every network is defined once, in Burn, for inference and training on every device. Its configuration is a plain
//! struct read from the `config.json` of a diffusers folder, `Config::init` makes the network without creating any
//! weight, and [`load_into`] fills it from a [`TensorSource`].

mod error;
mod parameters;

pub use error::{Error, ErrorKind, Result};
pub use parameters::{
    TensorSource, for_each_parameter, initialize, load_into, names_and_shapes, parameter_count,
};
