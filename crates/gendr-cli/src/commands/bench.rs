//! `gendr bench`: how fast this machine restores.

mod kernels;

use gendr::{
    CancelFlag, Picture, Planes, Precision, RestoreOptions, Result, Silent, TargetSize, Timings, peak_memory,
};
use serde_json::json;

use crate::{
    args::{BenchArgs, BenchCommand, BenchRestoreArgs},
    console::{Console, print_data, print_json},
    interrupt,
    status::Status,
};

pub(crate) fn run(args: &BenchArgs) -> Result<Status> {
    match &args.what {
        BenchCommand::Restore(args) => restore(args),
        BenchCommand::Kernels(args) => kernels::run(args),
    }
}

fn restore(args: &BenchRestoreArgs) -> Result<Status> {
    let options = RestoreOptions { size: TargetSize::Width(args.size), ..RestoreOptions::default() };
    options.validate()?;
    let restorer = args.network.open()?;
    let precision = restorer.precision();
    if let Some(notice) = args.network.notice(&restorer) {
        Console::new(false, 0).warn(notice);
    }
    let side = (args.size / restorer.description().scale.max(1)).max(1);
    let picture = Picture::from_color(pattern(side));
    let cancel = interrupt::cancel_flag()?;
    let timed = |cancel: &CancelFlag| Ok(restorer.restore(&picture, &options, &Silent, cancel)?.timings);
    timed(&cancel)?;
    let runs: Vec<Timings> = (0..args.runs.get()).map(|_| timed(&cancel)).collect::<Result<_>>()?;

    let seconds = |part: fn(&Timings) -> std::time::Duration| median(runs.iter().map(part).collect());
    let (encode, unet) = (seconds(|run| run.encode), seconds(|run| run.network));
    let (decode, total) = (seconds(|run| run.decode), seconds(|run| run.total));
    let peak = peak_memory().map(|bytes| bytes >> 20);
    if args.json {
        print_json(&json!({
            "encode_s": encode, "unet_s": unet, "decode_s": decode, "total_s": total,
            "runs": runs.len(), "threads": restorer.threads(), "device": restorer.device().to_string(),
            "precision": precision.name(), "peak_rss_mib": peak, "size": args.size,
        }))?;
    } else {
        let memory = peak.map_or("unknown".to_owned(), |mib| format!("{mib} MiB"));
        print_data(&format!(
            "encode {encode:.3} s, network {unet:.3} s, decode {decode:.3} s, total {total:.3} s\n\
             medians of {} runs for {side}x{side} to {}x{} on {}{} with {} threads; peak memory {memory}\n",
            runs.len(),
            args.size,
            args.size,
            restorer.device(),
            if precision == Precision::F32 { String::new() } else { format!(" in {}", precision.name()) },
            restorer.threads(),
        ))?;
    }
    Ok(Status::Done)
}

fn median(mut times: Vec<std::time::Duration>) -> f64 {
    times.sort();
    let middle = times.len() / 2;
    let sum =
        if times.len().is_multiple_of(2) { times[middle - 1] + times[middle] } else { times[middle] * 2 };
    sum.as_secs_f64() / 2.0
}

/// A square of smooth colour with edges, the same on every machine.
fn pattern(side: usize) -> Planes {
    let mut planes = Planes::filled(3, side, side, 0.0);
    for channel in 0..3 {
        for (index, value) in planes.plane_mut(channel).iter_mut().enumerate() {
            let (x, y) = (index % side, index / side);
            let edge = if (x / 16 + y / 16) % 2 == 0 { 0.0 } else { 0.25 };
            *value = edge + 0.7 * ((x + channel * y) % side.max(2)) as f32 / side as f32;
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        let seconds = |list: &[u64]| median(list.iter().map(|&s| Duration::from_secs(s)).collect());
        assert_eq!(seconds(&[5, 1, 3]), 3.0);
        assert_eq!(seconds(&[4, 1, 2, 9]), 3.0);
    }
}
