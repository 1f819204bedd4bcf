//! Pictures to files.

#[cfg(feature = "avif")]
mod avif;
mod jpeg;
#[cfg(feature = "jxl")]
mod jxl;
mod png;
mod strips;
mod tiff;
mod webp;

use crate::{
    ColorSpace, Depth, Error, Metadata, Notice, OutputFormat, Picture, Planes, Result, color_space, exif,
    raster::Raster, xmp,
};

pub use strips::StripWriter;

/// What file is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncodeOptions {
    /// The format.
    pub format: OutputFormat,
    /// Quality, 1..=100, of JPEG and AVIF, and of WebP, which is lossless without one. By default that of a JPEG source,
    /// though at least 75, or else 92.
    pub quality: Option<u8>,
    /// Bits of a sample; by default the source's, as far as the format can.
    pub depth: Option<Depth>,
    /// What metadata are left out.
    pub strip: Strip,
}

/// Metadata to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strip {
    /// None.
    #[default]
    Nothing,
    /// Where the picture was taken.
    Gps,
    /// All but what the colours mean.
    All,
}

/// A file, and what could not be taken into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// The file's content.
    pub bytes: Vec<u8>,
    /// What was dropped or changed for this format.
    pub notices: Vec<Notice>,
}

const DEFAULT_QUALITY: u8 = 92;
const LEAST_DERIVED_QUALITY: u8 = 75;

impl EncodeOptions {
    /// The format, and defaults.
    pub fn new(format: OutputFormat) -> Self {
        Self { format, quality: None, depth: None, strip: Strip::Nothing }
    }
}

/// Encodes a picture. Colours are clamped to `[0, 1]` and rounded half up, grey pictures are written as grey where the
/// format can, and metadata go along.
///
/// # Errors
/// An argument error for a quality out of range or a picture without pixels, an unsupported error for a picture larger
/// than the format allows.
pub fn encode(picture: &Picture, options: &EncodeOptions) -> Result<Encoded> {
    if picture.width() == 0 || picture.height() == 0 {
        return Err(Error::argument("a picture without pixels cannot be written"));
    }
    if picture
        .alpha
        .as_ref()
        .is_some_and(|alpha| (alpha.width(), alpha.height()) != (picture.width(), picture.height()))
    {
        return Err(Error::argument("the opacity is not of the picture's size"));
    }
    check_size(options.format, picture.width(), picture.height())?;
    let quality = quality(picture, options)?;
    let mut notices = Vec::new();
    let size = (picture.width(), picture.height());
    let mut metadata = prepare_metadata(picture, size, options, &mut notices);
    let depth = choose_depth(picture.depth, options, &mut notices);
    let space = space_to_leave(picture, options.format, &mut metadata, &mut notices);
    let in_srgb = space.map(|space| left(&space, &picture.color));
    let color = in_srgb.as_ref().unwrap_or(&picture.color);
    let alpha = picture.alpha.as_ref();
    let opaque = alpha.filter(|_| options.format == OutputFormat::Jpeg).map(|alpha| over_white(color, alpha));
    if opaque.is_some() {
        notices.push(Notice::dropped("JPEG has no transparency: the picture was laid over white"));
    }
    let raster = match &opaque {
        Some(color) => Raster::from_planes(color, None, picture.grey, depth),
        None => Raster::from_planes(color, alpha, picture.grey, depth),
    };
    let bytes = match options.format {
        OutputFormat::Png => png::encode(&raster, &metadata)?,
        OutputFormat::Jpeg => jpeg::encode(&raster, &metadata, quality, &mut notices)?,
        OutputFormat::Webp => webp::encode(&raster, &metadata, options.quality, &mut notices)?,
        OutputFormat::Tiff => tiff::encode(&raster, &metadata, &mut notices)?,
        #[cfg(feature = "avif")]
        OutputFormat::Avif => avif::encode(&raster, &metadata, quality, &mut notices)?,
        #[cfg(feature = "jxl")]
        OutputFormat::Jxl => jxl::encode(&raster, &metadata, &mut notices)?,
        #[cfg(not(all(feature = "avif", feature = "jxl")))]
        other => return Err(Error::unsupported(format!("this build has no {}", other.format().name()))),
    };
    Ok(Encoded { bytes, notices })
}

fn quality(picture: &Picture, options: &EncodeOptions) -> Result<u8> {
    let derived = picture.metadata.jpeg_quality.map(|quality| quality.max(LEAST_DERIVED_QUALITY));
    match options.quality.or(derived).unwrap_or(DEFAULT_QUALITY) {
        quality @ 1..=100 => Ok(quality),
        other => Err(Error::argument(format!("a quality of {other} is not in 1 to 100"))),
    }
}

/// Refuses sides that the format cannot hold.
pub(crate) fn check_size(format: OutputFormat, width: usize, height: usize) -> Result<()> {
    let most = match format {
        OutputFormat::Jpeg => 65_535,
        OutputFormat::Webp => 16_383,
        OutputFormat::Avif => 65_536,
        OutputFormat::Jxl => 1 << 28,
        OutputFormat::Png => i32::MAX as usize,
        OutputFormat::Tiff => u32::MAX as usize,
    };
    if width > most || height > most {
        let name = format.format().name();
        return Err(Error::unsupported(format!(
            "{name} holds at most {most} pixels a side, not {width}x{height}"
        ))
        .with_hint("choose PNG or TIFF"));
    }
    Ok(())
}

fn choose_depth(source: Depth, options: &EncodeOptions, notices: &mut Vec<Notice>) -> Depth {
    let wanted = options.depth.unwrap_or(source);
    let (possible, bits) = match (options.format, wanted) {
        (OutputFormat::Jpeg | OutputFormat::Webp, _) => (Depth::Eight, 8),
        // The encoder makes 10 of them.
        (OutputFormat::Avif, _) => (Depth::Sixteen, 10),
        (OutputFormat::Png | OutputFormat::Jxl, Depth::Float) => (Depth::Sixteen, 16),
        _ => return wanted,
    };
    let bits_wanted = if wanted == Depth::Eight { 8 } else { 16 };
    if bits < bits_wanted || (wanted == Depth::Float) {
        let name = options.format.format().name();
        notices.push(Notice::converted(format!("samples became {bits} bits, the most that {name} holds")));
    }
    possible
}

/// Metadata that are true of the new file.
fn prepare_metadata(
    picture: &Picture,
    (width, height): (usize, usize),
    options: &EncodeOptions,
    notices: &mut Vec<Notice>,
) -> Metadata {
    let mut metadata = picture.metadata.clone();
    if options.strip == Strip::All {
        metadata = Metadata { icc: metadata.icc, png_color: metadata.png_color, ..Metadata::default() };
    }
    if options.format != OutputFormat::Png && metadata.icc.is_none() {
        // Only PNG has chunks of its own for colour.
        metadata.icc = color_space::as_icc(metadata.png_color);
    }
    if let Some(exif) = &mut metadata.exif {
        exif::set_upright(exif);
        exif::set_dimensions(exif, width as u32, height as u32);
        exif::remove_thumbnail(exif);
    }
    if let Some(packet) = &mut metadata.xmp {
        let (width, height) = (width.to_string(), height.to_string());
        for (name, value) in [
            ("tiff:Orientation", "1"),
            ("tiff:ImageWidth", &width),
            ("tiff:ImageLength", &height),
            ("exif:PixelXDimension", &width),
            ("exif:PixelYDimension", &height),
        ] {
            xmp::set(packet, name, value);
        }
    }
    for packet in [&mut metadata.xmp, &mut metadata.xmp_extension].into_iter().flatten() {
        // They show another picture by now.
        xmp::remove(packet, "xmp:Thumbnails");
    }
    if options.strip == Strip::Gps {
        strip_place(&mut metadata, notices);
    }
    if options.format != OutputFormat::Jpeg && metadata.xmp_extension.take().is_some() {
        notices.push(Notice::dropped("the extension of the XMP packet was dropped: JPEG alone keeps one"));
    }
    if let Some(packet) = metadata.xmp.as_mut().filter(|_| metadata.xmp_extension.is_none()) {
        xmp::remove(packet, xmp::EXTENSION);
    }
    if matches!(options.format, OutputFormat::Webp | OutputFormat::Avif | OutputFormat::Jxl)
        && let Some(density) = metadata.density.take()
    {
        // They have no other place for it.
        let fields = |order| exif::density::fields(&density, order);
        metadata.exif = Some(exif::with_fields(metadata.exif.take(), fields));
    }
    metadata
}

/// Takes away what says where the picture was taken.
fn strip_place(metadata: &mut Metadata, notices: &mut Vec<Notice>) {
    if let Some(exif) = &mut metadata.exif {
        exif::remove_gps(exif);
    }
    for packet in [&mut metadata.xmp, &mut metadata.xmp_extension] {
        if packet.as_mut().is_some_and(|packet| !xmp::remove_place(packet)) {
            *packet = None;
            notices.push(Notice::dropped(
                "the XMP packet was dropped: it may hold a place and cannot be edited",
            ));
        }
    }
    let about_place =
        |keyword: &str| keyword.starts_with("Raw profile type") || keyword.split(':').any(xmp::is_about_gps);
    metadata.texts.retain(|text| !about_place(&text.keyword));
}

/// Bytes 16 to 20 of a profile name the colour space of its input.
fn is_grey_profile(profile: &[u8]) -> bool {
    profile.get(16..20) == Some(b"GRAY")
}

/// The space that colours must leave for sRGB, because the format or the samples have no place for its profile, which is taken
/// away then.
fn space_to_leave(
    picture: &Picture,
    format: OutputFormat,
    metadata: &mut Metadata,
    notices: &mut Vec<Notice>,
) -> Option<ColorSpace> {
    let has_grey = !matches!(format, OutputFormat::Webp | OutputFormat::Avif);
    let fits = |profile: &[u8]| is_grey_profile(profile) == (picture.grey && has_grey);
    // The encoder of JPEG XL takes no profile at all.
    if format != OutputFormat::Jxl && metadata.icc.as_deref().is_none_or(fits) {
        return None;
    }
    let dropped = metadata.icc.take().is_some();
    let space = picture.color_space();
    if space.is_some() {
        notices.push(Notice::converted(
            "colours were converted to sRGB: their profile has no place in the result",
        ));
    } else if dropped && format != OutputFormat::Jxl {
        notices.push(Notice::dropped("the colour profile does not fit the samples and was dropped"));
    }
    space
}

/// Colours in sRGB.
fn left(space: &ColorSpace, color: &Planes) -> Planes {
    let mut color = color.clone();
    space.to_srgb(&mut color);
    color
}

/// Colour without transparency.
fn over_white(color: &Planes, alpha: &Planes) -> Planes {
    let mut color = color.clone();
    for channel in 0..color.channels() {
        for (value, alpha) in color.plane_mut(channel).iter_mut().zip(alpha.data()) {
            *value = *value * alpha + (1.0 - alpha);
        }
    }
    color
}

/// An error of an encoder.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unsupported(format!("cannot encode the picture: {error}")).with_source(error)
}

/// Tells of all metadata but EXIF and XMP, which a format has no place for.
fn note_beyond_exif_and_xmp(metadata: &Metadata, format: OutputFormat, notices: &mut Vec<Notice>) {
    note_dropped("IPTC", format, metadata.iptc.is_some(), notices);
    note_dropped("Photoshop's image resources", format, metadata.photoshop.is_some(), notices);
    for text in &metadata.texts {
        note_dropped(&format!("the text {}", text.keyword), format, true, notices);
    }
}

/// Tells of metadata that a format has no place for.
fn note_dropped(what: &str, format: OutputFormat, present: bool, notices: &mut Vec<Notice>) {
    if present {
        notices
            .push(Notice::dropped(format!("{what} dropped: {} has no place for it", format.format().name())));
    }
}
