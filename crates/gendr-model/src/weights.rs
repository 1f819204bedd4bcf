//! Tensors in files: safetensors and torch pickles in, safetensors out, LoRA merged on the way.

mod atomic_file;
mod safetensors;
mod safetensors_writer;
mod stored_tensor;

pub use safetensors::Safetensors;
pub use safetensors_writer::{Precision, SafetensorsWriter, save_parameters};
pub use stored_tensor::{ElementType, StoredTensor};
