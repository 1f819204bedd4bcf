//! An EXIF block taken apart and put together again, for containers that hold its parts on their own (TIFF).

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::{Order, tag};

/// Type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldType {
    Byte = 1,
    Ascii = 2,
    Short = 3,
    Long = 4,
    Rational = 5,
    SignedByte = 6,
    Undefined = 7,
    SignedShort = 8,
    SignedLong = 9,
    SignedRational = 10,
    Float = 11,
    Double = 12,
}

/// A field with its value in the order of the block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) tag: u16,
    pub(crate) kind: FieldType,
    pub(crate) count: u32,
    pub(crate) value: Vec<u8>,
}

/// The fields of one directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Directory(pub(crate) Vec<Entry>);

/// A whole block. The thumbnail is left behind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exif {
    pub(crate) order: Order,
    pub(crate) main: Directory,
    pub(crate) exif: Directory,
    pub(crate) gps: Directory,
    pub(crate) interoperability: Directory,
}

/// Most bytes of values taken from one block; entries may point at the same bytes, so the file's size is no bound.
const MAX_VALUES: usize = 16 << 20;
/// Most fields taken from one directory: each may lie in another corner of a large file.
const MAX_FIELDS: u64 = 4096;
/// Types of BigTIFF for numbers and offsets of eight bytes.
const LONG8: u16 = 16;
const IFD8: u16 = 18;

impl FieldType {
    pub(crate) fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Byte,
            2 => Self::Ascii,
            3 => Self::Short,
            4 | 13 => Self::Long,
            5 => Self::Rational,
            6 => Self::SignedByte,
            7 => Self::Undefined,
            8 => Self::SignedShort,
            9 => Self::SignedLong,
            10 => Self::SignedRational,
            11 => Self::Float,
            12 => Self::Double,
            _ => return None,
        })
    }

    /// Bytes that `count` values take.
    pub(crate) fn bytes(self, count: u32) -> usize {
        let one = match self {
            Self::Rational | Self::SignedRational => 8,
            other => other.word(),
        };
        one * count as usize
    }

    /// Bytes that the order of bytes applies to together.
    fn word(self) -> usize {
        match self {
            Self::Byte | Self::Ascii | Self::SignedByte | Self::Undefined => 1,
            Self::Short | Self::SignedShort => 2,
            Self::Long | Self::SignedLong | Self::Float | Self::Rational | Self::SignedRational => 4,
            Self::Double => 8,
        }
    }
}

impl Entry {
    pub(crate) fn shorts(tag: u16, order: Order, values: &[u16]) -> Self {
        let value = values.iter().flat_map(|&value| order.u16_bytes(value)).collect();
        Self { tag, kind: FieldType::Short, count: values.len() as u32, value }
    }

    pub(crate) fn longs(tag: u16, order: Order, values: &[u32]) -> Self {
        let value = values.iter().flat_map(|&value| order.u32_bytes(value)).collect();
        Self { tag, kind: FieldType::Long, count: values.len() as u32, value }
    }

    #[cfg(test)]
    pub(crate) fn ascii(tag: u16, text: &str) -> Self {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        Self { tag, kind: FieldType::Ascii, count: value.len() as u32, value }
    }

    pub(crate) fn bytes(tag: u16, kind: FieldType, value: Vec<u8>) -> Self {
        Self { tag, kind, count: value.len() as u32, value }
    }

    /// The first number of a SHORT or LONG field.
    pub(crate) fn number(&self, order: Order) -> Option<u32> {
        match self.kind {
            FieldType::Short => order.u16(&self.value, 0).map(u32::from),
            FieldType::Long => order.u32(&self.value, 0),
            _ => None,
        }
    }

    /// The first number of a RATIONAL field.
    pub(crate) fn rational(&self, order: Order) -> Option<f64> {
        let numerator = order.u32(&self.value, 0)?;
        let denominator = order.u32(&self.value, 4).filter(|&value| value != 0)?;
        (self.kind == FieldType::Rational).then(|| f64::from(numerator) / f64::from(denominator))
    }
}

impl Directory {
    pub(crate) fn find(&self, tag: u16) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.tag == tag)
    }

    pub(crate) fn remove(&mut self, tag: u16) -> Option<Entry> {
        let index = self.0.iter().position(|entry| entry.tag == tag)?;
        Some(self.0.remove(index))
    }

    /// Reads the directory at `offset`. Fields that are damaged or of unknown type are left out.
    fn read(source: &mut impl Source, form: Form, offset: u64, budget: &mut usize) -> Self {
        let Form { order, big } = form;
        // Bytes of the count of fields, of a field, and of a count or offset in it.
        let (head, field, word) = if big { (8, 20, 8) } else { (2, 12, 4) };
        let count = source
            .bytes(offset, head)
            .and_then(|bytes| if big { order.u64(&bytes, 0) } else { order.u16(&bytes, 0).map(u64::from) });
        let entry = |index: u64| -> Option<Entry> {
            let slot = source.bytes(offset.checked_add(head as u64 + field as u64 * index)?, field)?;
            let (tag, code) = (order.u16(&slot, 0)?, order.u16(&slot, 2)?);
            let count = u32::try_from(form.word(&slot, 4)?).ok()?;
            let at = form.word(&slot, 4 + word)?;
            if matches!(code, LONG8 | IFD8) && count == 1 {
                return Some(Entry::longs(tag, order, &[u32::try_from(at).ok()?]));
            }
            let kind = FieldType::from_code(code)?;
            let length = kind.bytes(count);
            let value = if length <= word {
                slot[4 + word..4 + word + length].to_vec()
            } else {
                *budget = budget.checked_sub(length)?;
                source.bytes(at, length)?
            };
            Some(Entry { tag, kind, count, value })
        };
        Self((0..count.unwrap_or(0).min(MAX_FIELDS)).filter_map(entry).collect())
    }
}

/// Byte order, and whether the stream is BigTIFF, whose counts and offsets have eight bytes.
#[derive(Clone, Copy)]
struct Form {
    order: Order,
    big: bool,
}

impl Form {
    fn word(self, bytes: &[u8], at: usize) -> Option<u64> {
        if self.big { self.order.u64(bytes, at) } else { self.order.u32(bytes, at).map(u64::from) }
    }
}

/// Bytes by their place, in memory or in a file.
pub(crate) trait Source {
    /// None where they are not all there.
    fn bytes(&mut self, from: u64, length: usize) -> Option<Vec<u8>>;
}

impl Source for &[u8] {
    fn bytes(&mut self, from: u64, length: usize) -> Option<Vec<u8>> {
        let from = usize::try_from(from).ok()?;
        self.get(from..from.checked_add(length)?).map(<[u8]>::to_vec)
    }
}

/// A file as a [`Source`].
pub(crate) struct FileSource<'a, R> {
    file: &'a mut BufReader<R>,
    length: u64,
}

impl<'a, R: Read + Seek> FileSource<'a, R> {
    pub(crate) fn new(file: &'a mut BufReader<R>) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, length })
    }

    fn read(&mut self, from: u64, length: usize) -> io::Result<Vec<u8>> {
        // Relative, so that what is buffered stays of use.
        let here = self.file.stream_position()?;
        self.file.seek_relative(from.wrapping_sub(here) as i64)?;
        let mut bytes = vec![0; length];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read + Seek> Source for FileSource<'_, R> {
    fn bytes(&mut self, from: u64, length: usize) -> Option<Vec<u8>> {
        // Before anything is allocated.
        from.checked_add(length as u64).filter(|&end| end <= self.length)?;
        self.read(from, length).ok()
    }
}

impl Exif {
    /// Takes a block apart; also reads the first directory of a TIFF file and those below it. None where the bytes are no
    /// such thing.
    pub(crate) fn read(mut bytes: &[u8]) -> Option<Self> {
        Self::read_from(&mut bytes)
    }

    /// The same from a file.
    pub(crate) fn read_from(source: &mut impl Source) -> Option<Self> {
        let header = source.bytes(0, 8)?;
        let (form, first) = match Order::of(&header) {
            Some(order) => (Form { order, big: false }, order.u32(&header, 4)?.into()),
            None => {
                let order = match header[..] {
                    [b'I', b'I', 43, 0, 8, 0, 0, 0] => Order::Little,
                    [b'M', b'M', 0, 43, 0, 8, 0, 0] => Order::Big,
                    _ => return None,
                };
                (Form { order, big: true }, order.u64(&source.bytes(8, 8)?, 0)?)
            }
        };
        let order = form.order;
        let mut budget = MAX_VALUES;
        let mut main = Directory::read(source, form, first, &mut budget);
        let mut below = |parent: &mut Directory, tag| match parent.remove(tag).and_then(|e| e.number(order)) {
            Some(offset) => Directory::read(source, form, offset.into(), &mut budget),
            None => Directory::default(),
        };
        let mut exif = below(&mut main, tag::EXIF_DIRECTORY);
        let gps = below(&mut main, tag::GPS_DIRECTORY);
        let interoperability = below(&mut exif, tag::INTEROPERABILITY_DIRECTORY);
        Some(Self { order, main, exif, gps, interoperability })
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        [&self.main, &self.exif, &self.gps, &self.interoperability].iter().all(|part| part.0.is_empty())
    }

    /// Puts the block together. The main directory comes first.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.order.header(8).to_vec();
        let mut main = self.main.clone();
        let mut exif = self.exif.clone();
        // Directories below are placed after their parents, so a parent's length must be known with the pointers in it.
        let placeholder = |tag| Entry::longs(tag, self.order, &[0]);
        let pointer = |parent: &mut Directory, child: &Directory, tag| {
            if !child.0.is_empty() {
                parent.0.push(placeholder(tag));
            }
        };
        pointer(&mut exif, &self.interoperability, tag::INTEROPERABILITY_DIRECTORY);
        pointer(&mut main, &exif, tag::EXIF_DIRECTORY);
        pointer(&mut main, &self.gps, tag::GPS_DIRECTORY);
        let exif_at = (bytes.len() + main.length()) as u32;
        let gps_at = exif_at + exif.length_if_any() as u32;
        let interoperability_at = gps_at + self.gps.length_if_any() as u32;
        let order = self.order;
        main.point(order, tag::EXIF_DIRECTORY, exif_at);
        main.point(order, tag::GPS_DIRECTORY, gps_at);
        exif.point(order, tag::INTEROPERABILITY_DIRECTORY, interoperability_at);
        main.append_to(&mut bytes, 0, order);
        for child in [&exif, &self.gps, &self.interoperability] {
            if !child.0.is_empty() {
                child.append_to(&mut bytes, 0, order);
            }
        }
        bytes
    }
}

impl Directory {
    /// Bytes taken by the fields and by the values that do not fit in them.
    fn length(&self) -> usize {
        let values = self.0.iter().map(|entry| entry.value.len()).filter(|&length| length > 4);
        2 + 12 * self.0.len() + 4 + values.map(|length| length.next_multiple_of(2)).sum::<usize>()
    }

    fn length_if_any(&self) -> usize {
        if self.0.is_empty() { 0 } else { self.length() }
    }

    fn point(&mut self, order: Order, tag: u16, offset: u32) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.tag == tag) {
            entry.value = order.u32_bytes(offset).to_vec();
        }
    }

    /// Appends the directory and its values to `bytes`, whose first byte stands at `base` of the file.
    pub(crate) fn append_to(&self, bytes: &mut Vec<u8>, base: u32, order: Order) {
        let mut sorted: Vec<&Entry> = self.0.iter().collect();
        sorted.sort_by_key(|entry| entry.tag);
        let mut values = base as usize + bytes.len() + 2 + 12 * sorted.len() + 4;
        bytes.extend(order.u16_bytes(sorted.len() as u16));
        for entry in &sorted {
            bytes.extend(order.u16_bytes(entry.tag));
            bytes.extend(order.u16_bytes(entry.kind as u16));
            bytes.extend(order.u32_bytes(entry.count));
            if entry.value.len() <= 4 {
                let mut inline = [0; 4];
                inline[..entry.value.len()].copy_from_slice(&entry.value);
                bytes.extend(inline);
            } else {
                bytes.extend(order.u32_bytes(values as u32));
                values += entry.value.len().next_multiple_of(2);
            }
        }
        bytes.extend([0; 4]);
        for entry in sorted.iter().filter(|entry| entry.value.len() > 4) {
            bytes.extend(&entry.value);
            if !entry.value.len().is_multiple_of(2) {
                bytes.push(0);
            }
        }
    }
}
