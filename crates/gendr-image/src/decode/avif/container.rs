//! The boxes of a HEIF file (ISO/IEC 14496-12 and 23008-12) that lead to an AVIF picture and what is said of it.

use crate::{Error, Result};

/// Boxes, items and properties: more than any picture has.
const MAX_ENTRIES: usize = 4096;

/// What an item is and where its data lie.
#[derive(Clone, Debug, Default)]
struct Item {
    id: u32,
    kind: [u8; 4],
    content_type: Vec<u8>,
    /// Whether the extents lie in the `idat` box and not in the file.
    in_idat: bool,
    /// Offset and length; a length of 0 reaches to the end.
    extents: Vec<(u64, u64)>,
    /// Indices into the properties.
    properties: Vec<usize>,
}

/// One property of items.
#[derive(Clone, Copy, Debug)]
struct Property<'a> {
    kind: [u8; 4],
    data: &'a [u8],
}

/// One reference between items.
#[derive(Clone, Debug)]
struct Reference {
    kind: [u8; 4],
    from: u32,
    to: Vec<u32>,
}

/// A picture file, its boxes read.
pub(crate) struct Container<'a> {
    file: &'a [u8],
    idat: &'a [u8],
    primary: u32,
    items: Vec<Item>,
    properties: Vec<Property<'a>>,
    references: Vec<Reference>,
}

/// A picture as coded: one stream, or a grid of them.
pub(crate) struct Coded {
    pub(crate) columns: usize,
    /// Size of the whole where it is a grid.
    pub(crate) size: Option<(u32, u32)>,
    /// AV1 streams, row by row.
    pub(crate) streams: Vec<Vec<u8>>,
}

/// A stream and its properties, each of a type and what is in its box.
pub(crate) struct Part<'a> {
    pub(crate) stream: Vec<u8>,
    pub(crate) properties: Vec<([u8; 4], &'a [u8])>,
}

/// The picture's own properties.
#[derive(Default)]
pub(crate) struct Properties {
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) icc: Option<Vec<u8>>,
    /// Primaries, transfer, matrix, full range.
    pub(crate) cicp: Option<[u8; 4]>,
    /// Quarters of a turn against the clock.
    pub(crate) turns: u8,
    /// After turning: 0 swaps top and bottom, 1 left and right.
    pub(crate) mirror: Option<u8>,
}

impl<'a> Container<'a> {
    pub(crate) fn read(file: &'a [u8]) -> Result<Self> {
        let mut result = Self {
            file,
            idat: &[],
            primary: 0,
            items: Vec::new(),
            properties: Vec::new(),
            references: Vec::new(),
        };
        let meta = boxes(file).find(|(kind, _)| kind == b"meta").ok_or_else(|| damaged("no description"))?.1;
        let inside = meta.get(4..).ok_or_else(|| damaged("its description"))?;
        for (kind, data) in boxes(inside) {
            let read = match &kind {
                b"pitm" => result.read_primary(data),
                b"iinf" => result.read_items(data),
                b"iloc" => result.read_places(data),
                b"iref" => result.read_references(data),
                b"iprp" => result.read_properties(data),
                b"idat" => {
                    result.idat = data;
                    Some(())
                }
                _ => Some(()),
            };
            read.ok_or_else(|| damaged("its description"))?;
        }
        Ok(result)
    }

    /// The primary picture.
    pub(crate) fn primary(&self) -> Result<Coded> {
        self.coded(self.primary)
    }

    /// What is said of the primary picture.
    pub(crate) fn properties(&self) -> Properties {
        let mut result = Properties::default();
        for property in self.properties_of(self.primary) {
            let data = property.data;
            match &property.kind {
                b"ispe" => result.size = u32_at(data, 4).zip(u32_at(data, 8)),
                b"irot" => result.turns = data.first().map_or(0, |byte| byte & 3),
                b"imir" => result.mirror = data.first().map(|byte| byte & 1),
                b"colr" => match data.split_first_chunk() {
                    Some((b"nclx", &[0, primaries, 0, transfer, 0, matrix, range, ..])) => {
                        result.cicp = Some([primaries, transfer, matrix, range >> 7]);
                    }
                    Some((b"prof" | b"rICC", profile)) => result.icc = Some(profile.to_vec()),
                    _ => {}
                },
                _ => {}
            }
        }
        result
    }

    /// Opacity, and whether colour was multiplied by it.
    pub(crate) fn alpha(&self) -> Result<Option<(Coded, bool)>> {
        let is_alpha = |id: u32| {
            self.properties_of(id).any(|property| {
                property.kind == *b"auxC"
                    && property.data.get(4..).is_some_and(|name| {
                        name.starts_with(b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
                            || name.starts_with(b"urn:mpeg:hevc:2015:auxid:1\0")
                    })
            })
        };
        let of_primary = |reference: &&Reference| {
            reference.kind == *b"auxl" && reference.to.contains(&self.primary) && is_alpha(reference.from)
        };
        let Some(reference) = self.references.iter().find(of_primary) else { return Ok(None) };
        let multiplied = (self.references.iter()).any(|other| {
            other.kind == *b"prem" && other.from == self.primary && other.to.contains(&reference.from)
        });
        Ok(Some((self.coded(reference.from)?, multiplied)))
    }

    /// The streams of a file that holds one picture, and one of opacity if any, with all their properties as they stand.
    pub(crate) fn parts(&self) -> Option<Vec<Part<'a>>> {
        let alpha =
            self.references.iter().find(|reference| reference.kind == *b"auxl").map(|found| found.from);
        let part = |id: u32| {
            let properties = self.properties_of(id).map(|property| (property.kind, property.data)).collect();
            Some(Part { stream: self.data(self.item(id)?)?, properties })
        };
        std::iter::once(self.primary).chain(alpha).map(part).collect()
    }

    /// EXIF as a TIFF stream.
    pub(crate) fn exif(&self) -> Option<Vec<u8>> {
        let block = self.described(|item| item.kind == *b"Exif")?;
        let start = 4usize.checked_add(u32_at(&block, 0)? as usize)?;
        block.get(start..).map(<[u8]>::to_vec)
    }

    /// The XMP packet.
    pub(crate) fn xmp(&self) -> Option<Vec<u8>> {
        self.described(|item| item.kind == *b"mime" && item.content_type == b"application/rdf+xml")
    }

    fn described(&self, wanted: impl Fn(&Item) -> bool) -> Option<Vec<u8>> {
        let mut items = self.items.iter().filter(|item| wanted(item));
        items.find_map(|item| self.data(item))
    }

    fn coded(&self, id: u32) -> Result<Coded> {
        let item = self.item(id).ok_or_else(|| damaged("its picture"))?;
        let data = self.data(item).ok_or_else(ends_early)?;
        if item.kind == *b"av01" {
            return Ok(Coded { columns: 1, size: None, streams: vec![data] });
        }
        if item.kind != *b"grid" {
            let kind = String::from_utf8_lossy(&item.kind).into_owned();
            return Err(Error::unsupported(format!(
                "an AVIF with a picture of type {kind}, which is not supported"
            )));
        }
        let grid = Grid::read(&data).ok_or_else(|| damaged("its grid"))?;
        let parts =
            self.references.iter().find(|reference| reference.kind == *b"dimg" && reference.from == id);
        let ids = parts.map_or(&[][..], |reference| &reference.to);
        if ids.len() != grid.columns * grid.rows {
            return Err(damaged("its grid"));
        }
        let stream = |id: &u32| {
            let part =
                self.item(*id).filter(|item| item.kind == *b"av01").ok_or_else(|| damaged("its grid"))?;
            self.data(part).ok_or_else(ends_early)
        };
        let streams = ids.iter().map(stream).collect::<Result<_>>()?;
        Ok(Coded { columns: grid.columns, size: Some(grid.size), streams })
    }

    fn item(&self, id: u32) -> Option<&Item> {
        self.items.iter().find(|item| item.id == id)
    }

    fn item_mut(&mut self, id: u32) -> Option<&mut Item> {
        if self.items.iter().all(|item| item.id != id) {
            if self.items.len() >= MAX_ENTRIES {
                return None;
            }
            self.items.push(Item { id, ..Item::default() });
        }
        self.items.iter_mut().find(|item| item.id == id)
    }

    fn properties_of(&self, id: u32) -> impl Iterator<Item = &Property<'a>> {
        let indices = self.item(id).map_or(&[][..], |item| &item.properties);
        indices.iter().filter_map(|&index| self.properties.get(index))
    }

    /// The item's bytes, joined; never more than the file has.
    fn data(&self, item: &Item) -> Option<Vec<u8>> {
        let source = if item.in_idat { self.idat } else { self.file };
        let mut data = Vec::new();
        for &(offset, length) in &item.extents {
            let rest = source.get(usize::try_from(offset).ok()?..)?;
            let part = if length == 0 { rest } else { rest.get(..usize::try_from(length).ok()?)? };
            if data.len() + part.len() > self.file.len() {
                return None;
            }
            data.extend_from_slice(part);
        }
        Some(data)
    }

    fn read_primary(&mut self, data: &[u8]) -> Option<()> {
        let mut reader = Reader(data);
        let (version, _) = reader.full()?;
        self.primary = reader.id(version)?;
        Some(())
    }

    fn read_items(&mut self, data: &[u8]) -> Option<()> {
        let mut reader = Reader(data);
        let (version, _) = reader.full()?;
        reader.number(if version == 0 { 2 } else { 4 })?;
        for (kind, data) in boxes(reader.0) {
            if kind != *b"infe" {
                continue;
            }
            let mut entry = Reader(data);
            let (version, _) = entry.full()?;
            if version < 2 {
                continue;
            }
            let id = if version == 2 { entry.number(2)? } else { entry.number(4)? } as u32;
            entry.number(2)?;
            let kind = *entry.0.first_chunk()?;
            // A name, then for MIME the type.
            let mut texts = entry.0.get(4..)?.split(|&byte| byte == 0);
            let content_type = texts.nth(1).unwrap_or_default().to_vec();
            let item = self.item_mut(id)?;
            (item.kind, item.content_type) = (kind, content_type);
        }
        Some(())
    }

    fn read_places(&mut self, data: &[u8]) -> Option<()> {
        let mut reader = Reader(data);
        let (version, _) = reader.full()?;
        let sizes = reader.number(2)?;
        let size = |shift: u64| ((sizes >> shift) & 15) as usize;
        let (offset_size, length_size, base_size) = (size(12), size(8), size(4));
        let index_size = if version == 0 { 0 } else { size(0) };
        let count = reader.number(if version < 2 { 2 } else { 4 })?;
        for _ in 0..count {
            let id = reader.number(if version < 2 { 2 } else { 4 })? as u32;
            let method = if version == 0 { 0 } else { reader.number(2)? & 15 };
            reader.number(2)?;
            let base = reader.number(base_size)?;
            let extents = reader.number(2)?;
            let mut places = Vec::new();
            for _ in 0..extents {
                reader.number(index_size)?;
                let (offset, length) = (reader.number(offset_size)?, reader.number(length_size)?);
                if places.len() < MAX_ENTRIES {
                    places.push((base.checked_add(offset)?, length));
                }
            }
            let item = self.item_mut(id)?;
            (item.in_idat, item.extents) = (method == 1, places);
        }
        Some(())
    }

    fn read_references(&mut self, data: &[u8]) -> Option<()> {
        let mut reader = Reader(data);
        let (version, _) = reader.full()?;
        for (kind, data) in boxes(reader.0).take(MAX_ENTRIES) {
            let mut entry = Reader(data);
            let from = entry.id(version)?;
            let count = entry.number(2)?;
            let to = (0..count).map(|_| entry.id(version)).collect::<Option<_>>()?;
            self.references.push(Reference { kind, from, to });
        }
        Some(())
    }

    fn read_properties(&mut self, data: &'a [u8]) -> Option<()> {
        for (kind, data) in boxes(data) {
            match &kind {
                b"ipco" => {
                    let all = boxes(data).take(MAX_ENTRIES);
                    self.properties.extend(all.map(|(kind, data)| Property { kind, data }));
                }
                b"ipma" => self.read_associations(data)?,
                _ => {}
            }
        }
        Some(())
    }

    fn read_associations(&mut self, data: &[u8]) -> Option<()> {
        let mut reader = Reader(data);
        let (version, flags) = reader.full()?;
        let wide = flags & 1 != 0;
        let count = reader.number(4)?;
        for _ in 0..count {
            let id = if version == 0 { reader.number(2)? } else { reader.number(4)? } as u32;
            let associations = reader.number(1)?;
            let mut properties = Vec::new();
            for _ in 0..associations {
                // The top bit says that a reader must know the property.
                let index = if wide { reader.number(2)? & 0x7fff } else { reader.number(1)? & 0x7f };
                properties.extend((index as usize).checked_sub(1));
            }
            self.item_mut(id)?.properties = properties;
        }
        Some(())
    }
}

struct Grid {
    columns: usize,
    rows: usize,
    size: (u32, u32),
}

impl Grid {
    fn read(data: &[u8]) -> Option<Self> {
        let mut reader = Reader(data);
        reader.number(1)?;
        let wide = reader.number(1)? & 1 != 0;
        let (rows, columns) = (reader.number(1)? as usize + 1, reader.number(1)? as usize + 1);
        let bytes = if wide { 4 } else { 2 };
        let size = (reader.number(bytes)? as u32, reader.number(bytes)? as u32);
        Some(Self { columns, rows, size })
    }
}

/// Reads numbers one after the other, high bytes first.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        (bytes <= 8).then(|| number.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// Version and flags.
    fn full(&mut self) -> Option<(u8, u32)> {
        let word = self.number(4)?;
        Some(((word >> 24) as u8, (word & 0xff_ffff) as u32))
    }

    /// An item's number, which later versions widened.
    fn id(&mut self, version: u8) -> Option<u32> {
        Some(self.number(if version == 0 { 2 } else { 4 })? as u32)
    }
}

/// The boxes that lie one after the other, as far as they are whole.
fn boxes(data: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let size = u32_at(rest, 0)?;
        let kind = *rest.get(4..)?.first_chunk()?;
        let (head, length) = match size {
            0 => (8, rest.len()),
            1 => (16, usize::try_from(u64::from_be_bytes(*rest.get(8..)?.first_chunk()?)).ok()?),
            size => (8, size as usize),
        };
        let content = rest.get(head..length)?;
        rest = &rest[length..];
        Some((kind, content))
    })
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn damaged(what: &str) -> Error {
    Error::input(format!("damaged AVIF file: {what}"))
}

fn ends_early() -> Error {
    Error::input("the AVIF ends early")
}
