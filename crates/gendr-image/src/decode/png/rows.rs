//! PNG row by row. What stands around the pixels, even behind them, is read first, from a copy without them.

use std::io::{Read, Seek, SeekFrom, Write};

use flate2::{Compression, Crc, write::ZlibEncoder};
use png::{Decoder, Reader, Transformations};

use super::{MAX_ANCILLARY, error, layout_of, samples_of};
use crate::{
    Error, Limits, Notice, Result,
    decode::{
        Decoded,
        strips::{Rows, Stream},
        take_orientation,
    },
    orientation::Orientation,
    raster::{Layout, Raster},
};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const HEADER_LENGTH: usize = 13;

struct PngRows {
    reader: Reader<Stream>,
    layout: Layout,
    width: usize,
    row_bytes: usize,
}

pub(in crate::decode) fn look(stream: &mut Stream, limits: &Limits) -> Result<Option<Decoded>> {
    let Some(skeleton) = Skeleton::read(stream)? else { return Ok(None) };
    let mut about = super::decode(&skeleton.bytes, limits)?;
    if skeleton.animated {
        about.notices.insert(0, Notice::dropped("only the first frame of the animation is used"));
    }
    let upright = take_orientation(&mut about) == Orientation::UPRIGHT;
    Ok(upright.then_some(about))
}

pub(in crate::decode) fn open(stream: Stream, limits: &Limits) -> Result<(Box<dyn Rows>, (usize, usize))> {
    let mut decoder = Decoder::new(stream);
    decoder.set_transformations(Transformations::EXPAND);
    // Both were read before.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(error)?;
    let (width, height) = (header.width as usize, header.height as usize);
    limits.check_rows(width as u64, height as u64, 8)?;
    let row_limit = width.saturating_mul(32);
    decoder.set_limits(png::Limits { bytes: row_limit.saturating_add(MAX_ANCILLARY) });
    let reader = decoder.read_info().map_err(error)?;
    let layout = layout_of(reader.output_color_type().0);
    let row_bytes = reader
        .output_line_size(width as u32)
        .ok_or_else(|| Error::limit("the PNG is too large to address"))?;
    Ok((Box::new(PngRows { reader, layout, width, row_bytes }), (width, height)))
}

impl Rows for PngRows {
    fn next(&mut self, count: usize) -> Result<Raster> {
        let mut data = vec![0; self.row_bytes * count];
        for row in data.chunks_exact_mut(self.row_bytes) {
            self.reader.read_row(row).map_err(error)?.ok_or_else(|| Error::input("the PNG ends early"))?;
        }
        let samples = samples_of(data, self.reader.output_color_type().1);
        Ok(Raster { width: self.width, height: count, layout: self.layout, samples })
    }

    fn finish(&mut self) -> Result<()> {
        self.reader.finish().map_err(error)
    }

    fn held_bytes(&self) -> u64 {
        // The rows before, and what is unpacked but not yet used.
        8 * self.row_bytes as u64 + (1 << 20)
    }
}

/// A file with all chunks but those of pixels, and a single pixel in their place.
struct Skeleton {
    bytes: Vec<u8>,
    animated: bool,
}

impl Skeleton {
    /// None for an interlaced picture.
    fn read(stream: &mut Stream) -> Result<Option<Self>> {
        let length = stream.seek(SeekFrom::End(0))?;
        stream.seek(SeekFrom::Start(SIGNATURE.len() as u64))?;
        let mut skeleton = Self { bytes: SIGNATURE.to_vec(), animated: false };
        let mut pixel = None;
        loop {
            let mut head = [0; 8];
            stream.read_exact(&mut head).map_err(|_| ends_early())?;
            let [a, b, c, d, kind @ ..] = head;
            let size = u32::from_be_bytes([a, b, c, d]);
            let end = stream.stream_position()?.saturating_add(u64::from(size) + 4);
            if end > length {
                return Err(ends_early());
            }
            match &kind {
                b"IHDR" => {
                    let mut header = [0; HEADER_LENGTH];
                    stream.read_exact(&mut header).map_err(|_| ends_early())?;
                    if header[12] != 0 {
                        return Ok(None);
                    }
                    pixel = Some(single_pixel(&header)?);
                    header[..8].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
                    skeleton.append(*b"IHDR", &header);
                }
                b"IDAT" => {
                    if let Some(pixel) = pixel.take() {
                        skeleton.append(*b"IDAT", &pixel);
                    }
                }
                b"acTL" => skeleton.animated = true,
                b"fcTL" | b"fdAT" => {}
                _ => skeleton.copy(stream, &head, size)?,
            }
            if kind == *b"IEND" {
                return Ok(Some(skeleton));
            }
            stream.seek(SeekFrom::Start(end))?;
        }
    }

    fn append(&mut self, kind: [u8; 4], data: &[u8]) {
        let mut checksum = Crc::new();
        checksum.update(&kind);
        checksum.update(data);
        self.bytes.extend((data.len() as u32).to_be_bytes());
        self.bytes.extend(kind);
        self.bytes.extend(data);
        self.bytes.extend(checksum.sum().to_be_bytes());
    }

    /// Takes a chunk over as it is.
    fn copy(&mut self, stream: &mut Stream, head: &[u8], size: u32) -> Result<()> {
        if self.bytes.len() + size as usize > MAX_ANCILLARY {
            return Err(Error::limit("the PNG holds more metadata than the limit allows"));
        }
        self.bytes.extend(head);
        stream.by_ref().take(u64::from(size) + 4).read_to_end(&mut self.bytes)?;
        Ok(())
    }
}

/// The data of a picture of one pixel with this header.
fn single_pixel(header: &[u8; HEADER_LENGTH]) -> Result<Vec<u8>> {
    let (bits, channels) = (usize::from(header[8]), [1, 0, 3, 1, 2, 0, 4].get(usize::from(header[9])));
    let bytes = channels.map_or(0, |channels| (bits * channels).div_ceil(8));
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&vec![0; 1 + bytes])?;
    Ok(encoder.finish()?)
}

fn ends_early() -> Error {
    Error::input("the PNG ends early")
}
