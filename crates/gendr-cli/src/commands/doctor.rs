//! `gendr doctor`: what this machine has, and whether it makes the right pixels.

use std::{path::Path, time::Instant};

use gendr::{Compute, ModelSource, Restorer, Result, SelfTest, available_memory, format_bytes};
use gendr_kernels::Level;
use serde_json::json;

use crate::{
    args::DoctorArgs,
    console::{print_data, print_json},
    status::Status,
};

pub(crate) fn run(args: &DoctorArgs) -> Result<Status> {
    if let Some(file) = &args.renew {
        return renew(file);
    }
    let restorer = Restorer::open(&ModelSource::BuiltIn, Compute::default())?;
    let start = Instant::now();
    let test = SelfTest::run(&restorer);
    let seconds = start.elapsed().as_secs_f64();
    let passed = test.as_ref().is_ok_and(|test| test.passed());
    let level = Level::current().name();
    let levels: Vec<&str> = Level::available().iter().map(|level| level.name()).collect();
    let memory = available_memory();
    let description = restorer.description();
    if args.json {
        print_json(&json!({
            "version": env!("CARGO_PKG_VERSION"), "processor": std::env::consts::ARCH, "threads": restorer.threads(),
            "simd": level, "simd_available": levels, "memory_bytes": memory,
            "devices": [restorer.device().to_string()],
            "model": { "name": description.name, "family": description.family.name(), "blake3": restorer.model_hash() },
            "self_test": {
                "passed": passed, "seconds": seconds,
                "largest_difference": test.as_ref().ok().map(|test| test.largest_difference),
                "error": test.as_ref().err().map(ToString::to_string),
            },
        }))?;
    } else {
        let found = match &test {
            Ok(test) => {
                format!("largest difference {} of 255 levels, {seconds:.2} s", test.largest_difference)
            }
            Err(error) => error.to_string(),
        };
        let lines = [
            ("gendr", env!("CARGO_PKG_VERSION").to_owned()),
            (
                "processor",
                format!("{}, {} threads, {}", std::env::consts::ARCH, restorer.threads(), levels.join(" ")),
            ),
            ("kernels run at", level.to_owned()),
            ("memory", format!("{} available", format_bytes(memory))),
            ("devices", restorer.device().to_string()),
            ("model", format!("{}, family {}", description.name, description.family.name())),
            ("self-test", format!("{}: {found}", if passed { "passed" } else { "FAILED" })),
        ];
        let text: String = lines.iter().map(|(name, value)| format!("{name:<15} {value}\n")).collect();
        print_data(&text)?;
    }
    Ok(if passed { Status::Done } else { Status::SomeFailed })
}

/// Keeps what the built-in model makes now as what it should make.
fn renew(file: &Path) -> Result<Status> {
    gendr::write_atomic(file, &SelfTest::renewed()?, &[])?;
    Ok(Status::Done)
}
