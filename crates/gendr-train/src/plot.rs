//! The curves of a run as SVG, out of its log.

use crate::{Result, files};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 180.0;
const MARGIN: f64 = 14.0;
/// Above and below each curve, for its name and the steps.
const LABEL: f64 = 18.0;
const COLUMNS: usize = 2;

/// A number of the log by step.
type Curve = BTreeMap<u64, f64>;

/// Draws every number in `log.jsonl` of the folder of a run, a panel each, and writes `curves.svg` beside it.
///
/// # Errors
/// An I/O error where the log cannot be read or the picture not be written; an input error where it holds no step.
pub fn plot(run: &Path) -> Result<PathBuf> {
    let log = run.join("log.jsonl");
    let curves = curves(&String::from_utf8_lossy(&files::read(&log)?));
    if curves.is_empty() {
        return Err(crate::Error::input(format!("no steps in the log: {}", log.display())));
    }
    let path = run.join("curves.svg");
    files::write_atomically(&path, draw(&curves).as_bytes())?;
    Ok(path)
}

/// The curves of a log. A line that was cut off by a crash is passed over; of steps that were taken twice the last counts.
fn curves(log: &str) -> BTreeMap<String, Curve> {
    let mut curves: BTreeMap<String, Curve> = BTreeMap::new();
    for line in log.lines() {
        let Ok(Value::Object(line)) = serde_json::from_str(line) else { continue };
        let Some(step) = line.get("step").and_then(Value::as_u64) else { continue };
        for (name, value) in &line {
            if let Some(value) = value.as_f64().filter(|_| name != "step") {
                curves.entry(name.clone()).or_default().insert(step, value);
            }
        }
    }
    curves
}

fn draw(curves: &BTreeMap<String, Curve>) -> String {
    let (panel, rows) = (HEIGHT + 2.0 * LABEL + MARGIN, curves.len().div_ceil(COLUMNS));
    let width = COLUMNS as f64 * (WIDTH + MARGIN) + MARGIN;
    let height = rows as f64 * panel + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (index, (name, curve)) in curves.iter().enumerate() {
        let x = MARGIN + (index % COLUMNS) as f64 * (WIDTH + MARGIN);
        let y = MARGIN + (index / COLUMNS) as f64 * panel;
        _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw_curve(&mut svg, name, curve);
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

fn draw_curve(svg: &mut String, name: &str, curve: &Curve) {
    let (first, last) = (curve.keys().next().copied(), curve.keys().next_back().copied());
    let (Some(first), Some(last)) = (first, last) else { return };
    let least = curve.values().copied().fold(f64::INFINITY, f64::min);
    let most = curve.values().copied().fold(f64::NEG_INFINITY, f64::max);
    let along = |step: u64| WIDTH * (step - first) as f64 / (last - first).max(1) as f64;
    let up = |value: f64| LABEL + HEIGHT * (1.0 - (value - least) / (most - least).max(f64::MIN_POSITIVE));
    let name = name.replace('&', "&amp;").replace('<', "&lt;");
    let bottom = LABEL + HEIGHT;
    _ = writeln!(
        svg,
        "<text y=\"12\">{name}</text><text x=\"{WIDTH}\" y=\"12\" text-anchor=\"end\">{least:.4} to {most:.4}</text>\n\
         <rect y=\"{LABEL}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#ccc\"/>\n\
         <text y=\"{0}\">{first}</text><text x=\"{WIDTH}\" y=\"{0}\" text-anchor=\"end\">step {last}</text>",
        bottom + 14.0
    );
    let points: Vec<_> =
        curve.iter().map(|(&step, &value)| format!("{:.1},{:.1}", along(step), up(value))).collect();
    if let [point] = points.as_slice() {
        let (x, y) = point.split_once(',').unwrap_or_default();
        _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"2\" fill=\"#26c\"/>");
    }
    let points = points.join(" ");
    _ = writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"#26c\" stroke-width=\"1.5\"/>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_with_a_crash_in_it_is_drawn() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = "{\"step\":20,\"loss\":3.0}\n{\"step\":40,\"loss\":2.5}\n{\"step\":60,\"lo\n\
                   {\"step\":40,\"loss\":1.0,\"odd<\":null}\n{\"step\":60,\"loss\":0.5}\n{\"step\":60,\"psnr_y\":27.0}\n";
        std::fs::write(folder.path().join("log.jsonl"), log).expect("room");
        let curves = curves(log);
        assert_eq!(curves["loss"], Curve::from([(20, 3.0), (40, 1.0), (60, 0.5)]));
        assert_eq!(curves.len(), 2);
        let svg = std::fs::read_to_string(plot(folder.path()).expect("a log")).expect("readable");
        assert!(
            svg.contains("0.5000 to 3.0000") && svg.contains("points=\"0.0,18.0 180.0,162.0 360.0,198.0\"")
        );
    }

    #[test]
    fn a_folder_without_steps_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(plot(folder.path()).expect_err("no log").kind(), crate::ErrorKind::Io);
        std::fs::write(folder.path().join("log.jsonl"), "\n").expect("room");
        assert_eq!(plot(folder.path()).expect_err("no steps").kind(), crate::ErrorKind::Input);
    }
}
