//! What names a model by what it does, wherever it lies.

use std::collections::BTreeMap;

use super::{Description, StoredModel};
use crate::error::Result;

impl StoredModel {
    /// BLAKE3, in hexadecimal, of all that decides what the model makes of a picture: the description without names and
    /// terms of use, the tensors as they are stored, and LoRA. Where and in what files they lie does not count.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`](crate::ErrorKind::Argument) when the description cannot be written as JSON.
    pub fn content_hash(&self) -> Result<String> {
        let description = Description {
            name: String::new(),
            licence: String::new(),
            origin: String::new(),
            blake3: BTreeMap::new(),
            ..self.description.clone()
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(description.to_json()?.as_bytes());
        self.weights.hash_into(&mut hasher);
        Ok(hasher.finalize().to_string())
    }
}
