//! Reading safetensors files.
//!
//! The format is small: 8 bytes of header length, a JSON object of names, types, shapes and places, then the values.
//! The check is our own rather than a crate's because every error must name the tensor and the file, duplicate names
//! must be refused, and the header's cost in memory must be bounded by its length.

use std::{collections::BTreeMap, fmt, ops::Range, path::Path};

use bytes::Bytes;
use gendr_kernels::MappedFile;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    error::{Error, ErrorKind, Result},
    stored_tensor::{ElementType, MAX_DIMENSIONS, StoredTensor, byte_count, shown},
};

/// Longest header read: room for some fifty thousand tensors, and a bound for what parsing may cost.
const MAX_HEADER: u64 = 8 << 20;

/// The key under which a header keeps free text.
pub const METADATA_KEY: &str = "__metadata__";

/// A safetensors file, mapped and checked: every tensor lies inside the file, and together they fill it.
#[derive(Clone, Debug)]
pub struct Safetensors {
    tensors: BTreeMap<String, StoredTensor>,
    metadata: BTreeMap<String, String>,
}

impl Safetensors {
    /// Maps the file at `path` and checks its header. Values are not touched yet.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the file cannot be mapped, [`ErrorKind::Limit`] when the header is longer than 8 MiB,
    /// [`ErrorKind::Unsupported`] for an unknown element type, [`ErrorKind::Input`] for anything untrue in the header.
    /// The message ends with the path.
    pub fn open(path: &Path) -> Result<Self> {
        Self::parse(&map_file(path)?).map_err(|error| error.in_file(path))
    }

    /// Reads a file that is already in memory, for instance inside the program.
    ///
    /// # Errors
    /// As [`Safetensors::open`], without a path.
    pub fn parse(file: &Bytes) -> Result<Self> {
        let (header, values) = split(file)?;
        let header: Header = serde_json::from_slice(&header).map_err(header_error)?;
        check_places(&header.tensors, values.len())?;
        let mut tensors = BTreeMap::new();
        for (name, entry) in header.tensors {
            let bytes = values.slice(entry.place);
            tensors.insert(name, StoredTensor::new(entry.element, entry.shape, bytes)?);
        }
        Ok(Self { tensors, metadata: header.metadata })
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    /// The free text of the header.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The tensors alone.
    pub fn into_tensors(self) -> BTreeMap<String, StoredTensor> {
        self.tensors
    }
}

/// Maps a file whose kind only its reader knows.
pub(crate) fn map_file(path: &Path) -> Result<Bytes> {
    let mapped = MappedFile::open(path).map_err(|error| Error::cannot("open", path, error))?;
    Ok(Bytes::from_owner(mapped))
}

/// The values of the safetensors file at `path` without its header, mapped.
///
/// # Errors
/// [`ErrorKind::Io`] when the file cannot be mapped, [`ErrorKind::Input`] and [`ErrorKind::Limit`] when its header has no
/// sound length.
pub fn values_of_file(path: &Path) -> Result<Bytes> {
    let (_, values) = split(&map_file(path)?).map_err(|error| error.in_file(path))?;
    Ok(values)
}

/// Header and values of a file.
fn split(file: &Bytes) -> Result<(Bytes, Bytes)> {
    let Some((length, _)) = file.split_first_chunk::<8>() else {
        return Err(Error::input(format!(
            "no safetensors file: {} bytes, its header alone takes 8",
            file.len()
        )));
    };
    let length = u64::from_le_bytes(*length);
    let room = (file.len() - 8) as u64;
    if length > room {
        return Err(Error::input(format!(
            "truncated or no safetensors file: the header claims {length} bytes, {room} follow"
        )));
    }
    if length > MAX_HEADER {
        return Err(Error::limit(format!(
            "safetensors header of {length} bytes, at most {MAX_HEADER} are read"
        )));
    }
    let end = 8 + length as usize;
    Ok((file.slice(8..end), file.slice(end..)))
}

/// Every tensor's place must have the size of its shape, and the places must follow each other without hole or overlap.
fn check_places(tensors: &BTreeMap<String, Entry>, available: usize) -> Result<()> {
    let mut ordered: Vec<_> = tensors.iter().collect();
    ordered.sort_by_key(|(_, entry)| (entry.place.start, entry.place.end));
    let mut end = 0;
    for (name, Entry { element, shape, place }) in ordered {
        let name = shown(name);
        if place.end > available {
            return Err(Error::input(format!(
                "truncated safetensors file: tensor {name} ends at byte {} of the values, {available} are there",
                place.end
            )));
        }
        if byte_count(*element, shape) != place.end.checked_sub(place.start) {
            return Err(Error::input(format!(
                "tensor {name} of shape {shape:?} and type {} does not fit its place {place:?}",
                element.name()
            )));
        }
        if place.start != end {
            let what = if place.start < end { "overlaps the one before" } else { "leaves a hole before it" };
            return Err(Error::input(format!("tensor {name} at {place:?} {what}")));
        }
        end = place.end;
    }
    if end != available {
        return Err(Error::input(format!("{} bytes after the last tensor belong to none", available - end)));
    }
    Ok(())
}

/// `serde_json` describes the fault on one line, with the place in the header.
fn header_error(error: serde_json::Error) -> Error {
    let text = error.to_string();
    // The one fault of a header that is not the file's: a type the format has and this program does not.
    let kind = if text.contains(UNKNOWN_TYPE) { ErrorKind::Unsupported } else { ErrorKind::Input };
    Error::new(kind, format!("safetensors header: {}", shown(&text))).with_source(error)
}

const UNKNOWN_TYPE: &str = "unsupported element type";

struct Header {
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

struct Entry {
    element: ElementType,
    shape: Vec<usize>,
    place: Range<usize>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header { tensors: BTreeMap::new(), metadata: BTreeMap::new() };
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA_KEY {
                header.metadata = map.next_value()?;
                continue;
            }
            let entry = map.next_value_seed(EntrySeed(&name))?;
            let shown = shown(&name);
            if header.tensors.insert(name, entry).is_some() {
                return Err(A::Error::custom(format!("tensor {shown} is there twice")));
            }
        }
        Ok(header)
    }
}

/// Reads one entry; knows the name for its errors.
struct EntrySeed<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dtype, shape and data_offsets of tensor {}", shown(self.0))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let name = shown(self.0);
        let (mut element, mut shape, mut place) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "dtype" => {
                    let written: String = map.next_value()?;
                    let known = ElementType::from_name(&written).ok_or_else(|| {
                        A::Error::custom(format!("{UNKNOWN_TYPE} {} of tensor {name}", shown(&written)))
                    })?;
                    element = Some(known);
                }
                "shape" => shape = Some(map.next_value::<Sizes<MAX_DIMENSIONS>>()?.0),
                "data_offsets" => place = Some(map.next_value::<Sizes<2>>()?.0),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match (element, shape, place.as_deref()) {
            (Some(element), Some(shape), Some(&[start, end])) if start <= end => {
                Ok(Entry { element, shape, place: start..end })
            }
            _ => Err(A::Error::custom(format!("tensor {name} lacks a sound dtype, shape or data_offsets"))),
        }
    }
}

/// At most `MOST` sizes: a list that is too long stops the reader before it is stored.
struct Sizes<const MOST: usize>(Vec<usize>);

impl<'de, const MOST: usize> Deserialize<'de> for Sizes<MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Sizes(Vec::new()))
    }
}

impl<'de, const MOST: usize> Visitor<'de> for Sizes<MOST> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MOST} sizes")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self, A::Error> {
        while let Some(size) = list.next_element::<usize>()? {
            if self.0.len() == MOST {
                return Err(A::Error::custom(format!("more than {MOST} sizes")));
            }
            self.0.push(size);
        }
        Ok(self)
    }
}
