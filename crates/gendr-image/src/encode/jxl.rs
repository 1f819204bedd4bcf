//! Lossless JPEG XL, in the container that holds metadata.

use std::borrow::Cow;

use zune_core::{bit_depth::BitDepth, colorspace::ColorSpace, options::EncoderOptions};
use zune_jpegxl::JxlSimpleEncoder;

use super::note_beyond_exif_and_xmp;
use crate::{
    Error, Metadata, Notice, OutputFormat, Result,
    raster::{Layout, Raster, Samples},
};

pub(super) fn encode(raster: &Raster, metadata: &Metadata, notices: &mut Vec<Notice>) -> Result<Vec<u8>> {
    if raster.width < 2 || raster.height < 2 {
        // The encoder would panic.
        return Err(Error::unsupported("JPEG XL is written with at least 2 pixels a side")
            .with_hint("choose PNG or TIFF"));
    }
    let raster = &without_deep_grey_with_opacity(raster, notices);
    let color = match raster.layout {
        Layout::Grey => ColorSpace::Luma,
        Layout::Rgb | Layout::Cmyk => ColorSpace::RGB,
        Layout::GreyAlpha => ColorSpace::LumaA,
        Layout::Rgba => ColorSpace::RGBA,
    };
    let (bytes, depth) = match &raster.samples {
        Samples::Eight(samples) => (samples.clone(), BitDepth::Eight),
        Samples::Sixteen(samples) => {
            (samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect(), BitDepth::Sixteen)
        }
        Samples::Float(_) => return Err(Error::argument("JPEG XL is written with 8 or 16 bits")),
    };
    let options = EncoderOptions::new(raster.width, raster.height, color, depth);
    let mut codestream = Vec::new();
    JxlSimpleEncoder::new(&bytes, options)
        .encode(&mut codestream)
        .map_err(|error| Error::unsupported(format!("cannot encode the picture: {error:?}")))?;
    if raster.layout.has_alpha() && depth == BitDepth::Sixteen {
        // The encoder says of every opacity that it has 8 bits.
        let (said, meant) = (header(raster, 8), header(raster, 16));
        codestream.splice(..said.len(), meant);
    }
    note_beyond_exif_and_xmp(metadata, OutputFormat::Jxl, notices);

    let mut file = b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl ".to_vec();
    if let Some(exif) = &metadata.exif {
        // The offset of the TIFF stream comes first.
        append_box(&mut file, b"Exif", &[&[0; 4], &exif[..]].concat());
    }
    if let Some(xmp) = &metadata.xmp {
        append_box(&mut file, b"xml ", xmp);
    }
    // A length of 0 reaches to the end of the file; libjxl 0.7 does not read the long form.
    file.extend(b"\0\0\0\0jxlc");
    file.append(&mut codestream);
    Ok(file)
}

/// 16-bit grey with opacity as colour: the encoder takes its samples for signed ones.
fn without_deep_grey_with_opacity<'a>(raster: &'a Raster, notices: &mut Vec<Notice>) -> Cow<'a, Raster> {
    match (&raster.samples, raster.layout) {
        (Samples::Sixteen(samples), Layout::GreyAlpha) => {
            notices.push(Notice::converted("16-bit grey with opacity is written as colour"));
            let pixels = samples.chunks_exact(2).flat_map(|pixel| [pixel[0], pixel[0], pixel[0], pixel[1]]);
            let samples = Samples::Sixteen(pixels.collect());
            Cow::Owned(Raster { layout: Layout::Rgba, samples, ..*raster })
        }
        _ => Cow::Borrowed(raster),
    }
}

/// The image header as the encoder writes it (ISO/IEC 18181-1, annex D), for 16-bit colour with opacity of `alpha_bits`.
fn header(raster: &Raster, alpha_bits: u8) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(16, 0x0aff);
    // The size: not small, no ratio.
    bits.put(1, 0);
    bits.put_side(raster.height);
    bits.put(3, 0);
    bits.put_side(raster.width);
    // Not all default, no extra fields; whole numbers of 16 bits that need more than 16-bit buffers; one extra channel.
    bits.put(2, 0);
    bits.put_sixteen();
    bits.put(1, 0);
    bits.put(2, 1);
    if alpha_bits == 8 {
        bits.put(1, 1);
    } else {
        // Not the default; opacity; its depth; no shift, no name, not associated.
        bits.put(1, 0);
        bits.put(2, 0);
        bits.put_sixteen();
        bits.put(2, 0);
        bits.put(2, 0);
        bits.put(1, 0);
    }
    // Not XYB.
    bits.put(1, 0);
    // sRGB.
    bits.put(1, 1);
    // No extensions, default transform.
    bits.put(2, 0);
    bits.put(1, 1);
    bits.bytes
}

/// Bits, low ones first, to whole bytes.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn put(&mut self, count: usize, value: u32) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (self.used % 8);
            }
            self.used += 1;
        }
    }

    /// A side, less one, in the fewest bits.
    fn put_side(&mut self, side: usize) {
        let value = side as u32 - 1;
        let (selector, count) = match value {
            0..0x200 => (0, 9),
            0x200..0x2000 => (1, 13),
            0x2000..0x4_0000 => (2, 18),
            _ => (3, 30),
        };
        self.put(2, selector);
        self.put(count, value);
    }

    /// A depth of 16 bits, whole numbers.
    fn put_sixteen(&mut self) {
        self.put(1, 0);
        self.put(2, 3);
        self.put(6, 15);
    }
}

fn append_box(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32 + 8).to_be_bytes());
    file.extend(kind);
    file.extend(data);
}
