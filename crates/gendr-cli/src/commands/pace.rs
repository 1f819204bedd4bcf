//! How fast a batch goes.

use std::{collections::HashMap, time::Instant};

/// Pictures done and under way.
pub(super) struct Pace {
    start: Instant,
    finished: usize,
    /// Megapixels of the results that were made in this run.
    megapixels: f64,
    /// Megapixels and share of what is under way.
    under_way: HashMap<usize, (f64, f64)>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), finished: 0, megapixels: 0.0, under_way: HashMap::new() }
    }

    pub(super) fn begun(&mut self, index: usize, (width, height): (usize, usize)) {
        self.under_way.insert(index, (width as f64 * height as f64 / 1e6, 0.0));
    }

    pub(super) fn at(&mut self, index: usize, fraction: f64) {
        if let Some((_, share)) = self.under_way.get_mut(&index) {
            *share = fraction;
        }
    }

    pub(super) fn finished(&mut self, index: usize) {
        self.finished += 1;
        self.megapixels +=
            self.under_way.remove(&index).map_or(0.0, |(megapixels, share)| megapixels * share);
    }

    /// Pictures that are done, and the parts of others.
    pub(super) fn pictures(&self) -> f64 {
        self.finished as f64 + self.under_way.values().map(|(_, share)| share).sum::<f64>()
    }

    pub(super) fn megapixels_a_second(&self) -> f64 {
        let under_way: f64 = self.under_way.values().map(|(megapixels, share)| megapixels * share).sum();
        (self.megapixels + under_way) / self.start.elapsed().as_secs_f64().max(1e-3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_and_failures_do_not_speed_it_up() {
        let mut pace = Pace::new();
        for index in 0..3 {
            pace.begun(index, (2000, 500));
        }
        pace.at(0, 1.0);
        pace.at(1, 0.5);
        assert_eq!(pace.pictures(), 1.5);
        pace.finished(0);
        pace.finished(2);
        assert_eq!((pace.pictures(), pace.megapixels), (2.5, 1.0));
        assert!(pace.megapixels_a_second() > 0.0);
    }
}
