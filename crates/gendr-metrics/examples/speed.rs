//! Seconds that a metric takes on pairs of pictures, decoded beforehand: `speed METRIC RUNS OUTPUT REFERENCE`.
//!
//! Pairs lie in the folders OUTPUT and REFERENCE, matched by name. Prints the least time of all runs, in seconds a
//! pair, and the mean score. The number of threads is rayon's (`RAYON_NUM_THREADS`).
#![allow(clippy::print_stdout, reason = "its result")]

use std::{env, error::Error, path::Path, time::Instant};

use gendr_image::{Limits, Planes, read};
use gendr_metrics::{Luma, Niqe, NiqeModel, Ssim, ms_ssim, pair_by_name, psnr};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, metric, runs, output, reference] = arguments.as_slice() else {
        return Err("give METRIC RUNS OUTPUT REFERENCE".into());
    };
    let color = |path: &Path| Ok::<_, gendr_image::Error>(read(path, &Limits::default())?.color);
    let mut pairs: Vec<[Planes; 2]> = Vec::new();
    for pair in pair_by_name(Path::new(output), Some(Path::new(reference)), None)?.pairs {
        let reference = pair.reference.as_deref().ok_or("no reference")?;
        pairs.push([color(&pair.output)?, color(reference)?]);
    }
    let niqe = Niqe::new(NiqeModel::published(), Luma::FullRange);
    let score = |[output, reference]: &[Planes; 2]| match metric.as_str() {
        "psnr" => psnr(output, reference),
        "ssim" => Ssim::RGB.score(output, reference),
        "ssim-y" => Ssim::FULL_RANGE_Y.score(output, reference),
        "ms-ssim" => ms_ssim(output, reference),
        "niqe" => niqe.score(output),
        other => Err(gendr_image::Error::argument(format!("no metric {other}"))),
    };
    let (mut least, mut mean) = (f64::INFINITY, 0.0);
    for _ in 0..runs.parse::<usize>()?.max(1) {
        let start = Instant::now();
        let scores: Vec<f64> = pairs.iter().map(score).collect::<Result<_, _>>()?;
        least = least.min(start.elapsed().as_secs_f64());
        mean = scores.iter().sum::<f64>() / scores.len() as f64;
    }
    println!("{:.9} {mean:.6}", least / pairs.len() as f64);
    Ok(())
}
