//! An EXIF block taken apart and put together again, for containers that hold its parts on their own (TIFF).

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
    #[cfg(test)]
    pub(crate) fn find(&self, tag: u16) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.tag == tag)
    }

    pub(crate) fn remove(&mut self, tag: u16) -> Option<Entry> {
        let index = self.0.iter().position(|entry| entry.tag == tag)?;
        Some(self.0.remove(index))
    }

    /// Reads the directory at `offset`. Fields that are damaged or of unknown type are left out.
    fn read(bytes: &[u8], order: Order, offset: u32, budget: &mut usize) -> Self {
        let directory = offset as usize;
        let count = usize::from(order.u16(bytes, directory).unwrap_or(0));
        let entry = |index: usize| -> Option<Entry> {
            let at = directory + 2 + 12 * index;
            let kind = FieldType::from_code(order.u16(bytes, at + 2)?)?;
            let count = order.u32(bytes, at + 4)?;
            let length = kind.bytes(count);
            let from = if length <= 4 { at + 8 } else { order.u32(bytes, at + 8)? as usize };
            let value = bytes.get(from..from.checked_add(length)?)?;
            *budget = budget.checked_sub(length)?;
            Some(Entry { tag: order.u16(bytes, at)?, kind, count, value: value.to_vec() })
        };
        Self((0..count).filter_map(entry).collect())
    }
}

impl Exif {
    /// Takes a block apart; also reads the first directory of a TIFF file and those below it. None where the bytes are no
    /// such thing.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let order = Order::of(bytes)?;
        let mut budget = MAX_VALUES;
        let mut main = Directory::read(bytes, order, order.u32(bytes, 4)?, &mut budget);
        let mut below = |parent: &mut Directory, tag| match parent.remove(tag).and_then(|e| e.number(order)) {
            Some(offset) => Directory::read(bytes, order, offset, &mut budget),
            None => Directory::default(),
        };
        let mut exif = below(&mut main, tag::EXIF_DIRECTORY);
        let gps = below(&mut main, tag::GPS_DIRECTORY);
        let interoperability = below(&mut exif, tag::INTEROPERABILITY_DIRECTORY);
        Some(Self { order, main, exif, gps, interoperability })
    }

    /// The same in another byte order. Maker notes and other blocks of undefined type stay byte for byte.
    pub(crate) fn in_order(mut self, order: Order) -> Self {
        if order != self.order {
            self.order = order;
            for part in [&mut self.main, &mut self.exif, &mut self.gps, &mut self.interoperability] {
                for entry in &mut part.0 {
                    entry.value.chunks_mut(entry.kind.word()).for_each(<[u8]>::reverse);
                }
            }
        }
        self
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        [&self.main, &self.exif, &self.gps, &self.interoperability].iter().all(|part| part.0.is_empty())
    }

    /// Puts the block together.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = match self.order {
            Order::Little => b"II*\0".to_vec(),
            Order::Big => b"MM\0*".to_vec(),
        };
        bytes.extend(self.order.u32_bytes(8));
        self.append_to(&mut bytes, 0, Vec::new());
        bytes
    }

    /// Appends all directories to `bytes`, whose first byte stands at `base` of the file, with `more` fields in the main
    /// one. The main directory comes first.
    pub(crate) fn append_to(&self, bytes: &mut Vec<u8>, base: u32, more: Vec<Entry>) {
        let mut main = self.main.clone();
        main.0.extend(more);
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
        let exif_at = base + (bytes.len() + main.length()) as u32;
        let gps_at = exif_at + exif.length_if_any() as u32;
        let interoperability_at = gps_at + self.gps.length_if_any() as u32;
        let order = self.order;
        main.point(order, tag::EXIF_DIRECTORY, exif_at);
        main.point(order, tag::GPS_DIRECTORY, gps_at);
        exif.point(order, tag::INTEROPERABILITY_DIRECTORY, interoperability_at);
        main.append_to(bytes, base, order);
        for child in [&exif, &self.gps, &self.interoperability] {
            if !child.0.is_empty() {
                child.append_to(bytes, base, order);
            }
        }
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

    fn append_to(&self, bytes: &mut Vec<u8>, base: u32, order: Order) {
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
