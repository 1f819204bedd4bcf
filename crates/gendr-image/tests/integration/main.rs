//! Tests of the public interface, one module per idea.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod color_fix;
mod fixture;
mod resize;
mod tile;
