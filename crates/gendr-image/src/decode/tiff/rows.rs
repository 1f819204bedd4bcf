//! TIFF by strips or rows of tiles.

use std::io::{Seek, SeekFrom};

use tiff::{
    decoder::{ChunkType, Decoder, DecodingResult},
    tags::{PlanarConfiguration, Tag},
};

use super::{Begun, Meaning, begin, describe, error, to_samples};
use crate::{
    Error, Limits, Result,
    decode::{
        Decoded,
        strips::{Rows, Stream},
        take_orientation,
    },
    exif::{Exif, FileSource},
    orientation::Orientation,
    raster::{Layout, Raster, Samples},
};

struct TiffRows {
    decoder: Decoder<Stream>,
    width: usize,
    height: usize,
    layout: Layout,
    /// Rows decoded; those up to the sample `used` were handed over.
    pending: Samples,
    used: usize,
    next_chunk: u32,
}

pub(in crate::decode) fn look(stream: &mut Stream, limits: &Limits) -> Result<Option<Decoded>> {
    let length = stream.seek(SeekFrom::End(0))?;
    let exif = Exif::read_from(&mut FileSource::new(stream)?);
    stream.seek(SeekFrom::Start(0))?;
    // Whatever is amiss, reading the whole file tells it better.
    let Ok(mut begun) = begin(&mut *stream, false, length, limits) else { return Ok(None) };
    let Some((layout, samples)) = single_pixel(&mut begun)? else { return Ok(None) };
    let mut about = Decoded::new(Raster { width: 1, height: 1, layout, samples });
    describe(&mut begun.decoder, exif, &mut about)?;
    let upright = take_orientation(&mut about) == Orientation::UPRIGHT;
    Ok(upright.then_some(about))
}

pub(in crate::decode) fn open(
    mut stream: Stream,
    limits: &Limits,
) -> Result<(Box<dyn Rows>, (usize, usize))> {
    let length = stream.seek(SeekFrom::End(0))?;
    stream.seek(SeekFrom::Start(0))?;
    let mut begun = begin(stream, false, length, limits)?;
    let Some((layout, pixel)) = single_pixel(&mut begun)? else {
        return Err(Error::unsupported("a TIFF that cannot be read row by row"));
    };
    let Begun { decoder, width, height, .. } = begun;
    let rows =
        TiffRows { decoder, width, height, layout, pending: pixel.gather(0..0), used: 0, next_chunk: 0 };
    let chunk_rows = rows.decoder.chunk_dimensions().1.min(height as u32);
    limits.check_rows(width as u64, height as u64, u64::from(chunk_rows) * rows.pixel_bytes())?;
    Ok((Box::new(rows), (width, height)))
}

/// A black pixel of the file's kind; none where rows cannot be had one after the other or need more than the samples.
fn single_pixel<R: std::io::Read + Seek>(begun: &mut Begun<R>) -> Result<Option<(Layout, Samples)>> {
    let Begun { decoder, meaning, bits, .. } = begun;
    let Meaning::Layout(layout) = *meaning else { return Ok(None) };
    let mut numbers =
        |tag| Ok::<_, Error>(decoder.find_tag_unsigned_vec::<u16>(tag).map_err(error)?.unwrap_or_default());
    if numbers(Tag::PlanarConfiguration)?.contains(&PlanarConfiguration::Planar.to_u16()) {
        return Ok(None);
    }
    let format = numbers(Tag::SampleFormat)?;
    let channels = layout.channels();
    let all = |kind: u16| format.iter().all(|&format| format == kind);
    Ok(match *bits {
        8 if all(1) => Some((layout, Samples::Eight(vec![0; channels]))),
        16 if all(1) => Some((layout, Samples::Sixteen(vec![0; channels]))),
        32 if all(3) && !format.is_empty() => Some((layout, Samples::Float(vec![0.0; channels]))),
        _ => None,
    })
}

impl TiffRows {
    fn pixel_bytes(&self) -> u64 {
        let sample = match self.pending {
            Samples::Eight(_) => 1,
            Samples::Sixteen(_) => 2,
            Samples::Float(_) => 4,
        };
        sample * self.layout.channels() as u64
    }

    /// Decodes the next strip or row of tiles.
    fn read_chunks(&mut self) -> Result<()> {
        let across = match self.decoder.get_chunk_type() {
            ChunkType::Strip => 1,
            ChunkType::Tile => (self.width as u32).div_ceil(self.decoder.chunk_dimensions().0),
        };
        let chunks: Vec<(usize, Samples)> = (self.next_chunk..self.next_chunk + across)
            .map(|index| {
                let columns = self.decoder.chunk_data_dimensions(index).0 as usize;
                let data = self.decoder.read_chunk(index).map_err(error)?;
                Ok((columns, whole_samples(data)?))
            })
            .collect::<Result<_>>()?;
        self.next_chunk += across;
        // Chunks that lie side by side are joined row by row.
        let length = |columns: usize| columns * self.layout.channels();
        let height = |(columns, samples): &(usize, Samples)| samples.len() / length(*columns).max(1);
        for y in 0..chunks.iter().map(height).min().unwrap_or(0) {
            for (columns, samples) in &chunks {
                let row = length(*columns);
                self.pending.append(samples, y * row..(y + 1) * row);
            }
        }
        Ok(())
    }
}

fn whole_samples(data: DecodingResult) -> Result<Samples> {
    to_samples(data, &mut Vec::new())
}

impl Rows for TiffRows {
    fn next(&mut self, count: usize) -> Result<Raster> {
        let wanted = count * self.width * self.layout.channels();
        if self.pending.len() - self.used < wanted {
            self.pending = self.pending.gather(self.used..self.pending.len());
            self.used = 0;
        }
        while self.pending.len() < wanted {
            let before = self.pending.len();
            self.read_chunks()?;
            if self.pending.len() == before {
                return Err(Error::input("the TIFF holds too few rows"));
            }
        }
        let samples = self.pending.gather(self.used..self.used + wanted);
        self.used += wanted;
        Ok(Raster { width: self.width, height: count, layout: self.layout, samples })
    }

    fn held_bytes(&self) -> u64 {
        let (_, rows) = self.decoder.chunk_dimensions();
        2 * self.pixel_bytes() * self.width as u64 * u64::from(rows).min(self.height as u64)
    }
}
