//! Tensors from safetensors files.

use std::{collections::BTreeMap, path::Path};

use gendr_image::{Error, Limits, Result, read_file};
use safetensors::{Dtype, SafeTensors};

/// A tensor in single precision.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f32>,
}

/// Tensors by name.
#[derive(Clone, Debug, Default)]
pub struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    /// Reads those of `files` that are in `folder`.
    ///
    /// # Errors
    /// An input error where none is there or one is damaged.
    pub fn open(folder: &Path, files: &[&str]) -> Result<Self> {
        let mut weights = Self::default();
        let there: Vec<_> =
            files.iter().map(|file| folder.join(file)).filter(|path| path.is_file()).collect();
        if there.is_empty() {
            return Err(Error::input(format!("neither {} nor {} is here", files[0], files[files.len() - 1]))
                .at(folder));
        }
        for path in there {
            let bytes = read_file(&path, &Limits::default())?;
            weights.0.extend(Self::parse(&bytes, "").map_err(|error| error.at(&path))?.0);
        }
        Ok(weights)
    }

    /// The tensors of a safetensors file whose names begin with `prefix`, without it. Half precision is widened; tensors of
    /// whole numbers are left out.
    ///
    /// # Errors
    /// An input error where the file is damaged or a value is not finite.
    pub fn parse(bytes: &[u8], prefix: &str) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| Error::input(format!("not a sound safetensors file: {error}")))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let Some(name) = name.strip_prefix(prefix) else { continue };
            let bytes = view.data();
            let data: Vec<f32> = match view.dtype() {
                Dtype::F32 => bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
                Dtype::F64 => {
                    bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect()
                }
                Dtype::BF16 => {
                    let wide = |&bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16);
                    bytes.as_chunks().0.iter().map(wide).collect()
                }
                Dtype::F16 => {
                    bytes.as_chunks().0.iter().map(|&bytes| half(u16::from_le_bytes(bytes))).collect()
                }
                _ => continue,
            };
            if !data.iter().all(|value| value.is_finite()) {
                return Err(Error::input(format!("{name} holds values that are not finite numbers")));
            }
            tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
        }
        Ok(Self(tensors))
    }

    /// The tensor under the first of `names` that is there, with `rank` axes.
    pub(super) fn get(&self, names: &[String], rank: usize) -> Result<&Tensor> {
        let Some((name, tensor)) = names.iter().find_map(|name| Some((name, self.0.get(name)?))) else {
            return Err(Error::input(format!("the weights lack {}", names.join(" or "))));
        };
        if tensor.shape.len() != rank || tensor.data.is_empty() {
            return Err(Error::input(format!("{name} has the shape {:?}, not {rank} axes", tensor.shape)));
        }
        Ok(tensor)
    }
}

/// A half-precision number.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    match exponent {
        0 => sign * fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2_f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_widened() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x0001, 5.960_464_5e-8), (0, 0.0)]
        {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn damaged_files_are_refused() {
        assert!(Weights::parse(b"no weights", "").is_err());
        let folder = tempfile::tempdir().unwrap();
        assert!(Weights::open(folder.path(), &["a", "b"]).is_err());
    }
}
