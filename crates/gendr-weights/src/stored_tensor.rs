//! One tensor as a file holds it.

use std::ops::Deref;

use bytes::Bytes;
use half::{bf16, f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Values a task works on at a time: small enough to stay in the cache, large enough to be worth a task.
const CHUNK: usize = 1 << 16;

/// Most dimensions a tensor of a weight file may have.
pub(crate) const MAX_DIMENSIONS: usize = 8;

/// How the values of a stored tensor are written; all are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ElementType {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl ElementType {
    const ALL: [Self; 13] = [
        Self::F64,
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::I64,
        Self::I32,
        Self::I16,
        Self::I8,
        Self::U64,
        Self::U32,
        Self::U16,
        Self::U8,
        Self::Bool,
    ];

    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The name safetensors headers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|element| element.name() == name)
    }
}

/// A tensor of a weight file: a cheap handle on bytes that usually lie in the mapped file.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    element: ElementType,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl StoredTensor {
    /// A tensor over `bytes`, row-major.
    ///
    /// # Errors
    /// When the bytes are not exactly what shape and element type need.
    pub fn new(element: ElementType, shape: Vec<usize>, bytes: Bytes) -> Result<Self> {
        match byte_count(element, &shape) {
            Some(count) if count == bytes.len() => Ok(Self { element, shape, bytes }),
            _ => Err(Error::input(format!(
                "shape {shape:?} of {} does not fit {} bytes",
                element.name(),
                bytes.len()
            ))),
        }
    }

    /// A tensor of f32 values in memory of its own, row-major.
    ///
    /// # Errors
    /// When the number of values is not the product of the shape.
    pub fn from_f32(values: Vec<f32>, shape: Vec<usize>) -> Result<Self> {
        Self::new(ElementType::F32, shape, Bytes::from_owner(F32Values(values)))
    }

    /// How the values are written.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// The size of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The stored bytes, row-major.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, sharing their memory.
    pub fn shared_bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.element.size()
    }

    /// Whether the tensor holds no value.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The same values under another shape.
    ///
    /// # Errors
    /// When the number of values differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        Self::new(self.element, shape.to_vec(), self.bytes.clone())
    }

    /// The values in f32, all of them finite. Values that are f32 in the file are not copied: the result shares the
    /// mapped memory. `name` is the tensor's name for the error.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) when the tensor is not f32, f16 or bf16;
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when a value is NaN or infinite.
    pub fn values(&self, name: &str) -> Result<Values> {
        let finite = match (self.element, self.aligned_f32()) {
            (ElementType::F32, Some(values)) => {
                if !all_finite(values) {
                    return Err(not_finite(name));
                }
                return Ok(Values(Place::Shared(self.bytes.clone())));
            }
            (ElementType::F32, None) => self.widen::<4>(|bytes, values| {
                for (bytes, value) in bytes.iter().zip(values) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }),
            (ElementType::F16, _) => self.widen::<2>(|bytes, values| {
                let halves: Vec<f16> = bytes.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
                halves.convert_to_f32_slice(values);
            }),
            (ElementType::Bf16, _) => self.widen::<2>(|bytes, values| {
                for (bytes, value) in bytes.iter().zip(values) {
                    *value = bf16::from_le_bytes(*bytes).to_f32();
                }
            }),
            (other, _) => {
                return Err(Error::unsupported(format!(
                    "tensor {} holds {}, not F32, F16 or BF16",
                    shown(name),
                    other.name()
                )));
            }
        };
        finite.map(|values| Values(Place::Own(values))).ok_or_else(|| not_finite(name))
    }

    /// Whether the values are in half precision and their bytes can be used in place.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when they are and one of them is NaN or infinite.
    pub fn holds_halves_in_place(&self, name: &str) -> Result<bool> {
        let infinity = match self.element {
            ElementType::F16 => f16::INFINITY.to_bits(),
            ElementType::Bf16 => bf16::INFINITY.to_bits(),
            _ => return Ok(false),
        };
        let halves = bytemuck::try_cast_slice::<u8, u16>(&self.bytes);
        let Some(halves) = halves.ok().filter(|_| cfg!(target_endian = "little")) else { return Ok(false) };
        // The exponent of infinities and NaN is all ones.
        let finite =
            halves.par_chunks(CHUNK).all(|halves| halves.iter().all(|half| half & infinity != infinity));
        if finite { Ok(true) } else { Err(not_finite(name)) }
    }

    /// The stored bytes as f32 where they can be used in place.
    fn aligned_f32(&self) -> Option<&[f32]> {
        if cfg!(target_endian = "little") { bytemuck::try_cast_slice(&self.bytes).ok() } else { None }
    }

    /// Converts chunk by chunk; nothing when a value is not finite.
    fn widen<const SIZE: usize>(
        &self,
        convert: impl Fn(&[[u8; SIZE]], &mut [f32]) + Send + Sync,
    ) -> Option<Vec<f32>> {
        let (stored, _) = self.bytes.as_chunks::<SIZE>();
        let mut values = vec![0.0; stored.len()];
        let finite = stored.par_chunks(CHUNK).zip(values.par_chunks_mut(CHUNK)).all(|(stored, values)| {
            convert(stored, values);
            is_finite(values)
        });
        finite.then_some(values)
    }
}

/// Finite values in f32, in the memory they were found in or in their own. A slice of `f32`.
#[derive(Clone, Debug)]
pub struct Values(Place);

#[derive(Clone, Debug)]
enum Place {
    /// Aligned for f32.
    Shared(Bytes),
    Own(Vec<f32>),
}

impl Values {
    /// The memory that the values lie in: the file's, or else their own.
    pub fn into_shared(self) -> Result<Bytes, Vec<f32>> {
        match self.0 {
            Place::Shared(bytes) => Ok(bytes),
            Place::Own(values) => Err(values),
        }
    }
}

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Place::Shared(bytes) => bytemuck::cast_slice(bytes),
            Place::Own(values) => values,
        }
    }
}

/// Lets tensor bytes live in the memory of a vector of floats.
struct F32Values(Vec<f32>);

impl AsRef<[u8]> for F32Values {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Bytes a tensor takes, unless that is more than can be counted.
pub fn byte_count(element: ElementType, shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(element.size(), |count, &size| count.checked_mul(size))
}

/// A name from a file as an error shows it: on one line and not endless.
pub fn shown(name: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

fn not_finite(name: &str) -> Error {
    Error::input(format!("tensor {} holds NaN or infinite values", shown(name)))
}

fn all_finite(values: &[f32]) -> bool {
    values.par_chunks(CHUNK).all(is_finite)
}

/// Adding one to an exponent of all ones carries into the sign bit: an `or` over all values keeps it, and the loop
/// has no branch.
fn is_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    const ONE: u32 = 0x0080_0000;
    let carried = values.iter().fold(0, |carried, value| carried | ((value.to_bits() & EXPONENT) + ONE));
    carried >> 31 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn stored(element: ElementType, bytes: Vec<u8>) -> StoredTensor {
        let count = bytes.len() / element.size();
        StoredTensor::new(element, vec![count], Bytes::from(bytes)).unwrap()
    }

    fn values(tensor: &StoredTensor) -> Vec<f32> {
        tensor.values("t").unwrap().to_vec()
    }

    #[test]
    fn widens_half_precision_exactly() {
        let numbers = [0.0f32, -1.5, 0.25, 1024.0, 6.1035156e-5];
        let half = numbers.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        let brain = numbers.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
        assert_eq!(values(&stored(ElementType::F16, half)), numbers);
        assert_eq!(values(&stored(ElementType::Bf16, brain)), numbers);
    }

    #[test]
    fn reads_f32_at_any_alignment() {
        let numbers = [1.0f32, 2.0, -3.5];
        let raw: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        for shift in 0..4 {
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&raw);
            let bytes = Bytes::from(shifted).slice(shift..);
            assert_eq!(values(&StoredTensor::new(ElementType::F32, vec![3], bytes).unwrap()), numbers);
        }
    }

    #[test]
    fn aligned_f32_is_not_copied() {
        let tensor = StoredTensor::from_f32(vec![1.0, 2.0], vec![2]).unwrap();
        let values = tensor.values("t").unwrap();
        assert_eq!(values.as_ptr().cast(), tensor.bytes().as_ptr());
    }

    #[test]
    fn names_the_tensor_that_is_not_finite() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            let mut numbers = vec![f32::MAX; CHUNK + 5];
            numbers[CHUNK + 2] = bad;
            let f32_error =
                StoredTensor::from_f32(numbers, vec![CHUNK + 5]).unwrap().values("conv.weight").unwrap_err();
            let half = f16::from_f32(bad).to_le_bytes().to_vec();
            let half_error = stored(ElementType::F16, half).values("conv.weight").unwrap_err();
            for error in [f32_error, half_error] {
                assert_eq!(error.kind(), ErrorKind::Input);
                assert!(error.to_string().contains("conv.weight"), "{error}");
            }
        }
    }

    #[test]
    fn refuses_what_is_not_floating_point() {
        let error = stored(ElementType::I32, vec![0; 8]).values("steps").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.to_string(), "tensor steps holds I32, not F32, F16 or BF16");
    }

    #[test]
    fn shape_and_bytes_must_agree() {
        assert!(StoredTensor::new(ElementType::F32, vec![2, 2], Bytes::from(vec![0; 15])).is_err());
        assert!(StoredTensor::new(ElementType::F32, vec![usize::MAX, 2], Bytes::new()).is_err());
        let tensor = StoredTensor::from_f32(vec![0.0; 6], vec![2, 3]).unwrap();
        assert_eq!(tensor.reshape(&[3, 2, 1]).unwrap().shape(), [3, 2, 1]);
        assert!(tensor.reshape(&[4]).is_err());
    }

    #[test]
    fn hostile_names_stay_on_one_line() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"x".repeat(300)).len(), 203);
    }
}
