//! How a caller follows a training run.

use std::path::Path;

/// Something worth telling.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A picture was left out, and why.
    Skipped(&'a str),
    /// What the caller should know of how the run is set up.
    Note(&'a str),
    /// Training pairs made so far.
    Pairs {
        /// How many exist.
        done: usize,
        /// How many are wanted.
        total: usize,
    },
    /// A step was taken.
    Step {
        /// Steps taken.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// The value minimised.
        loss: f64,
        /// Estimated time to the end.
        seconds_left: f64,
    },
    /// The averaged weights were scored on held-out pictures.
    Validated {
        /// Steps taken.
        step: u64,
        /// Named scores, the most important first.
        scores: &'a [(&'static str, f64)],
    },
    /// A file was written.
    Saved(&'a Path),
}

/// Told what happens, from the thread that trains.
pub trait Progress {
    /// Something happened.
    fn report(&self, event: Event<'_>);
}

/// Looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _event: Event<'_>) {}
}
