//! Whole runs of tiny networks on tiny pictures.

mod common;
mod interrupted;
mod patches;
mod regress;
mod stages;
