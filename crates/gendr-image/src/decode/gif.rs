//! The first picture of a GIF.

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::{Decoded, damaged};
use crate::{
    Error, Format, Limits, Notice, Result,
    raster::{Layout, Raster, Samples},
};

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    options.set_memory_limit(MemoryLimit::Bytes(
        (limits.allocation() as u64).try_into().map_err(|_| Error::argument("a limit of 0 bytes"))?,
    ));
    let mut decoder = options.read_info(bytes).map_err(error)?;
    let (width, height) = (usize::from(decoder.width()), usize::from(decoder.height()));
    // The canvas and one frame of at most its size.
    limits.check(width as u64, height as u64, 4, 2)?;
    let frame =
        decoder.read_next_frame().map_err(error)?.ok_or_else(|| Error::input("the GIF holds no picture"))?;
    let mut canvas = vec![0; width * height * 4];
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let row_bytes = 4 * frame_width.min(width.saturating_sub(left));
    let rows = frame.buffer.chunks_exact((4 * frame_width).max(1)).take(frame_height);
    // A frame may lie beside the canvas.
    for (y, row) in rows.enumerate().take_while(|(y, _)| row_bytes > 0 && top + y < height) {
        let start = ((top + y) * width + left) * 4;
        canvas[start..start + row_bytes].copy_from_slice(&row[..row_bytes]);
    }
    let (icc, xmp) = (decoder.icc_profile().map(<[u8]>::to_vec), decoder.xmp_metadata().map(<[u8]>::to_vec));
    // Reading on to the end tells a file cut off from a whole one.
    let animated = decoder.next_frame_info().map_err(error)?.is_some();
    while decoder.next_frame_info().map_err(error)?.is_some() {}

    let mut decoded = Decoded::new(without_needless_alpha(canvas, width, height));
    decoded.metadata.icc = icc;
    decoded.metadata.xmp = xmp;
    decoded.notices.push(Notice::converted("the palette became full colour"));
    if animated {
        decoded.notices.push(Notice::dropped("only the first frame of the animation is used"));
    }
    Ok(decoded)
}

fn without_needless_alpha(canvas: Vec<u8>, width: usize, height: usize) -> Raster {
    let pixels = canvas.as_chunks::<4>().0;
    if pixels.iter().any(|pixel| pixel[3] != 255) {
        return Raster { width, height, layout: Layout::Rgba, samples: Samples::Eight(canvas) };
    }
    let opaque = pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
    Raster { width, height, layout: Layout::Rgb, samples: Samples::Eight(opaque) }
}

fn error(error: DecodingError) -> Error {
    match error {
        DecodingError::Io(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::input("the GIF ends early").with_source(source)
        }
        other => damaged(Format::Gif, other),
    }
}
