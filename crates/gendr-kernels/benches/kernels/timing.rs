//! Rates by the clock and by processor time.

use std::time::Instant;

/// Whether a line is wanted, and how it is printed.
pub(crate) struct Report {
    filter: String,
}

impl Report {
    /// Takes the first argument that is not an option as part of the names wanted.
    pub(crate) fn from_arguments() -> Self {
        Self {
            filter: std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default(),
        }
    }

    /// Whether any line whose name begins so is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.contains(&self.filter) || self.filter.starts_with(name)
    }

    /// Measures `work`, which does `amount` floating-point operations or bytes, and prints a line.
    pub(crate) fn line(&self, name: &str, amount: usize, mut work: impl FnMut()) {
        if name.contains(&self.filter) {
            let [clock, processor] = median(&mut work).map(|seconds| amount as f64 / seconds * 1e-9);
            println!("{name:<40}{clock:>8.1} ({processor:.1})");
        }
    }
}

/// Seconds that the threads of this process have computed, waiting not counted; where the system does not tell, the clock.
fn processor_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() * 1e-9
}

/// Seconds of a few runs after a warm-up: the median by the clock, and the least processor time.
fn median(work: &mut dyn FnMut()) -> [f64; 2] {
    work();
    let once = Instant::now();
    work();
    let runs = (0.3 / once.elapsed().as_secs_f64()).clamp(3.0, 200.0) as usize;
    let (mut seconds, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (start, before) = (Instant::now(), processor_seconds());
        work();
        seconds.push(start.elapsed().as_secs_f64());
        processor.push(processor_seconds() - before);
    }
    seconds.sort_by(f64::total_cmp);
    [seconds[runs / 2], processor.into_iter().fold(f64::INFINITY, f64::min)]
}
