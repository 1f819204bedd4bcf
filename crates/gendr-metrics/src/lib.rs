//! How good is a picture: the field's measures of restoration, from PSNR to NIQE.
//!
//! Pictures are [`gendr_image::Planes`] in `0..=1`, one plane (grey) or three (R'G'B'). A metric either returns a finite
//! number or an error that says why this picture has none; nothing turns into NaN. Sums are formed in double
//! precision and in a fixed order, so that a score does not depend on the number of threads.
//!
//! For one pair call a metric ([`psnr()`], [`Ssim::score`], [`Niqe::score`] ...). For folders, match the files with
//! [`pair_by_name`], score them with [`evaluate`], which keeps a few pictures in memory at a time, and hand the
//! [`Evaluation`] to [`text_table`], [`json_total`], [`write_csv`], [`markdown_table`], [`compare`] or
//! [`write_report`].

mod color_error;
mod compare;
mod dataset;
mod detail;
mod evaluate;
mod frechet;
mod interpolation;
mod learned;
mod levels;
mod metric;
mod niqe;
mod pairing;
mod psnr;
mod report;
mod sample;
mod scores;
mod ssim;
mod ssimulacra2;
mod statistics;
mod tables;
mod text_table;
mod window;

pub use color_error::{COLOR_BLOCK, block_color_error, color_error};
pub use compare::{Comparison, MethodComparison, SIGNIFICANCE, compare};
pub use dataset::{Dataset, DatasetPicture, Layout};
pub use detail::{DetailScores, detail_scores};
pub use evaluate::{EvaluateOptions, Evaluation, REFERENCE_MARGIN, Row, evaluate};
pub use gendr_image::{Error, ErrorKind, Result};
pub use interpolation::{Interpolation, shrink_reference};
pub use learned::{
    ClipIqa, Dists, Fid, Lpips, Maniqa, Musiq, Topiq, Weights, learned_metric, learned_metrics,
};
pub use levels::{Luma, crop_border};
pub use metric::{Direction, Metric, MetricInfo, Needs, SetMetric, built_in_metric, built_in_metrics};
pub use niqe::{Niqe, NiqeModel};
pub use pairing::{Pair, Pairing, pair_by_name};
pub use psnr::{PSNR_CEILING, low_resolution_psnr, psnr, psnr_of_bytes, psnr_y};
pub use report::{ReportMethod, ReportOptions, write_report};
pub use sample::Sample;
pub use scores::Scores;
pub use ssim::{Ssim, ms_ssim};
pub use ssimulacra2::ssimulacra2;
pub use statistics::{PairedDifference, Summary};
pub use tables::{json_row, json_total, markdown_table, write_csv};
pub use text_table::text_table;
