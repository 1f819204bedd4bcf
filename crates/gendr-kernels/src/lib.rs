//! CPU arithmetic on slices for restoration networks.

mod mapped_file;

pub use mapped_file::MappedFile;
