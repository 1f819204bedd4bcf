//! Picture files in, faithful picture files out.

mod error;
mod planes;

pub use error::{Error, ErrorKind, Result};
pub use planes::Planes;
