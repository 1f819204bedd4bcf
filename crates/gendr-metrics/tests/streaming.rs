//! Many pictures, few in memory.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use gendr_image::{EncodeOptions, OutputFormat, Picture, Planes, Result, encode};
use gendr_metrics::{EvaluateOptions, Metric, MetricInfo, Sample, built_in_metric, evaluate, pair_by_name};

/// Counts the pictures that were decoded.
struct Counting {
    info: MetricInfo,
    scored: Arc<AtomicUsize>,
}

impl Metric for Counting {
    fn info(&self) -> &MetricInfo {
        &self.info
    }

    fn score(&self, sample: &Sample) -> Result<f64> {
        self.scored.fetch_add(1, Ordering::SeqCst);
        Ok(f64::from(sample.output().data()[0]))
    }
}

fn write(folder: &Path, count: usize) {
    for index in 0..count {
        let picture = Planes::filled(3, 3, 4, index as f32 / count as f32);
        let file = encode(&Picture::from_color(picture), &EncodeOptions::new(OutputFormat::Png)).unwrap();
        std::fs::write(folder.join(format!("{index:05}.png")), file.bytes).unwrap();
    }
}

#[test]
fn pictures_are_decoded_as_they_are_needed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 300);
    let pairs = pair_by_name(folder.path(), None, None).unwrap().pairs;
    assert_eq!(pairs.len(), 300);
    for threads in [1, 3] {
        let scored = Arc::new(AtomicUsize::new(0));
        let info = *built_in_metric("niqe").unwrap().info();
        let metrics: [Box<dyn Metric>; 1] = [Box::new(Counting { info, scored: Arc::clone(&scored) })];
        let (mut reported, mut ahead) = (0, 0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let evaluation = pool.install(|| {
            evaluate(&pairs, &metrics, &EvaluateOptions::default(), |_| {
                reported += 1;
                ahead = ahead.max(scored.load(Ordering::SeqCst) - reported);
                ControlFlow::Continue(())
            })
        });
        assert_eq!((evaluation.rows.len(), scored.load(Ordering::SeqCst)), (300, 300));
        assert!(ahead < 2 * threads, "{ahead} pictures ahead with {threads} threads");
    }
}
