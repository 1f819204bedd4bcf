//! The command as people run it.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

mod bad_models;
mod bad_pictures;
mod batches;
mod eval;
mod identity;
mod killed;
mod looking;
mod model;
mod pictures;
mod recipes;
mod restore;
mod shell;
