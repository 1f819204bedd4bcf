//! Whole runs of tiny networks on tiny pictures.

mod common;
mod equal_gradients;
mod features;
mod interrupted;
mod patches;
mod regress;
mod stages;
