//! The distribution of a metric, drawn as SVG: for each method a box from the first to the third quarter with the median,
//! a line from least to most, a dot for each picture and a diamond for the mean.

use std::fmt::Write;

use super::html::Escaped;
use crate::{metric::MetricInfo, statistics::Summary};

const WIDTH: f64 = 640.0;
/// Left of the scale, for names.
const LABELS: f64 = 150.0;
const MARGIN: f64 = 16.0;
const ROW: f64 = 34.0;
/// More dots than this would hide each other.
const MOST_DOTS: usize = 300;

/// Draws the scores of each method, named, none of them empty.
pub(super) fn distribution(metric: &MetricInfo, methods: &[(&str, Vec<f64>)]) -> String {
    let all = || methods.iter().flat_map(|(_, scores)| scores.iter().copied());
    let scale = Scale::new(all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let bottom = ROW * methods.len() as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Distribution of {}\">\n",
        bottom + 24.0,
        Escaped(metric.name)
    );
    for tick in scale.ticks() {
        let x = scale.place(tick);
        _ = writeln!(
            svg,
            "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{bottom}\"/>\
             <text class=\"value\" x=\"{x:.1}\" y=\"{}\">{}</text>",
            bottom + 16.0,
            scale.label(tick)
        );
    }
    for (index, (name, scores)) in methods.iter().enumerate() {
        svg += &row(&scale, metric, index, name, scores);
    }
    svg + "</svg>\n"
}

fn row(scale: &Scale, metric: &MetricInfo, index: usize, name: &str, scores: &[f64]) -> String {
    let Some(summary) = Summary::of(scores) else { return String::new() };
    let y = ROW * (index as f64 + 0.5);
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quarter = |share: f64| scale.place(sorted[(share * (sorted.len() - 1) as f64).round() as usize]);
    let [low, high, median] = [quarter(0.25), quarter(0.75), scale.place(summary.median)];
    let mut svg = format!(
        "<g class=\"method-{}\"><title>{}: mean {:.*}, median {:.*}, {} pictures</title>\
         <text x=\"{}\" y=\"{:.1}\" class=\"name\">{}</text>\
         <line class=\"reach\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y}\" y2=\"{y}\"/>\
         <rect x=\"{low:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"16\"/>\
         <line class=\"median\" x1=\"{median:.1}\" x2=\"{median:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\n",
        index % 6,
        Escaped(name),
        metric.decimals,
        summary.mean,
        metric.decimals,
        summary.median,
        summary.count,
        LABELS - 10.0,
        y + 4.0,
        Escaped(name),
        scale.place(summary.least),
        scale.place(summary.most),
        y - 8.0,
        (high - low).max(1.0),
        y - 8.0,
        y + 8.0,
    );
    for (dot, &score) in scores.iter().enumerate().take(if scores.len() > MOST_DOTS { 0 } else { MOST_DOTS })
    {
        // A fixed scatter keeps equal scores apart.
        let scatter = (dot * 5 % 11) as f64 - 5.0;
        _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"1.8\"/>", scale.place(score), y + scatter);
    }
    let mean = scale.place(summary.mean);
    _ = writeln!(svg, "<path class=\"mean\" d=\"M{mean:.1} {:.1}l5 6-5 6-5-6z\"/></g>", y - 6.0);
    svg
}

/// Values to columns.
struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

impl Scale {
    fn new(least: f64, most: f64) -> Self {
        let reach = if most > least { most - least } else { least.abs().max(1.0) * 0.1 };
        let rough = reach / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|nice| nice * power)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        Self {
            low: (least / step).floor() * step,
            high: (most / step).ceil().max((least / step).floor() + 1.0) * step,
            step,
        }
    }

    fn place(&self, value: f64) -> f64 {
        LABELS + (value - self.low) / (self.high - self.low) * (WIDTH - LABELS - MARGIN)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count.min(20)).map(|tick| self.low + tick as f64 * self.step)
    }

    fn label(&self, tick: f64) -> String {
        let decimals = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        format!("{tick:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in_metric;

    #[test]
    fn ticks_are_round_and_hold_the_scores() {
        for (least, most, step) in
            [(0.13, 0.94, 0.2), (21.0, 34.0, 5.0), (-1.0, -1.0, 0.02), (0.0, 0.0, 0.02)]
        {
            let scale = Scale::new(least, most);
            assert!((scale.step - step).abs() < 1e-12, "{least} {most} {}", scale.step);
            assert!(scale.low <= least && most <= scale.high && scale.low < scale.high);
        }
    }

    #[test]
    fn each_method_and_picture_is_drawn_and_names_are_escaped() {
        let info = *built_in_metric("psnr").unwrap().info();
        let svg = distribution(&info, &[("a<b", vec![1.0, 2.0, 3.0]), ("c", vec![2.0])]);
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b") && !svg.contains("NaN"));
    }
}
