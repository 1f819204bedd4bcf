//! How long the parts of a restoration took.

use std::time::Duration;

use crate::Stage;

/// Wall-clock times of one restoration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Pixels to latent; zero for families without an encoder.
    pub encode: Duration,
    /// The network's one pass, tile by tile.
    pub network: Duration,
    /// Latent to pixels; zero for families without a decoder.
    pub decode: Duration,
    /// All of it, with enlarging, colour fix and joining.
    pub total: Duration,
}

impl Timings {
    /// Counts `time` for `stage`.
    pub(crate) fn add(&mut self, stage: Stage, time: Duration) {
        let part = match stage {
            Stage::Encode => &mut self.encode,
            Stage::Network => &mut self.network,
            Stage::Decode => &mut self.decode,
        };
        *part += time;
    }
}
