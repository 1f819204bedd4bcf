//! `gendr restore --dry-run`: what the work will take.

use gendr::{FileOptions, Forecast, Job, RestoreOptions, Restorer, Result, format_bytes};
use serde_json::json;

use crate::{
    console::{Console, print_data, print_json},
    status::Status,
};

/// Tells of each job, on standard output; nothing is written elsewhere.
pub(super) fn run(
    restorer: &Restorer,
    jobs: &[Job],
    options: &RestoreOptions,
    files: &FileOptions,
    console: &Console,
    json: bool,
) -> Result<Status> {
    let mut status = Status::Done;
    for job in jobs {
        match restorer.forecast(job, options, files) {
            Ok(forecast) if json => print_json(&entry(job, &forecast))?,
            Ok(forecast) => print_data(&format!("{}\n", line(job, &forecast)))?,
            Err(error) => {
                status = Status::SomeFailed;
                console.error(&error);
                if json {
                    print_json(&json!({
                        "input": job.input.to_string(), "output": job.output.to_string(),
                        "error": error.to_string(), "hint": error.hint(),
                    }))?;
                }
            }
        }
    }
    Ok(status)
}

fn entry(job: &Job, forecast: &Forecast) -> serde_json::Value {
    let Forecast { input, size, cutting, bytes, by_rows } = forecast;
    json!({
        "input": job.input.to_string(), "output": job.output.to_string(),
        "input_width": input.0, "input_height": input.1, "width": size.0, "height": size.1,
        "cut": cutting, "memory_bytes": bytes, "by_rows": by_rows,
    })
}

fn line(job: &Job, forecast: &Forecast) -> String {
    let Forecast { input, size, cutting, bytes, by_rows } = forecast;
    let tiles = match (cutting.side, cutting.overlap) {
        (Some(side), Some(overlap)) => format!("{} tiles of {side} overlapping by {overlap}", cutting.tiles),
        (Some(side), None) => format!("{} tiles of {side}, layer by layer", cutting.tiles),
        _ => "not cut".to_owned(),
    };
    let way = if *by_rows { ", from top to bottom" } else { "" };
    format!(
        "{} -> {}: {}x{} to {}x{}, {tiles}{way}, up to {}",
        job.input,
        job.output,
        input.0,
        input.1,
        size.0,
        size.1,
        format_bytes(*bytes)
    )
}
