//! `gendr bench kernels`: a table of layers.

use gendr::{
    Error, ErrorKind, KernelCase, KernelPart, KernelPeak, KernelTime, Result, full_size_cases, kernel_peak,
    time_kernels,
};
use serde_json::json;

use crate::{
    args::BenchKernelsArgs,
    console::{print_data, print_json},
    interrupt,
    status::Status,
};

pub(super) fn run(args: &BenchKernelsArgs) -> Result<Status> {
    let cases: Vec<_> =
        full_size_cases().into_iter().filter(|case| case.to_string().contains(&args.only)).collect();
    if cases.is_empty() {
        return Err(Error::new(ErrorKind::Argument, format!("no layer's name contains `{}`", args.only))
            .with_hint("`gendr bench kernels` without `--only` lists them all"));
    }
    let cancel = interrupt::cancel_flag()?;
    let threads = args.threads.map_or(0, std::num::NonZeroUsize::get);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool =
        pool.map_err(|error| Error::new(ErrorKind::Resource, "cannot start threads").with_source(error))?;
    let mut table =
        Table { json: args.json, peak: pool.install(kernel_peak), sums: Vec::new(), failed: Ok(()) };
    table.head()?;
    pool.install(|| time_kernels(&cases, args.flex, &cancel, &mut |case, time| table.add(case, time)))?;
    table.end()?;
    Ok(Status::Done)
}

struct Table {
    json: bool,
    peak: KernelPeak,
    /// Seconds of all calls in each part, ours and Flex's.
    sums: Vec<(KernelPart, f64, f64)>,
    failed: Result<()>,
}

impl Table {
    fn head(&self) -> Result<()> {
        let KernelPeak { level, threads, operations, bytes } = self.peak;
        let (operations, bytes) = (operations * 1e-9, bytes * 1e-9);
        if self.json {
            let level = level.name();
            return print_json(&json!({
                "level": level, "threads": threads, "peak_gflops": operations, "copy_gb_s": bytes,
            }));
        }
        print_data(&format!(
            "{} with {threads} threads: {operations:.0} GF/s of multiply-adds, {bytes:.1} GB/s of copying\n\
             {:<44}{:>5}{:>10}{:>8}{:>7}{:>8}{:>9}\n",
            level.name(),
            "layer",
            "calls",
            "ms",
            "GF/s",
            "peak",
            "GB/s",
            "x Flex"
        ))
    }

    fn add(&mut self, case: &KernelCase, time: KernelTime) {
        let calls = case.calls as f64;
        let flex = time.flex_seconds.unwrap_or(0.0);
        match self.sums.iter_mut().find(|(part, ..)| *part == case.part) {
            Some((_, ours, theirs)) => {
                *ours += calls * time.seconds;
                *theirs += calls * flex;
            }
            None => self.sums.push((case.part, calls * time.seconds, calls * flex)),
        }
        if self.failed.is_ok() {
            self.failed = self.line(case, time);
        }
    }

    fn line(&self, case: &KernelCase, time: KernelTime) -> Result<()> {
        let rate = case.work.operations() as f64 / time.seconds;
        let bytes = case.work.bytes() as f64 / time.seconds * 1e-9;
        let share = rate / self.peak.operations;
        let gain = time.flex_seconds.map(|flex| flex / time.seconds);
        if self.json {
            return print_json(&json!({
                "layer": case.to_string(), "calls": case.calls, "seconds": time.seconds, "gflops": rate * 1e-9,
                "share_of_peak": share, "gb_s": bytes, "flex_seconds": time.flex_seconds,
            }));
        }
        let (rate, share) = match case.work.operations() {
            0 => ("-".to_owned(), "-".to_owned()),
            _ => (format!("{:.0}", rate * 1e-9), format!("{:.0}%", share * 100.0)),
        };
        let gain = gain.map_or(String::new(), |gain| format!("{gain:.1}"));
        let milliseconds = time.seconds * 1e3;
        print_data(&format!(
            "{:<44}{:>5}{milliseconds:>10.2}{rate:>8}{share:>7}{bytes:>8.1}{gain:>9}\n",
            case.to_string(),
            case.calls
        ))
    }

    fn end(self) -> Result<()> {
        self.failed?;
        if self.json {
            return Ok(());
        }
        for (part, ours, flex) in self.sums {
            let compared = if flex > 0.0 { format!(", Flex {flex:.2} s") } else { String::new() };
            print_data(&format!("all calls of the {part:?}: {ours:.2} s{compared}\n").to_lowercase())?;
        }
        Ok(())
    }
}
