//! Input and result, to be looked at together.

use base64::{Engine, engine::general_purpose::STANDARD};
use gendr_image::{EncodeOptions, OutputFormat, Picture, Planes, Strip, encode, upscale};

use crate::Result;

/// Pixels between the pictures side by side.
const GAP: usize = 16;
/// Quality of a result inside a page.
const PAGE_QUALITY: u8 = 95;
const PAGE: &str = include_str!("before_after.html");

/// How input and result are shown together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeforeAfter {
    /// A page with a slider between them, with both pictures inside it.
    Page,
    /// One PNG: the plainly enlarged input on the left, the result on the right.
    SideBySide,
}

impl BeforeAfter {
    /// What is put in place of the result's extension.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Page => "before-after.html",
            Self::SideBySide => "before-after.png",
        }
    }

    /// The content of the file.
    ///
    /// # Errors
    /// An unsupported error for pictures too large for the format.
    pub(crate) fn render(self, input: &Picture, result: &Picture) -> Result<Vec<u8>> {
        match self {
            Self::Page => page(input, result),
            Self::SideBySide => side_by_side(input, result),
        }
    }
}

fn page(input: &Picture, result: &Picture) -> Result<Vec<u8>> {
    let size = (result.width(), result.height());
    let format = if result.alpha.is_some() { OutputFormat::Png } else { OutputFormat::Jpeg };
    let text = PAGE
        .replace("{width}", &size.0.to_string())
        .replace("{height}", &size.1.to_string())
        .replace("{before}", &data_url(input, OutputFormat::Png)?)
        .replace("{after}", &data_url(result, format)?);
    Ok(text.into_bytes())
}

/// The picture as an address that holds all of it; of the metadata, only what the colours mean.
fn data_url(picture: &Picture, format: OutputFormat) -> Result<String> {
    let options = EncodeOptions {
        quality: Some(PAGE_QUALITY),
        depth: Some(gendr_image::Depth::Eight),
        strip: Strip::All,
        ..EncodeOptions::new(format)
    };
    let kind = format.format().name().to_ascii_lowercase();
    Ok(format!("data:image/{kind};base64,{}", STANDARD.encode(encode(picture, &options)?.bytes)))
}

fn side_by_side(input: &Picture, result: &Picture) -> Result<Vec<u8>> {
    let (width, height) = (result.width(), result.height());
    let both = |before: &Planes, after: &Planes, gap: f32| -> Result<Planes> {
        let before = upscale(before, width, height)?;
        let mut joined = Vec::with_capacity(after.channels() * height * (2 * width + GAP));
        for (channel, y) in (0..after.channels()).flat_map(|channel| (0..height).map(move |y| (channel, y))) {
            joined.extend_from_slice(before.row(channel, y));
            joined.extend(std::iter::repeat_n(gap, GAP));
            joined.extend_from_slice(after.row(channel, y));
        }
        Ok(Planes::from_vec(after.channels(), height, 2 * width + GAP, joined)?)
    };
    let color = both(&input.color, &result.color, 1.0)?;
    let alpha = input.alpha.as_ref().zip(result.alpha.as_ref());
    let alpha = alpha.map(|(before, after)| both(before, after, 1.0)).transpose()?;
    let joined = Picture { color, alpha, ..bare(result) };
    let options = EncodeOptions { strip: Strip::All, ..EncodeOptions::new(OutputFormat::Png) };
    Ok(encode(&joined, &options)?.bytes)
}

/// The picture's kind without its pixels.
fn bare(picture: &Picture) -> Picture {
    Picture {
        color: Planes::filled(3, 0, 0, 0.0),
        alpha: None,
        grey: picture.grey,
        depth: picture.depth,
        format: picture.format,
        metadata: picture.metadata.clone(),
        notices: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use gendr_image::{Limits, decode};

    use super::*;

    fn pictures() -> (Picture, Picture) {
        let flat = |side: usize, value| Picture::from_color(Planes::filled(3, side, side, value));
        (flat(6, 0.2), flat(24, 0.6))
    }

    #[test]
    fn a_page_holds_both_pictures_and_nothing_from_outside() {
        let (input, result) = pictures();
        let page = String::from_utf8(BeforeAfter::Page.render(&input, &result).unwrap()).unwrap();
        assert!(page.contains("data:image/png;base64,") && page.contains("data:image/jpeg;base64,"));
        assert!(!page.contains("http") && !page.contains("{width}") && !page.contains("{after}"));
        for (start, size) in [("data:image/png;base64,", 6), ("data:image/jpeg;base64,", 24)] {
            let data = page.split_once(start).unwrap().1.split('"').next().unwrap();
            let picture = decode(&STANDARD.decode(data).unwrap(), &Limits::default()).unwrap();
            assert_eq!(picture.width(), size);
        }
    }

    #[test]
    fn side_by_side_the_enlarged_input_is_on_the_left() {
        let (input, result) = pictures();
        let bytes = BeforeAfter::SideBySide.render(&input, &result).unwrap();
        let joined = decode(&bytes, &Limits::default()).unwrap();
        assert_eq!((joined.width(), joined.height()), (2 * 24 + GAP, 24));
        let row = joined.color.row(0, 12);
        assert!((row[12] - 0.2).abs() < 0.01 && (row[24 + GAP + 12] - 0.6).abs() < 0.01 && row[30] > 0.99);
    }
}
