//! How fast the kernels are on every shape of the full-size model.

mod cases;
mod run;

use gendr_kernels::{Level, peak_operations};

use crate::{CancelFlag, Result};

pub use cases::{KernelCase, Part, Work, full_size_cases};

/// What was measured of one case.
#[derive(Clone, Copy, Debug)]
pub struct KernelTime {
    /// Seconds of one call: the median of several.
    pub seconds: f64,
    /// The same of Burn's own operations on its back end Flex, where they were asked for.
    pub flex_seconds: Option<f64>,
}

/// What the machine could do.
#[derive(Clone, Copy, Debug)]
pub struct KernelPeak {
    /// The instruction set in use.
    pub level: Level,
    /// Threads in use.
    pub threads: usize,
    /// Floating-point operations a second of multiply-adds on registers.
    pub operations: f64,
    /// Bytes a second of copying in memory, read and written ones both counted.
    pub bytes: f64,
}

/// Measures the machine itself.
pub fn kernel_peak() -> KernelPeak {
    KernelPeak {
        level: Level::current(),
        threads: rayon::current_num_threads(),
        operations: peak_operations(),
        bytes: run::copy_rate(),
    }
}

/// Measures each of `cases` at an output of 512x512 pixels and shows it to `tell`; `with_flex` measures Burn's own operations too.
///
/// # Errors
/// A cancelled error.
pub fn time_kernels(
    cases: &[KernelCase],
    with_flex: bool,
    cancel: &CancelFlag,
    tell: &mut dyn FnMut(&KernelCase, KernelTime),
) -> Result<()> {
    for case in cases {
        cancel.check()?;
        tell(case, run::time(case, with_flex));
    }
    Ok(())
}
