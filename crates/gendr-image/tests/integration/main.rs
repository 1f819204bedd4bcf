//! Tests of the public interface, one module per idea.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod color_fix;
mod color_space;
mod decode;
mod encode;
mod file;
mod fixture;
mod hostile;
#[cfg(feature = "interop")]
mod interop;
mod more_formats;
mod resize;
mod samples;
mod strips;
mod tile;
