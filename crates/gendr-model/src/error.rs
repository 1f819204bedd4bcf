//! Errors are those of the weight files: sorted by whose fault they are.

pub use gendr_weights::{Error, ErrorKind, Result};
