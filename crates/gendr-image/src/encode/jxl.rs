//! Lossless JPEG XL, in the container that holds metadata.

use zune_core::{bit_depth::BitDepth, colorspace::ColorSpace, options::EncoderOptions};
use zune_jpegxl::JxlSimpleEncoder;

use super::note_beyond_exif_and_xmp;
use crate::{
    Depth, Error, Metadata, Notice, OutputFormat, Result,
    raster::{Layout, Raster, Samples},
};

pub(super) fn encode(raster: &Raster, metadata: &Metadata, notices: &mut Vec<Notice>) -> Result<Vec<u8>> {
    if raster.layout.has_alpha() && raster.samples.depth() == Depth::Sixteen {
        // The encoder writes a codestream then that ends early.
        return Err(Error::unsupported("JPEG XL cannot be written with opacity in 16 bits")
            .with_hint("choose PNG or TIFF, or a depth of 8 bits"));
    }
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

fn append_box(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32 + 8).to_be_bytes());
    file.extend(kind);
    file.extend(data);
}
