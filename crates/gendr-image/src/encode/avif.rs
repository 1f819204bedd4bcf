//! AVIF, lossy, 10 bits, without chroma subsampling.

mod metadata;

use ravif::{Encoder, MatrixCoefficients, PixelRange};

use super::{failed, note_beyond_exif_and_xmp};
use crate::{
    Error, Metadata, Notice, OutputFormat, Result,
    raster::{Raster, Samples},
};

/// Of 1 (best) to 10: some seconds for a picture of 4 megapixels.
const SPEED: u8 = 7;
const MOST: f32 = 1023.0;

pub(super) fn encode(
    raster: &Raster,
    metadata: &Metadata,
    quality: u8,
    notices: &mut Vec<Notice>,
) -> Result<Vec<u8>> {
    let Samples::Sixteen(samples) = &raster.samples else {
        return Err(Error::argument("AVIF is made of 16 bits"));
    };
    let quality = f32::from(quality);
    let encoder = Encoder::new().with_quality(quality).with_alpha_quality(quality).with_speed(SPEED);
    let (grey, alpha) = (raster.layout.is_grey(), raster.layout.has_alpha());
    let pixels = samples.chunks_exact(raster.layout.channels());
    let ycbcr = pixels
        .clone()
        .map(|pixel| if grey { ycbcr([pixel[0]; 3]) } else { ycbcr([pixel[0], pixel[1], pixel[2]]) });
    let opacity = alpha.then(|| pixels.map(|pixel| tenth_bit(unit(pixel[pixel.len() - 1]))));
    let encoded = encoder.encode_raw_planes_10_bit(
        raster.width,
        raster.height,
        ycbcr,
        opacity,
        PixelRange::Full,
        MatrixCoefficients::BT601,
    );
    note_beyond_exif_and_xmp(metadata, OutputFormat::Avif, notices);
    metadata::with_metadata(&encoded.map_err(failed)?.avif_file, metadata)
}

fn unit(sample: u16) -> f32 {
    f32::from(sample) / 65535.0
}

fn tenth_bit(value: f32) -> u16 {
    (value.clamp(0.0, 1.0) * MOST + 0.5) as u16
}

/// Full-range BT.601.
fn ycbcr(rgb: [u16; 3]) -> [u16; 3] {
    let [r, g, b] = rgb.map(unit);
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    let half = 512.0 / MOST;
    [y, (b - y) / 1.772 + half, (r - y) / 1.402 + half].map(tenth_bit)
}
