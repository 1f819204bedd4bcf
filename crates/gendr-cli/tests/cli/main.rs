//! The command as people run it.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

mod eval;
mod pictures;
