//! JPEG XL.

use jxl_oxide::{
    AllocTracker, AuxBoxData, JxlImage, PixelFormat, RawExif,
    image::{BitDepth, ExtraChannelInfo},
};

use super::Decoded;
use crate::{
    Error, Limits, Metadata, Notice, Result,
    orientation::Orientation,
    raster::{Layout, Raster, Samples},
};

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let tracker = AllocTracker::with_limit(limits.allocation());
    let image = JxlImage::builder().alloc_tracker(tracker).read(bytes).map_err(error)?;
    let (width, height) = (image.width(), image.height());
    let layout = match image.pixel_format() {
        PixelFormat::Gray => Layout::Grey,
        PixelFormat::Graya => Layout::GreyAlpha,
        PixelFormat::Rgb => Layout::Rgb,
        PixelFormat::Rgba => Layout::Rgba,
        other => return Err(Error::unsupported(format!("a JPEG XL of {other:?}, which is not supported"))),
    };
    limits.check(width.into(), height.into(), layout.channels() as u64, 8)?;
    if !image.is_loading_done() {
        return Err(Error::input("the JPEG XL ends early"));
    }
    let render = image.render_frame(0).map_err(error)?;
    let mut stream = render.stream();
    let (width, height) = (stream.width() as usize, stream.height() as usize);
    let length = width * height * layout.channels();
    let samples = match image.image_header().metadata.bit_depth {
        BitDepth::IntegerSample { bits_per_sample: ..=8 } => {
            let mut samples = vec![0u8; length];
            stream.write_to_buffer(&mut samples);
            Samples::Eight(samples)
        }
        BitDepth::IntegerSample { .. } => {
            let mut samples = vec![0u16; length];
            stream.write_to_buffer(&mut samples);
            Samples::Sixteen(samples)
        }
        BitDepth::FloatSample { .. } => {
            let mut samples = vec![0f32; length];
            stream.write_to_buffer(&mut samples);
            Samples::Float(samples)
        }
    };
    let mut decoded = Decoded::new(Raster { width, height, layout, samples });
    let extra = &image.image_header().metadata.ec_info;
    decoded.premultiplied = extra.iter().find_map(ExtraChannelInfo::alpha_associated).unwrap_or(false);
    // The stream is upright already.
    decoded.orientation = Some(Orientation::UPRIGHT);
    decoded.metadata = metadata(&image);
    if image.num_loaded_keyframes() > 1 {
        decoded.notices.push(Notice::dropped("only the first frame of the animation is used"));
    }
    Ok(decoded)
}

fn metadata(image: &JxlImage) -> Metadata {
    let boxes = image.aux_boxes();
    let exif = match boxes.first_exif() {
        Ok(AuxBoxData::Data(exif)) => tiff_stream(&exif),
        _ => None,
    };
    let xmp = match boxes.first_xml() {
        AuxBoxData::Data(packet) => Some(packet.to_vec()),
        _ => None,
    };
    Metadata { icc: Some(image.rendered_icc()), exif, xmp, ..Metadata::default() }
}

fn tiff_stream(exif: &RawExif<'_>) -> Option<Vec<u8>> {
    exif.payload().get(exif.tiff_header_offset() as usize..).map(<[u8]>::to_vec)
}

/// The decoder's errors are boxed without a type of their own.
fn error(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let message = error.to_string();
    let line = message.lines().next().unwrap_or_default();
    Error::input(format!("damaged JPEG XL file: {line}")).with_source(error)
}
