//! Restoring from picture to picture, with the built-in model and with random models of reduced size.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod batch;
mod determinism;
mod fixtures;
mod pictures;
mod sizes;
mod support;
mod tiles;
