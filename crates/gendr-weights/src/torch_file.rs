//! Tensors in the files of `torch.save`: `.pth`, `.pt`, `.bin`, `.pkl`.
//!
//! Since torch 1.6 such a file is a zip archive of one pickle and one member for each storage; before, it was five
//! pickles followed by the storages. Both are read from the mapped file; a contiguous tensor is not copied. TorchScript keeps
//! code beside such an archive, which nobody looks at.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    pickle::{Id, Pickle, Storage, TensorView, Value},
    safetensors::map_file,
    stored_tensor::{StoredTensor, byte_count, shown},
    zip_archive,
};

/// The integer the old format starts with, little-endian.
const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// Deepest nesting of dictionaries and lists that is searched for tensors.
const MAX_DEPTH: usize = 16;
/// Most values looked at in that search: shared values count each time.
const MAX_VISITS: usize = 1 << 20;

/// The tensors of the torch file at `path`. Those inside dictionaries and lists get the keys and positions on the way
/// as their name, joined by dots: `params_ema.conv_first.weight`.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) when the file cannot be mapped,
/// [`ErrorKind::Input`](crate::ErrorKind::Input) when it is damaged or asks for a callable that is no part of a weight
/// file, [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for forms torch no longer writes. The message ends
/// with the path.
pub(crate) fn open(path: &Path) -> Result<BTreeMap<String, StoredTensor>> {
    parse(&map_file(path)?).map_err(|error| error.in_file(path))
}

/// The tensors of a torch file in memory.
pub(crate) fn parse(file: &Bytes) -> Result<BTreeMap<String, StoredTensor>> {
    if zip_archive::is_zip(file) { parse_archive(file) } else { parse_old(file) }
}

fn parse_archive(file: &Bytes) -> Result<BTreeMap<String, StoredTensor>> {
    const PICKLE: &str = "data.pkl";
    let members = zip_archive::members(file)?;
    let (name, place) = members
        .iter()
        .find(|(name, _)| {
            name.strip_suffix(PICKLE).is_some_and(|root| root.is_empty() || root.ends_with('/'))
        })
        .ok_or_else(|| Error::input("zip archive without data.pkl: not written by torch.save"))?;
    let root = name.trim_end_matches(PICKLE);
    if let Some(order) = members.get(&format!("{root}byteorder"))
        && &file[order.clone()] != b"little"
    {
        return Err(Error::unsupported("torch file of a big-endian machine"));
    }
    let pickle = Pickle::read(&file[place.clone()])?;
    let storages = members
        .iter()
        .filter_map(|(name, place)| {
            let key = name.strip_prefix(root)?.strip_prefix("data/")?;
            Some((key, file.slice(place.clone())))
        })
        .collect();
    Collector::new(&pickle, &storages, file.len()).collect()
}

fn parse_old(file: &Bytes) -> Result<BTreeMap<String, StoredTensor>> {
    let mut rest: &[u8] = file;
    let mut next = || -> Result<Pickle<'_>> {
        let pickle = Pickle::read(rest)?;
        rest = &rest[pickle.length..];
        Ok(pickle)
    };
    let magic = next()?;
    if !matches!(magic.value(magic.root), Value::Bytes(MAGIC)) {
        return Err(Error::input("pickle that torch.save did not write"));
    }
    let version = next()?;
    if !matches!(version.value(version.root), Value::Integer(PROTOCOL)) {
        return Err(Error::unsupported("torch file of an unknown version"));
    }
    // Sizes of the machine's integers: storages have fixed sizes.
    next()?;
    let object = next()?;
    let keys = next()?;
    let storages = old_storages(file, file.len() - rest.len(), &object, &keys)?;
    Collector::new(&object, &storages, file.len()).collect()
}

/// The storages behind the pickles: for each key the number of values, then the values.
fn old_storages<'a>(
    file: &Bytes,
    start: usize,
    object: &Pickle<'a>,
    keys: &Pickle<'a>,
) -> Result<HashMap<&'a str, Bytes>> {
    let Value::List(list) = keys.value(keys.root) else {
        return Err(Error::input("torch file without a list of its storages"));
    };
    let truncated = || Error::input("truncated torch file: its storages are incomplete");
    let elements: HashMap<_, _> = object.storages().map(|storage| (storage.key, storage.element)).collect();
    let mut storages = HashMap::new();
    let mut at = start;
    for &key in list {
        let Value::Text(key) = *keys.value(key) else {
            return Err(Error::input("torch file with a storage key that is no text"));
        };
        let count = file[at..].first_chunk::<8>().ok_or_else(truncated)?;
        let count = usize::try_from(u64::from_le_bytes(*count)).map_err(|_| truncated())?;
        let element = *elements
            .get(key)
            .ok_or_else(|| Error::input(format!("torch file with an unknown storage {}", shown(key))))?;
        let start = at + 8;
        let size = byte_count(element, &[count]).ok_or_else(truncated)?;
        at = start.checked_add(size).filter(|&end| end <= file.len()).ok_or_else(truncated)?;
        storages.insert(key, file.slice(start..at));
    }
    Ok(storages)
}

/// Walks through an unpickled object for its tensors.
struct Collector<'p, 'a> {
    pickle: &'p Pickle<'a>,
    storages: &'p HashMap<&'a str, Bytes>,
    found: BTreeMap<String, StoredTensor>,
    visits: usize,
    /// Bytes that may still be copied for tensors that are not contiguous.
    copies: usize,
}

impl<'p, 'a> Collector<'p, 'a> {
    fn new(pickle: &'p Pickle<'a>, storages: &'p HashMap<&'a str, Bytes>, file_size: usize) -> Self {
        Self { pickle, storages, found: BTreeMap::new(), visits: 0, copies: file_size }
    }

    fn collect(mut self) -> Result<BTreeMap<String, StoredTensor>> {
        self.visit(self.pickle.root, &mut Vec::new())?;
        Ok(self.found)
    }

    fn visit(&mut self, id: Id, path: &mut Vec<String>) -> Result<()> {
        self.visits += 1;
        if path.len() > MAX_DEPTH || self.visits > MAX_VISITS {
            return Err(Error::limit("torch file whose tensors are nested too deep or too often"));
        }
        let pickle = self.pickle;
        match pickle.value(id) {
            Value::Dict(items) => {
                for &(key, value) in items {
                    let key = match pickle.value(key) {
                        Value::Text(text) => (*text).to_owned(),
                        Value::Integer(number) => number.to_string(),
                        // Nothing that a name could be made of.
                        _ => continue,
                    };
                    self.enter(key, value, path)?;
                }
            }
            Value::List(items) | Value::Tuple(items) => {
                for (position, &value) in items.iter().enumerate() {
                    self.enter(position.to_string(), value, path)?;
                }
            }
            Value::Tensor(view) => {
                let name = path.join(".");
                let in_tensor = |error: Error| error.in_tensor(&shown(&name));
                let tensor = self.tensor(view).map_err(in_tensor)?;
                if self.found.insert(name.clone(), tensor).is_some() {
                    return Err(Error::input(format!("tensor {} is there twice", shown(&name))));
                }
            }
            Value::Module(Some(attributes)) => self.visit(*attributes, path)?,
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, key: String, value: Id, path: &mut Vec<String>) -> Result<()> {
        path.push(key);
        let visited = self.visit(value, path);
        path.pop();
        visited
    }

    fn tensor(&mut self, view: &TensorView<'a>) -> Result<StoredTensor> {
        let bytes = self.storage(&view.storage)?;
        let outside = || Error::input("it reaches beyond its storage");
        let size = view.storage.element.size();
        let count =
            view.shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)).ok_or_else(outside)?;
        if count == 0 {
            return StoredTensor::new(view.storage.element, view.shape.clone(), Bytes::new());
        }
        let last = view.last().filter(|&last| last < view.storage.count).ok_or_else(outside)?;
        if view.is_contiguous() {
            return StoredTensor::new(
                view.storage.element,
                view.shape.clone(),
                bytes.slice(view.offset * size..(last + 1) * size),
            );
        }
        // A stride of zero could make a tensor of any size from one value.
        let copy = byte_count(view.storage.element, &view.shape).ok_or_else(outside)?;
        self.copies = self
            .copies
            .checked_sub(copy)
            .ok_or_else(|| Error::limit("its values would take more memory than the file"))?;
        StoredTensor::new(view.storage.element, view.shape.clone(), view.gather(&bytes, copy).into())
    }

    fn storage(&self, storage: &Storage<'a>) -> Result<Bytes> {
        let bytes = self
            .storages
            .get(storage.key)
            .ok_or_else(|| Error::input(format!("its storage {} is missing", shown(storage.key))))?;
        if byte_count(storage.element, &[storage.count]) != Some(bytes.len()) {
            return Err(Error::input(format!(
                "its storage {} has {} bytes for {} values of {}",
                shown(storage.key),
                bytes.len(),
                storage.count,
                storage.element.name()
            )));
        }
        Ok(bytes.clone())
    }
}

impl TensorView<'_> {
    /// Index of the last value in the storage, if it can be counted. The tensor is not empty.
    fn last(&self) -> Option<usize> {
        self.shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |last, (&size, &stride)| last.checked_add((size - 1).checked_mul(stride)?))
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            expected *= size;
            fits
        })
    }

    /// The values in row-major order, `total` bytes of them.
    fn gather(&self, storage: &[u8], total: usize) -> Vec<u8> {
        let size = self.storage.element.size();
        let mut gathered = Vec::with_capacity(total);
        let mut index = vec![0; self.shape.len()];
        let mut place = self.offset;
        while gathered.len() < total {
            gathered.extend_from_slice(&storage[place * size..][..size]);
            // The next index, the last dimension fastest.
            for dimension in (0..index.len()).rev() {
                index[dimension] += 1;
                place += self.strides[dimension];
                if index[dimension] < self.shape[dimension] {
                    break;
                }
                place -= self.strides[dimension] * self.shape[dimension];
                index[dimension] = 0;
            }
        }
        gathered
    }
}
