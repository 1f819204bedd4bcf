//! How pictures go bad: the Real-ESRGAN degradation pipeline and its variants.
//!
//! Drawing and applying are apart. A [`DegradationConfig`] holds ranges and probabilities; [`Recipe::draw`] draws one
//! picture's degradation from it, fixed by a seed and the sample's index alone; [`Recipe::apply`] carries the recipe out.
//! A recipe is plain data and can be stored as JSON beside its result.
//!
//! The arithmetic is that of the reference implementation, step by step: [`Kernel`] (blur and sinc kernels), [`blur`],
//! [`interpolate`], [`add_gaussian_noise`], [`add_poisson_noise`], [`jpeg`] and [`sharpen`].

mod blur;
mod config;
mod draws;
mod interpolate;
mod jpeg;
mod kernel;
mod noise;
mod recipe;
mod sharpen;

pub use blur::blur;
pub use config::{DegradationConfig, FinalStage, JpegConfig, KernelConfig, NoiseConfig, ResizeConfig, Stage};
pub use draws::Draws;
pub use gendr_image::{Error, ErrorKind, Result};
pub use interpolate::{InterpolationMode, interpolate};
pub use jpeg::{JpegTables, Subsampling, jpeg};
pub use kernel::{BlurKernel, Kernel, KernelShape};
pub use noise::{add_gaussian_noise, add_poisson_noise, luma, poisson_levels};
pub use recipe::{Recipe, Step};
pub use sharpen::{SharpenConfig, sharpen};
