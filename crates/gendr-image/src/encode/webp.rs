//! WebP: lossless, and lossy where the build has it.

use image_webp::{ColorType, WebPEncoder};

use super::{failed, note_beyond_exif_and_xmp};
use crate::{
    Error, Metadata, Notice, OutputFormat, Result,
    raster::{Layout, Raster, Samples},
};

pub(super) fn encode(
    raster: &Raster,
    metadata: &Metadata,
    quality: Option<u8>,
    notices: &mut Vec<Notice>,
) -> Result<Vec<u8>> {
    let Samples::Eight(samples) = &raster.samples else {
        return Err(Error::argument("WebP holds 8 bits"));
    };
    note_beyond_exif_and_xmp(metadata, OutputFormat::Webp, notices);
    #[cfg(feature = "webp-lossy")]
    if let Some(quality) = quality {
        return lossy::encode(raster, samples, metadata, quality);
    }
    #[cfg(not(feature = "webp-lossy"))]
    if quality.is_some() {
        notices.push(Notice::converted("WebP was written lossless: this build has no lossy WebP"));
    }
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new(&mut bytes);
    encoder.set_icc_profile(metadata.icc.clone().unwrap_or_default());
    encoder.set_exif_metadata(metadata.exif.clone().unwrap_or_default());
    encoder.set_xmp_metadata(metadata.xmp.clone().unwrap_or_default());
    let color = match raster.layout {
        Layout::Grey => ColorType::L8,
        Layout::GreyAlpha => ColorType::La8,
        Layout::Rgb | Layout::Cmyk => ColorType::Rgb8,
        Layout::Rgba => ColorType::Rgba8,
    };
    encoder.encode(samples, raster.width as u32, raster.height as u32, color).map_err(failed)?;
    Ok(bytes)
}

/// Lossy pictures by libwebp, in the container that holds metadata.
#[cfg(feature = "webp-lossy")]
mod lossy {
    use webp::{Encoder, WebPConfig};

    use crate::{Error, Metadata, Result, raster::Raster};

    /// Bits of the container's header.
    const HAS_ICC: u8 = 0x20;
    const HAS_ALPHA: u8 = 0x10;
    const HAS_EXIF: u8 = 0x08;
    const HAS_XMP: u8 = 0x04;

    pub(super) fn encode(
        raster: &Raster,
        samples: &[u8],
        metadata: &Metadata,
        quality: u8,
    ) -> Result<Vec<u8>> {
        let (width, height) = (raster.width as u32, raster.height as u32);
        let (grey, alpha) = (raster.layout.is_grey(), raster.layout.has_alpha());
        let pixels = samples.chunks_exact(raster.layout.channels());
        let full: Vec<u8> = match (grey, alpha) {
            (false, _) => samples.to_vec(),
            (true, false) => pixels.flat_map(|pixel| [pixel[0]; 3]).collect(),
            (true, true) => pixels.flat_map(|pixel| [pixel[0], pixel[0], pixel[0], pixel[1]]).collect(),
        };
        let failed = |what: String| Error::unsupported(format!("cannot encode the picture: {what}"));
        let mut config = WebPConfig::new().map_err(|()| failed("libwebp does not start".to_owned()))?;
        config.quality = f32::from(quality);
        // Chroma is halved with the eye's sense of light in mind, which keeps thin red lines.
        config.use_sharp_yuv = 1;
        let encoder = if alpha {
            Encoder::from_rgba(&full, width, height)
        } else {
            Encoder::from_rgb(&full, width, height)
        };
        let file = encoder.encode_advanced(&config).map_err(|error| failed(format!("{error:?}")))?;
        Ok(with_metadata(&file, (width, height), alpha, metadata))
    }

    /// The same picture in an extended file.
    fn with_metadata(file: &[u8], (width, height): (u32, u32), alpha: bool, metadata: &Metadata) -> Vec<u8> {
        let Metadata { icc, exif, xmp, .. } = metadata;
        let mut flags = if alpha { HAS_ALPHA } else { 0 };
        for (flag, there) in [(HAS_ICC, icc.is_some()), (HAS_EXIF, exif.is_some()), (HAS_XMP, xmp.is_some())]
        {
            flags |= if there { flag } else { 0 };
        }
        let [w0, w1, w2, _] = (width - 1).to_le_bytes();
        let [h0, h1, h2, _] = (height - 1).to_le_bytes();
        let mut content = b"WEBP".to_vec();
        append(&mut content, b"VP8X", &[flags, 0, 0, 0, w0, w1, w2, h0, h1, h2]);
        let mut add = |kind: &[u8; 4], data: &Option<Vec<u8>>| {
            if let Some(data) = data {
                append(&mut content, kind, data);
            }
        };
        add(b"ICCP", icc);
        let mut rest = file.get(12..).unwrap_or_default();
        let mut pictures = Vec::new();
        while let Some((kind, tail)) = rest.split_first_chunk::<4>() {
            let Some((length, tail)) = tail.split_first_chunk() else { break };
            let length = u32::from_le_bytes(*length) as usize;
            if matches!(kind, b"VP8 " | b"ALPH") {
                pictures.push((*kind, tail.get(..length).map(<[u8]>::to_vec)));
            }
            rest = tail.get(length.next_multiple_of(2)..).unwrap_or_default();
        }
        for (kind, data) in &pictures {
            add(kind, data);
        }
        add(b"EXIF", exif);
        add(b"XMP ", xmp);
        let mut bytes = b"RIFF".to_vec();
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.append(&mut content);
        bytes
    }

    fn append(content: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
        content.extend(kind);
        content.extend((data.len() as u32).to_le_bytes());
        content.extend(data);
        if !data.len().is_multiple_of(2) {
            content.push(0);
        }
    }
}
