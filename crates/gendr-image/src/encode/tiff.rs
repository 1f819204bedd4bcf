//! TIFF in strips, compressed by deflate after horizontal differencing.
//!
//! An EXIF block becomes the beginning of the file as it is, in its own byte order: so every offset in it, those in maker
//! notes included, stays valid. Strips follow, then the main directory.

use std::io::{Cursor, Seek, SeekFrom, Write};

use flate2::{Compression, write::ZlibEncoder};
use rayon::prelude::*;

use super::note_dropped;
use crate::{
    Depth, Error, Metadata, Notice, OutputFormat, Result,
    decode::tags,
    exif::{self, Directory, Entry, FieldType, Order},
    raster::{Layout, Raster, Samples},
};

/// Most bytes of samples: offsets have four bytes, and something must be left for metadata.
const MAX_BYTES: u64 = (4 << 30) - (128 << 20);
/// Raw bytes of a strip, about.
const STRIP_BYTES: usize = 256 << 10;

pub(super) fn encode(raster: &Raster, metadata: &Metadata, notices: &mut Vec<Notice>) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    let size = (raster.width as u32, raster.height as u32);
    let mut writer = TiffWriter::new(&mut file, size, raster.layout, raster.samples.depth(), metadata)?;
    writer.write_rows(&raster.samples)?;
    writer.finish(metadata)?;
    for text in &metadata.texts {
        note_dropped(&format!("the text {}", text.keyword), OutputFormat::Tiff, true, notices);
    }
    Ok(file.into_inner())
}

/// Writes rows as they come and the directory at the end.
pub(crate) struct TiffWriter<W> {
    target: W,
    order: Order,
    /// The fields of the EXIF block's main directory, their values in place.
    described: Directory,
    size: (u32, u32),
    layout: Layout,
    depth: Depth,
    row_bytes: usize,
    rows_per_strip: usize,
    /// Rows that do not yet fill a strip.
    pending: Vec<u8>,
    written: u64,
    offsets: Vec<u32>,
    counts: Vec<u32>,
}

impl<W: Write + Seek> TiffWriter<W> {
    pub(crate) fn new(
        mut target: W,
        size: (u32, u32),
        layout: Layout,
        depth: Depth,
        metadata: &Metadata,
    ) -> Result<Self> {
        let sample_bytes = match depth {
            Depth::Eight => 1,
            Depth::Sixteen => 2,
            Depth::Float => 4,
        };
        let row_bytes = size.0 as usize * layout.channels() * sample_bytes;
        // Told before the work, for there is no telling how far samples can be compressed.
        if row_bytes as u64 * u64::from(size.1) > MAX_BYTES {
            return Err(too_large());
        }
        let block = metadata.exif.as_deref().and_then(|exif| Some((exif, exif::main_in_place(exif)?)));
        let (mut start, order, described) = match block {
            Some((exif, (order, main))) => (exif.to_vec(), order, main),
            None => (Order::Little.header(0).to_vec(), Order::Little, Directory::default()),
        };
        // The directory's place is filled in at the end.
        start[4..8].fill(0);
        if !start.len().is_multiple_of(2) {
            start.push(0);
        }
        target.write_all(&start)?;
        Ok(Self {
            target,
            order,
            described,
            size,
            layout,
            depth,
            row_bytes,
            rows_per_strip: (STRIP_BYTES / row_bytes.max(1)).max(1),
            pending: Vec::new(),
            written: start.len() as u64,
            offsets: Vec::new(),
            counts: Vec::new(),
        })
    }

    /// Appends whole rows.
    pub(crate) fn write_rows(&mut self, samples: &Samples) -> Result<()> {
        match samples {
            Samples::Eight(samples) => self.pending.extend(samples),
            Samples::Sixteen(samples) => {
                let order = self.order;
                self.pending.extend(samples.iter().flat_map(|&sample| order.u16_bytes(sample)));
            }
            Samples::Float(samples) => {
                let order = self.order;
                self.pending.extend(samples.iter().flat_map(|sample| order.u32_bytes(sample.to_bits())));
            }
        }
        let strip_bytes = self.row_bytes * self.rows_per_strip;
        let whole = self.pending.len() / strip_bytes * strip_bytes;
        let rest = self.pending.split_off(whole);
        let strips = std::mem::replace(&mut self.pending, rest);
        self.write_strips(&strips)
    }

    /// Writes the last strip and the directory.
    pub(crate) fn finish(mut self, metadata: &Metadata) -> Result<()> {
        let rest = std::mem::take(&mut self.pending);
        self.write_strips(&rest)?;
        if !self.written.is_multiple_of(2) {
            self.append(&[0])?;
        }
        let start = u32::try_from(self.written).map_err(|_| too_large())?;
        let mut main = std::mem::take(&mut self.described);
        let own = self.fields(metadata);
        main.0.retain(|entry| !tags::is_structure(entry.tag) && own.iter().all(|own| own.tag != entry.tag));
        main.0.extend(own);
        let mut directory = Vec::new();
        main.append_to(&mut directory, start, self.order);
        self.append(&directory)?;
        self.target.seek(SeekFrom::Start(4))?;
        self.target.write_all(&self.order.u32_bytes(start))?;
        self.target.flush()?;
        Ok(())
    }

    fn write_strips(&mut self, rows: &[u8]) -> Result<()> {
        let (row_bytes, pixel, depth, order) =
            (self.row_bytes, self.layout.channels(), self.depth, self.order);
        let strips = rows.par_chunks((row_bytes * self.rows_per_strip).max(1));
        let compressed: Vec<Vec<u8>> =
            strips.map(|strip| compress(strip, row_bytes, pixel, depth, order)).collect();
        for strip in compressed {
            self.offsets.push(u32::try_from(self.written).map_err(|_| too_large())?);
            self.counts.push(strip.len() as u32);
            self.append(&strip)?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.target.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// The fields of the main directory that describe this file.
    fn fields(&self, metadata: &Metadata) -> Vec<Entry> {
        let order = self.order;
        let short = |tag, value: u16| Entry::shorts(tag, order, &[value]);
        let channels = self.layout.channels();
        let (bits, format, predictor) = match self.depth {
            Depth::Eight => (8, 1, 2),
            Depth::Sixteen => (16, 1, 2),
            Depth::Float => (32, 3, 1),
        };
        let mut fields = vec![
            Entry::longs(0x0100, order, &[self.size.0]),
            Entry::longs(0x0101, order, &[self.size.1]),
            Entry::shorts(0x0102, order, &vec![bits; channels]),
            // Adobe deflate.
            short(0x0103, 8),
            short(0x0106, if self.layout.is_grey() { 1 } else { 2 }),
            Entry::longs(0x0111, order, &self.offsets),
            short(0x0112, 1),
            short(0x0115, channels as u16),
            Entry::longs(0x0116, order, &[self.rows_per_strip as u32]),
            Entry::longs(0x0117, order, &self.counts),
            short(0x011c, 1),
            short(0x013d, predictor),
            Entry::shorts(0x0153, order, &vec![format; channels]),
        ];
        if self.layout.has_alpha() {
            // Opacity that the colour is not multiplied by.
            fields.push(short(0x0152, 2));
        }
        fields.extend(
            metadata.density.as_ref().map_or_else(Vec::new, |density| exif::density::fields(density, order)),
        );
        let mut block = |tag, kind, data: &Option<Vec<u8>>| {
            fields.extend(data.clone().map(|data| Entry::bytes(tag, kind, data)));
        };
        block(tags::ICC, FieldType::Undefined, &metadata.icc);
        block(tags::XMP, FieldType::Byte, &metadata.xmp);
        block(tags::IPTC, FieldType::Undefined, &metadata.iptc);
        block(tags::PHOTOSHOP, FieldType::Byte, &metadata.photoshop);
        fields
    }
}

/// Differences along rows (whole numbers only), then deflate.
fn compress(strip: &[u8], row_bytes: usize, channels: usize, depth: Depth, order: Order) -> Vec<u8> {
    let mut data = strip.to_vec();
    for row in data.chunks_mut(row_bytes) {
        match depth {
            Depth::Eight => {
                (channels..row.len()).rev().for_each(|at| row[at] = row[at].wrapping_sub(row[at - channels]));
            }
            Depth::Sixteen => {
                let samples = row.as_chunks_mut::<2>().0;
                for at in (channels..samples.len()).rev() {
                    let value = |bytes: [u8; 2]| order.u16(&bytes, 0).unwrap_or_default();
                    let difference = value(samples[at]).wrapping_sub(value(samples[at - channels]));
                    samples[at] = order.u16_bytes(difference);
                }
            }
            Depth::Float => {}
        }
    }
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(data.len() / 2), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(&data);
    encoder.finish().unwrap_or_default()
}

fn too_large() -> Error {
    Error::unsupported("TIFF holds at most 4 GiB").with_hint("choose PNG")
}
