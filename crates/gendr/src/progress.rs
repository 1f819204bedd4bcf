//! How a caller follows and stops the work: values passed in, no global state.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{Error, Result};

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Pixels to latent, by the autoencoder.
    Encode,
    /// The one pass of the network that restores, tile by tile.
    Network,
    /// Latent to pixels, by the autoencoder.
    Decode,
}

/// How far the restoring of one picture is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The part under way.
    pub stage: Stage,
    /// Tiles of this part that are finished; where all tiles go through layer after layer, their share in what is.
    pub done: usize,
    /// Tiles of this part.
    pub total: usize,
    /// The share of the whole work that is done, 0 to 1, reckoned by multiply-adds.
    pub fraction: f64,
}

/// Told how far the work is: before and after each part, and after each tile or layer.
pub trait Observer: Sync {
    /// Something was begun or finished.
    fn progress(&self, progress: Progress);
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&self, _progress: Progress) {}
}

/// A switch that stops the work at the next tile or layer. Clones share the switch.
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
