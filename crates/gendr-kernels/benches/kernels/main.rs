//! Rates of the kernels on the shapes of restoration networks.
//!
//! `cargo bench -p gendr-kernels [-- PART-OF-A-NAME]`; `GENDR_SIMD` forces a level, `RAYON_NUM_THREADS` the threads. Each rate
//! is by the clock and, in brackets, a second of processor time, the best run (what one
//! undisturbed core would do).
#![allow(clippy::print_stdout)]

mod convolution;
mod products;
mod rows;
mod timing;

use gendr_kernels::Level;

fn main() {
    println!("level {}", Level::current().name());
    let report = timing::Report::from_arguments();
    convolution::measure(&report);
    products::measure(&report);
    rows::measure(&report);
}

/// Floats between -1 and 1.
fn filled(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1009) as f32 / 504.0 - 1.0).collect()
}
