//! Evaluations as plain text for a terminal.

use std::fmt::Write;

use crate::{
    Comparison, Direction, MethodComparison, Needs, compare::compare, evaluate::Evaluation,
    metric::MetricInfo,
};

/// A table for people: for one method a line for each metric with mean, confidence interval, median and extremes; for several a
/// block for each metric, on the pictures that every method has a score for, with the difference of each method from
/// the best. `*` marks the best, `=` those that chance alone may have put behind it. Metrics without scores are left out.
pub fn text_table(methods: &[(&str, &Evaluation)], metrics: &[MetricInfo]) -> String {
    match methods {
        [(_, evaluation)] => summaries(evaluation, metrics),
        _ => {
            let blocks =
                metrics.iter().filter_map(|info| compare(methods, info)).map(|block| comparison(&block));
            blocks.collect::<Vec<_>>().join("\n")
        }
    }
}

fn summaries(evaluation: &Evaluation, metrics: &[MetricInfo]) -> String {
    let titles = ["metric", "mean", "95 % interval", "median", "least", "most", "pictures", "better"];
    let mut lines = vec![titles.map(str::to_owned).to_vec()];
    for info in metrics {
        if let Some(score) = evaluation.set_scores.get(info.id) {
            let count = evaluation.rows.iter().filter(|row| row.in_set).count();
            let mut line = vec![info.id.to_owned(), format!("{score:.*}", info.decimals)];
            line.extend(["", "", "", ""].map(str::to_owned));
            line.extend([count.to_string(), better(info.direction).to_owned()]);
            lines.push(line);
            continue;
        }
        let Some(summary) = evaluation.summary(info.id) else { continue };
        let number = |value: f64| format!("{value:.*}", info.decimals);
        let [low, high] = summary.interval.map(number);
        lines.push(vec![
            info.id.to_owned(),
            number(summary.mean),
            format!("{low} to {high}"),
            number(summary.median),
            number(summary.least),
            number(summary.most),
            summary.count.to_string(),
            better(info.direction).to_owned(),
        ]);
    }
    aligned(&lines)
}

fn comparison(block: &Comparison) -> String {
    let Comparison { metric, count, methods } = block;
    let lines: Vec<Vec<String>> = methods.iter().map(|method| place(method, metric)).collect();
    format!("{}, {} is better, {count} pictures\n{}", metric.id, better(metric.direction), aligned(&lines))
}

/// A method's line in a comparison.
fn place(method: &MethodComparison, metric: &MetricInfo) -> Vec<String> {
    let decimals = metric.decimals;
    let [low, high] = method.summary.interval;
    let mark = if method.best {
        "*"
    } else if method.ties_with_best() {
        "="
    } else {
        " "
    };
    let difference = match (&method.difference, method.corrected_p_value) {
        (Some(difference), Some(p_value)) => {
            let [low, high] = difference.interval;
            let p_value =
                if p_value < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p_value:.4}") };
            let mean = difference.mean;
            format!("{mean:+.decimals$} ({low:+.decimals$} to {high:+.decimals$}), {p_value}")
        }
        _ if method.best => "best".to_owned(),
        _ => String::new(),
    };
    let interval = match metric.needs {
        Needs::References => String::new(),
        _ => format!("{low:.decimals$} to {high:.decimals$}"),
    };
    vec![
        format!("{mark} {}", method.name),
        format!("{:.decimals$}", method.summary.mean),
        interval,
        difference,
    ]
}

fn better(direction: Direction) -> &'static str {
    match direction {
        Direction::Higher => "higher",
        Direction::Lower => "lower",
        Direction::Zero => "zero",
    }
}

/// Lines of cells in columns: the first and the last column to the left, the others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            _ = match column {
                0 => write!(text, "{cell:<width$}"),
                _ if column + 1 == columns => write!(text, "  {cell}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, built_in_metric};

    fn evaluation(scores: &[f64]) -> Evaluation {
        let row = |(index, &score): (usize, &f64)| Row {
            name: index.to_string(),
            metrics: [("psnr-y", score)].into_iter().collect(),
            ..Row::default()
        };
        Evaluation {
            metrics: ["psnr-y", "niqe"].map(|id| *built_in_metric(id).unwrap().info()).to_vec(),
            rows: scores.iter().enumerate().map(row).collect(),
            ..Evaluation::default()
        }
    }

    #[test]
    fn one_method_has_a_line_for_each_metric_with_scores() {
        let evaluation = evaluation(&[30.0, 30.0]);
        let table = text_table(&[("a", &evaluation)], &evaluation.metrics);
        assert_eq!(
            table,
            "metric   mean   95 % interval  median  least   most  pictures  better\n\
             psnr-y  30.00  30.00 to 30.00   30.00  30.00  30.00         2  higher\n"
        );
    }

    #[test]
    fn several_methods_are_set_against_the_best() {
        let (low, high) = (evaluation(&[30.0; 8]), evaluation(&[31.0; 8]));
        let table = text_table(&[("low", &low), ("higher", &high)], &low.metrics);
        assert_eq!(
            table,
            "psnr-y, higher is better, 8 pictures\n  \
               low     30.00  30.00 to 30.00  -1.00 (-1.00 to -1.00), p = 0.0078\n\
             * higher  31.00  31.00 to 31.00  best\n"
        );
    }
}
