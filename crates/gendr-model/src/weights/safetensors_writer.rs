//! Writing safetensors files tensor by tensor.

use std::{collections::BTreeMap, path::Path};

use burn::{module::Module, tensor::TensorData};
use gendr_weights::{ElementType, METADATA_KEY, byte_count, shown};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use serde_json::{Map, Value, json};

use super::atomic_file::AtomicFile;
use crate::{
    error::{Error, Result},
    parameters::{for_each_parameter, names_and_shapes},
};

/// Values converted at a time.
const CHUNK: usize = 1 << 16;

/// How weights are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    F32,
    /// 16-bit IEEE floating point: up to ±65504, 11 significant bits.
    F16,
    /// 16-bit floating point with the range of f32 and 8 significant bits.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// The element type of a stored tensor.
    pub fn element(self) -> ElementType {
        match self {
            Self::F32 => ElementType::F32,
            Self::F16 => ElementType::F16,
            Self::Bf16 => ElementType::Bf16,
        }
    }
}

/// A safetensors file being written. The header needs every name and shape at the start; the values follow one tensor
/// at a time, so that a model never has to be in memory whole. The file appears when all are written.
pub struct SafetensorsWriter {
    file: AtomicFile,
    precision: Precision,
    /// What is still to come, the next at the end.
    expected: Vec<(String, Vec<usize>)>,
}

impl SafetensorsWriter {
    /// Starts the file at `path` with the tensors `names_and_shapes`, to be written in that order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when the file cannot be made,
    /// [`ErrorKind::Argument`](crate::ErrorKind::Argument) when a name is there twice or a shape cannot be counted.
    pub fn create(
        path: &Path,
        precision: Precision,
        names_and_shapes: Vec<(String, Vec<usize>)>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let header = header(precision, &names_and_shapes, metadata)?;
        let mut file = AtomicFile::create(path)?;
        file.write(&(header.len() as u64).to_le_bytes())?;
        file.write(header.as_bytes())?;
        let mut expected = names_and_shapes;
        expected.reverse();
        Ok(Self { file, precision, expected })
    }

    /// Writes the next tensor.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`](crate::ErrorKind::Argument) when it is not the next one or has another shape,
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) when a finite value becomes infinite in f16,
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when writing fails.
    pub fn write(&mut self, name: &str, data: TensorData) -> Result<()> {
        let next = self.expected.pop();
        if next.as_ref().is_none_or(|(next, shape)| next != name || data.shape().as_slice() != &shape[..]) {
            return Err(Error::argument(format!(
                "tensor {name} {:?} written where {next:?} was announced",
                data.shape()
            )));
        }
        encode(name, data, self.precision, &mut |bytes| self.file.write(bytes))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`ErrorKind::Argument`](crate::ErrorKind::Argument) when an announced tensor was not written,
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when writing fails.
    pub fn finish(self) -> Result<()> {
        if let Some((name, _)) = self.expected.last() {
            return Err(Error::argument(format!("tensor {name} was announced and not written")));
        }
        self.file.commit()
    }
}

/// BLAKE3 of the values that a file of these tensors would hold, in hexadecimal; `values` gives them by name and shape.
pub(crate) fn values_hash(
    precision: Precision,
    names_and_shapes: &[(String, Vec<usize>)],
    values: &dyn Fn(&str, &[usize]) -> Result<TensorData>,
) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for (name, shape) in names_and_shapes {
        encode(name, values(name, shape)?, precision, &mut |bytes| {
            hasher.update_rayon(bytes);
            Ok(())
        })?;
    }
    Ok(hasher.finalize().to_string())
}

/// Converts values to `precision`, a chunk at a time.
fn encode(
    name: &str,
    data: TensorData,
    precision: Precision,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let data = data.convert::<f32>();
    let values = data
        .as_slice::<f32>()
        .map_err(|error| Error::argument(format!("tensor {name} cannot be read: {error:?}")))?;
    for values in values.chunks(CHUNK) {
        match precision {
            Precision::F32 => sink(&little_endian(values, f32::to_le_bytes))?,
            Precision::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                if halves.iter().zip(values).any(|(half, value)| half.is_infinite() && value.is_finite()) {
                    return Err(Error::limit(format!(
                        "tensor {} has values beyond the range of f16",
                        shown(name)
                    ))
                    .with_hint("bf16 has the range of f32"));
                }
                sink(&little_endian(&halves, f16::to_le_bytes))?;
            }
            Precision::Bf16 => {
                let halves: Vec<bf16> = values.iter().copied().map(bf16::from_f32).collect();
                sink(&little_endian(&halves, bf16::to_le_bytes))?;
            }
        }
    }
    Ok(())
}

/// Saves the parameters of a network under their names, one at a time.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) when writing fails, [`ErrorKind::Limit`](crate::ErrorKind::Limit) when a
/// value does not fit the precision, [`ErrorKind::Resource`](crate::ErrorKind::Resource) when a device cannot be read.
pub fn save_parameters<M: Module>(
    module: &M,
    path: &Path,
    precision: Precision,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let mut writer = SafetensorsWriter::create(path, precision, names_and_shapes(module), metadata)?;
    for_each_parameter(module, &mut |name, data| writer.write(name, data))?;
    writer.finish()
}

/// The JSON of the header, padded so that the values start at a multiple of 8 bytes and can be used in place.
fn header(
    precision: Precision,
    tensors: &[(String, Vec<usize>)],
    metadata: &BTreeMap<String, String>,
) -> Result<String> {
    let element = precision.element();
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert(METADATA_KEY.to_owned(), json!(metadata));
    }
    let mut start = 0usize;
    for (name, shape) in tensors {
        let end = byte_count(element, shape)
            .and_then(|count| start.checked_add(count))
            .ok_or_else(|| Error::argument(format!("tensor {name} of shape {shape:?} is too large")))?;
        let entry = json!({ "dtype": element.name(), "shape": shape, "data_offsets": [start, end] });
        if header.insert(name.clone(), entry).is_some() {
            return Err(Error::argument(format!("tensor {name} is there twice")));
        }
        start = end;
    }
    let mut text = Value::Object(header).to_string();
    let padding = text.len().next_multiple_of(8) - text.len();
    text.extend(std::iter::repeat_n(' ', padding));
    Ok(text)
}

fn little_endian<T: Copy, const SIZE: usize>(values: &[T], bytes: impl Fn(T) -> [u8; SIZE]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}
