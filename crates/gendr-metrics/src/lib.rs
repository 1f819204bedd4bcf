//! How good is a picture: the field's measures of restoration, from PSNR to NIQE.
//!
//! Pictures are [`gendr_image::Planes`] in `0..=1`, one plane (grey) or three (R'G'B'). A metric either returns a finite
//! number or an error that says why this picture has none; nothing turns into NaN. Sums are formed in double
//! precision and in a fixed order, so that a score does not depend on the number of threads.

mod color_error;
mod detail;
mod levels;
mod niqe;
mod psnr;
mod ssim;
mod ssimulacra2;
mod window;

pub use color_error::{COLOR_BLOCK, block_color_error, color_error};
pub use detail::{DetailScores, detail_scores};
pub use gendr_image::{Error, ErrorKind, Result};
pub use levels::{Luma, crop_border};
pub use niqe::{Niqe, NiqeModel};
pub use psnr::{PSNR_CEILING, low_resolution_psnr, psnr, psnr_y};
pub use ssim::{Ssim, ms_ssim};
pub use ssimulacra2::ssimulacra2;
