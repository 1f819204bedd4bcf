//! Values that need more than a number: tiles, sizes in bytes, names.

use gendr::{ColorFix, OutputFormat, Strip, Tiling, VaeTiling};
use gendr_model::Precision;

/// `auto`, `off` or a side in pixels.
pub(super) fn tiling(text: &str) -> Result<Tiling, String> {
    match text {
        "auto" => Ok(Tiling::Auto),
        "off" => Ok(Tiling::Off),
        _ => {
            text.parse().map(Tiling::Size).map_err(|_| "give `auto`, `off` or a number of pixels".to_owned())
        }
    }
}

/// `auto`, `exact` or `fast`.
pub(super) fn vae_tiling(text: &str) -> Result<VaeTiling, String> {
    match text {
        "auto" => Ok(VaeTiling::Auto),
        "exact" => Ok(VaeTiling::Exact),
        "fast" => Ok(VaeTiling::Fast),
        _ => Err("give `auto`, `exact` or `fast`".to_owned()),
    }
}

/// The name of an output format.
pub(super) fn format(text: &str) -> Result<OutputFormat, String> {
    OutputFormat::from_extension(text)
        .ok_or_else(|| "give `png`, `jpeg`, `webp`, `tiff`, `avif` or `jxl`".to_owned())
}

/// The name of a colour fix.
pub(super) fn color_fix(text: &str) -> Result<ColorFix, String> {
    ColorFix::from_name(text)
        .ok_or_else(|| "give `none`, `adain`, `wavelet`, `ycbcr` or `projection`".to_owned())
}

/// Which metadata go.
pub(super) fn strip(text: &str) -> Result<Strip, String> {
    match text {
        "all" => Ok(Strip::All),
        "gps" => Ok(Strip::Gps),
        _ => Err("give `all` or `gps`".to_owned()),
    }
}

/// How weights are stored.
pub(super) fn precision(text: &str) -> Result<Precision, String> {
    let named = Precision::ALL.into_iter().find(|precision| precision.name() == text);
    named.ok_or_else(|| "give `f32`, `f16` or `bf16`".to_owned())
}

/// Bytes: a number with `K`, `M`, `G` or `T` behind it for powers of 1024, such as `4G` or `512M`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "give a number of bytes such as `512M` or `4G`".to_owned();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().map_err(|_| wrong())?;
    let power = match unit.to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(wrong()),
    };
    let bytes = number * 1024f64.powi(power);
    if (1.0..=u64::MAX as f64 / 2.0).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_bytes_are_powers_of_1024() {
        assert_eq!(bytes("4G"), Ok(4 << 30));
        assert_eq!(bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(bytes("512m"), Ok(512 << 20));
        assert_eq!(bytes("1000"), Ok(1000));
        for wrong in ["", "G", "-1G", "0", "1X", "1e99T", "nan", "4 G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tiles_are_words_or_pixels() {
        assert_eq!(tiling("auto"), Ok(Tiling::Auto));
        assert_eq!(tiling("off"), Ok(Tiling::Off));
        assert_eq!(tiling("256"), Ok(Tiling::Size(256)));
        assert!(tiling("-256").is_err());
    }
}
