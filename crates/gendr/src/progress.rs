//! How a caller follows and stops the work: values passed in, no global state.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{Error, Result};

/// The part of the restoring that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Pixels to latent, by the variational autoencoder.
    Encode,
    /// The one pass of the network that restores, tile by tile.
    Network,
    /// Latent to pixels.
    Decode,
}

/// Told how far the work is. Called from the thread that restores, at least once before and after each stage.
pub trait Observer: Sync {
    /// `done` of `total` tiles of a stage are finished.
    fn progress(&self, stage: Stage, done: usize, total: usize);
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&self, _stage: Stage, _done: usize, _total: usize) {}
}

/// A switch that stops the work at the next tile. Clones share the switch.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A switch that is off.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all work that holds this flag to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error of kind `Cancelled` once the switch is on.
    ///
    /// # Errors
    /// As said.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn clones_share_the_switch() {
        let flag = CancelFlag::new();
        let other = flag.clone();
        assert!(other.check().is_ok());
        flag.cancel();
        assert_eq!(other.check().unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
