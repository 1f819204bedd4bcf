//! Seconds that a metric takes on pairs of pictures: `speed METRIC memory|files RUNS OUTPUT REFERENCE`, with pictures decoded
//! beforehand or decoded each time.
//!
//! Pairs lie in the folders OUTPUT and REFERENCE, matched by name. Prints the least time of all runs, in seconds a
//! pair, and the mean score. The number of threads is rayon's (`RAYON_NUM_THREADS`).
#![allow(clippy::print_stdout, reason = "its result")]

use std::{env, error::Error, path::Path, time::Instant};

use gendr_image::{Limits, Planes, read};
use gendr_kernels::LargeBlockAllocator;
use gendr_metrics::{Luma, Niqe, NiqeModel, Pair, Ssim, ms_ssim, pair_by_name, psnr, psnr_of_bytes};

/// As in the command.
#[global_allocator]
static ALLOCATOR: LargeBlockAllocator = LargeBlockAllocator::new();

/// A pair: output and reference.
struct Loaded {
    planes: [Planes; 2],
    /// The samples of a metric that takes bytes.
    bytes: [Vec<u8>; 2],
}

fn bytes(picture: &Planes) -> Vec<u8> {
    picture.data().iter().map(|value| (value * 255.0).round() as u8).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, metric, from, runs, output, reference] = arguments.as_slice() else {
        return Err("give METRIC, memory or files, RUNS, OUTPUT and REFERENCE".into());
    };
    let color = |path: &Path| Ok::<_, gendr_image::Error>(read(path, &Limits::default())?.color);
    let load = |pair: &Pair| -> Result<Loaded, gendr_image::Error> {
        let reference = pair.reference.as_deref().unwrap_or(&pair.output);
        let planes = [color(&pair.output)?, color(reference)?];
        let bytes = if metric == "psnr-bytes" { planes.each_ref().map(bytes) } else { Default::default() };
        Ok(Loaded { planes, bytes })
    };
    let pairs = pair_by_name(Path::new(output), Some(Path::new(reference)), None)?.pairs;
    let loaded: Vec<Loaded> = match from.as_str() {
        "memory" => pairs.iter().map(load).collect::<Result<_, _>>()?,
        _ => Vec::new(),
    };
    let niqe = Niqe::new(NiqeModel::published(), Luma::FullRange);
    let score = |Loaded { planes: [output, reference], bytes }: &Loaded| match metric.as_str() {
        "psnr-bytes" => psnr_of_bytes(&bytes[0], &bytes[1]),
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
        let scores: Vec<f64> = match from.as_str() {
            "memory" => loaded.iter().map(score).collect::<Result<_, _>>()?,
            _ => pairs.iter().map(|pair| score(&load(pair)?)).collect::<Result<_, _>>()?,
        };
        least = least.min(start.elapsed().as_secs_f64());
        mean = scores.iter().sum::<f64>() / scores.len() as f64;
    }
    println!("{:.9} {mean:.6}", least / pairs.len() as f64);
    Ok(())
}
