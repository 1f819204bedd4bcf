//! Lossless JPEG XL, in the container that holds metadata.

use zune_core::{bit_depth::BitDepth, colorspace::ColorSpace, options::EncoderOptions};
use zune_jpegxl::JxlSimpleEncoder;

use super::note_beyond_exif_and_xmp;
use crate::{
    Error, Metadata, Notice, OutputFormat, Result,
    raster::{Layout, Raster, Samples},
};

pub(super) fn encode(raster: &Raster, metadata: &Metadata, notices: &mut Vec<Notice>) -> Result<Vec<u8>> {
    // The encoder's grey with opacity cannot be read by anyone: colour stands in.
    let colored = (raster.layout == Layout::GreyAlpha).then(|| raster.with_equal_colors());
    let raster = colored.as_ref().unwrap_or(raster);
    let color = match raster.layout {
        Layout::Grey => ColorSpace::Luma,
        Layout::Rgb | Layout::Cmyk => ColorSpace::RGB,
        Layout::GreyAlpha | Layout::Rgba => ColorSpace::RGBA,
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
    note_beyond_exif_and_xmp(metadata, OutputFormat::Jxl, notices);

    let mut file = b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl ".to_vec();
    if let Some(exif) = &metadata.exif {
        // The offset of the TIFF stream comes first.
        append_box(&mut file, b"Exif", &[&[0; 4], &exif[..]].concat());
    }
    if let Some(xmp) = &metadata.xmp {
        append_box(&mut file, b"xml ", xmp);
    }
    append_box(&mut file, b"jxlc", &codestream);
    Ok(file)
}

fn append_box(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    // A length of 1 says that a long one follows.
    file.extend(1u32.to_be_bytes());
    file.extend(kind);
    file.extend((data.len() as u64 + 16).to_be_bytes());
    file.extend(data);
}
