//! Evaluations as text: JSON lines, CSV and Markdown.

use std::io::{self, Write};

use serde::Serialize;

use crate::{Comparison, compare::compare, evaluate::Evaluation, metric::MetricInfo, scores::Scores};

/// The last line of [`write_json_lines`].
#[derive(Serialize)]
struct Total {
    count: usize,
    mean: Scores,
    interval: serde_json::Map<String, serde_json::Value>,
}

/// One JSON object a line: `{"name", "metrics": {id: number}}` for each picture, with `"notes"` where there is something to
/// say, then `{"count", "mean": {id: number}, "interval": {id: [low, high]}}` with 95 % confidence intervals of the means.
///
/// # Errors
/// Those of the writer.
pub fn write_json_lines(evaluation: &Evaluation, writer: &mut impl Write) -> io::Result<()> {
    for row in &evaluation.rows {
        writeln!(writer, "{}", serde_json::to_string(row)?)?;
    }
    let interval =
        |info: &MetricInfo| Some((info.id.to_owned(), evaluation.summary(info.id)?.interval.to_vec().into()));
    let total = Total {
        count: evaluation.rows.len(),
        mean: evaluation.means(),
        interval: evaluation.metrics.iter().filter_map(interval).collect(),
    };
    writeln!(writer, "{}", serde_json::to_string(&total)?)
}

/// A line for each picture, columns `name`, the metrics and `notes`, an empty field where there is no score; then the lines
/// `mean`, `mean low` and `mean high`, the ends of the 95 % confidence interval.
///
/// # Errors
/// Those of the writer.
pub fn write_csv(evaluation: &Evaluation, writer: &mut impl Write) -> io::Result<()> {
    let ids: Vec<&str> = evaluation.metrics.iter().map(|info| info.id).collect();
    writeln!(writer, "name,{},notes", ids.join(","))?;
    let mut line = |name: &str, scores: &Scores, notes: &str| {
        write!(writer, "{}", csv_field(name))?;
        for id in &ids {
            write!(writer, ",{}", scores.get(id).map_or_else(String::new, |score| score.to_string()))?;
        }
        writeln!(writer, ",{}", csv_field(notes))
    };
    for row in &evaluation.rows {
        line(&row.name, &row.metrics, &row.notes.join("; "))?;
    }
    let end = |end: usize| -> Scores {
        ids.iter().filter_map(|id| Some((*id, evaluation.summary(id)?.interval[end]))).collect()
    };
    line("mean", &evaluation.means(), "")?;
    line("mean low", &end(0), "95 % confidence")?;
    line("mean high", &end(1), "95 % confidence")
}

/// A field in quotes where it needs them.
fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A Markdown table of means, a line for each method; the best of several, and those that chance may have put behind it, in
/// bold. Means are over the pictures that every method has a score for.
pub fn markdown_table(methods: &[(&str, &Evaluation)], metrics: &[MetricInfo]) -> String {
    let columns: Vec<Comparison> = metrics.iter().filter_map(|info| compare(methods, info)).collect();
    let titles: Vec<&str> = columns.iter().map(|column| column.metric.name).collect();
    let mut table = format!("| | {} |\n|---|{}\n", titles.join(" | "), "---|".repeat(columns.len()));
    for (index, (name, _)) in methods.iter().enumerate() {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| {
                let method = &column.methods[index];
                let mean = format!("{:.*}", column.metric.decimals, method.summary.mean);
                if methods.len() > 1 && method.ties_with_best() { format!("**{mean}**") } else { mean }
            })
            .collect();
        table += &format!("| {} | {} |\n", name.replace('|', "\\|"), cells.join(" | "));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, built_in_metric};

    fn evaluation(offset: f64) -> Evaluation {
        let row = |index: usize| Row {
            name: format!("picture {index}, \"x\""),
            metrics: [("psnr", 30.0 + index as f64 + offset)].into_iter().collect(),
            notes: if index == 1 { vec!["niqe: too small".to_owned()] } else { Vec::new() },
        };
        Evaluation {
            metrics: ["psnr", "niqe"].map(|id| *built_in_metric(id).unwrap().info()).to_vec(),
            rows: (0..8).map(row).collect(),
        }
    }

    fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_has_a_line_for_each_picture_and_one_for_all() {
        let lines = text(|writer| write_json_lines(&evaluation(0.0), writer));
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 9);
        assert_eq!(lines[2]["metrics"]["psnr"], 32.0);
        assert_eq!(lines[1]["notes"][0], "niqe: too small");
        assert_eq!((&lines[8]["count"], &lines[8]["mean"]["psnr"]), (&8.into(), &33.5.into()));
        assert!(lines[8]["mean"].get("niqe").is_none());
        let interval = &lines[8]["interval"]["psnr"];
        assert!(interval[0].as_f64() < Some(33.5) && interval[1].as_f64() > Some(33.5));
    }

    #[test]
    fn csv_quotes_names_and_leaves_gaps() {
        let table = text(|writer| write_csv(&evaluation(0.0), writer));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "name,psnr,niqe,notes");
        assert_eq!(lines[1], "\"picture 0, \"\"x\"\"\",30,,");
        assert_eq!(lines[9], "mean,33.5,,");
        assert_eq!(lines.len(), 12);
    }

    #[test]
    fn markdown_marks_the_best() {
        let (low, high) = (evaluation(0.0), evaluation(1.0));
        let table = markdown_table(&[("low", &low), ("high|er", &high)], &low.metrics);
        assert_eq!(table, "| | PSNR |\n|---|---|\n| low | 33.50 |\n| high\\|er | **34.50** |\n");
    }
}
