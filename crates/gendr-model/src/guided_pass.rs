//! The two passes of a guided network: one for each prompt.

use crate::pass::{Counted, NormStatistics, Pass, Watch};

/// A pass for the branch of the positive prompt and one for that of the negative.
#[derive(Default)]
pub struct GuidedPass<'a> {
    /// For the positive prompt.
    pub positive: Pass<'a>,
    /// For the negative prompt; not used without guidance.
    pub negative: Pass<'a>,
}

/// What the group norms saw in either branch.
#[derive(Clone, Debug, Default)]
pub struct GuidedStatistics {
    positive: NormStatistics,
    negative: NormStatistics,
}

impl<'a> GuidedPass<'a> {
    /// Each branch by its own statistics.
    pub fn whole() -> Self {
        Self::default()
    }

    /// Each branch layer by layer in tiles, attending [within](Pass::within) a window.
    pub fn tiled(tile: usize, window: usize) -> Self {
        let pass = || Pass::tiled(tile).within(window);
        Self { positive: pass(), negative: pass() }
    }

    /// Each branch as [`Pass::watched`].
    #[must_use]
    pub fn watched(self, watch: &'a Watch<'a>) -> Self {
        Self { positive: self.positive.watched(watch), negative: self.negative.watched(watch) }
    }

    /// Each branch as [`Pass::recording`].
    pub fn recording(counted: Counted) -> Self {
        Self { positive: Pass::recording(counted.clone()), negative: Pass::recording(counted) }
    }

    /// Each branch as [`Pass::given`].
    pub fn given(statistics: &'a GuidedStatistics) -> Self {
        Self { positive: Pass::given(&statistics.positive), negative: Pass::given(&statistics.negative) }
    }

    /// The statistics of a [`GuidedPass::recording`]; empty for any other.
    pub fn into_statistics(self) -> GuidedStatistics {
        GuidedStatistics {
            positive: self.positive.into_statistics(),
            negative: self.negative.into_statistics(),
        }
    }
}
