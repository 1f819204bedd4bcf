//! What a picture may cost, checked before anything is allocated for it.

use crate::{Error, Result};

/// Limits on one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels.
    pub max_pixels: u64,
    /// Most bytes that decoding may take: the file's samples and the planes made of them.
    pub max_bytes: u64,
}

impl Default for Limits {
    /// A gigapixel, 8 GiB.
    fn default() -> Self {
        Self { max_pixels: 1 << 30, max_bytes: 8 << 30 }
    }
}

impl Limits {
    /// Refuses a picture without pixels, or one with too many, or one whose samples of `sample_bytes` bytes in
    /// `channels` channels and the planes made of them need too much memory.
    pub(crate) fn check(&self, width: u64, height: u64, channels: u64, sample_bytes: u64) -> Result<()> {
        let pixels = self.check_pixels(width, height)?;
        // Grey becomes three planes too; one more for alpha.
        let needed = pixels.saturating_mul(channels * sample_bytes + 4 * channels.max(3));
        if needed > self.max_bytes {
            return Err(Error::limit(format!(
                "decoding {width}x{height} needs {} MiB, over the limit of {}",
                needed >> 20,
                self.max_bytes >> 20
            )));
        }
        Ok(())
    }

    /// The same for a picture of which a row alone is held, `pixel_bytes` bytes a pixel.
    pub(crate) fn check_rows(&self, width: u64, height: u64, pixel_bytes: u64) -> Result<()> {
        self.check_pixels(width, height)?;
        if width.saturating_mul(pixel_bytes) > self.max_bytes {
            return Err(Error::limit(format!("a row of {width} pixels is over the limit of memory")));
        }
        Ok(())
    }

    fn check_pixels(&self, width: u64, height: u64) -> Result<u64> {
        if width == 0 || height == 0 {
            return Err(Error::input(format!("a picture of {width}x{height} has no pixels")));
        }
        let pixels = width.saturating_mul(height);
        if pixels > self.max_pixels {
            return Err(Error::limit(format!(
                "{width}x{height} is {} megapixels, over the limit of {}",
                pixels / 1_000_000,
                self.max_pixels / 1_000_000
            )));
        }
        Ok(pixels)
    }

    /// The byte limit as a decoder's allocation limit.
    pub(crate) fn allocation(&self) -> usize {
        usize::try_from(self.max_bytes).unwrap_or(usize::MAX)
    }
}
