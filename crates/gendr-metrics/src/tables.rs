//! Evaluations as text: JSON lines, CSV and Markdown.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use crate::{
    Comparison,
    compare::compare,
    evaluate::{Evaluation, Row},
    metric::MetricInfo,
    scores::Scores,
};

/// A picture's line in JSON; the fields are in the order of [`json_row`].
#[derive(Serialize)]
struct RowLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(flatten)]
    row: &'a Row,
}

/// The last line in JSON.
#[derive(Serialize)]
struct Total<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    count: usize,
    #[serde(skip_serializing_if = "is_zero")]
    failed: usize,
    mean: Scores,
    interval: Intervals,
}

/// The ends of the confidence intervals by metric id, in the order of tables.
struct Intervals(Vec<(&'static str, [f64; 2])>);

impl Serialize for Intervals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One picture as a JSON object on one line: `{"name", "metrics": {id: number}}`, with `"method"` first where several are
/// told apart and `"notes"` last where there is something to say.
///
/// # Errors
/// None in practice: scores are finite numbers.
pub fn json_row(method: Option<&str>, row: &Row) -> io::Result<String> {
    Ok(serde_json::to_string(&RowLine { method, row })?)
}

/// A whole evaluation as a JSON object on one line: `{"count", "mean": {id: number}, "interval": {id: [low, high]}}` with the
/// number of pictures that have any score and 95 % confidence intervals of the means; `"failed"` counts the others.
///
/// # Errors
/// As [`json_row`].
pub fn json_total(method: Option<&str>, evaluation: &Evaluation) -> io::Result<String> {
    let interval = |info: &MetricInfo| Some((info.id, evaluation.summary(info.id)?.interval));
    let failed = evaluation.failed().count();
    let total = Total {
        method,
        count: evaluation.rows.len() - failed,
        failed,
        mean: evaluation.means(),
        interval: Intervals(evaluation.metrics.iter().filter_map(interval).collect()),
    };
    Ok(serde_json::to_string(&total)?)
}

/// A line for each picture, columns `name`, the metrics and `notes`, an empty field where there is no score; then the lines
/// `mean`, `mean low` and `mean high`, the ends of the 95 % confidence interval. Several methods follow each other, told
/// apart by a first column `method`; their metrics are those of the first.
///
/// # Errors
/// Those of the writer.
pub fn write_csv(methods: &[(&str, &Evaluation)], writer: &mut impl Write) -> io::Result<()> {
    let Some((_, first)) = methods.first() else { return Ok(()) };
    let ids: Vec<&str> = first.metrics.iter().map(|info| info.id).collect();
    let several = methods.len() > 1;
    writeln!(writer, "{}name,{},notes", if several { "method," } else { "" }, ids.join(","))?;
    for (method, evaluation) in methods {
        let method = if several { csv_field(method) + "," } else { String::new() };
        let mut line = |name: &str, scores: &Scores, notes: &str| {
            write!(writer, "{method}{}", csv_field(name))?;
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
        line("mean high", &end(1), "95 % confidence")?;
    }
    Ok(())
}

/// A field in quotes where it needs them.
fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A Markdown table of means, a line for each method; the best of several in bold, those that chance may have put behind it in
/// italics. Means are over the pictures that every method has a score for.
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
                match methods.len() {
                    0 | 1 => mean,
                    _ if method.best => format!("**{mean}**"),
                    _ if method.ties_with_best() => format!("*{mean}*"),
                    _ => mean,
                }
            })
            .collect();
        table += &format!("| {} | {} |\n", name.replace('|', "\\|"), cells.join(" | "));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in_metric;

    fn evaluation(offset: f64) -> Evaluation {
        let row = |index: usize| Row {
            name: format!("picture {index}, \"x\""),
            metrics: [("psnr", 30.0 + index as f64 + offset)].into_iter().collect(),
            notes: if index == 1 { vec!["niqe: too small".to_owned()] } else { Vec::new() },
            ..Row::default()
        };
        Evaluation {
            metrics: ["psnr", "niqe"].map(|id| *built_in_metric(id).unwrap().info()).to_vec(),
            rows: (0..8).map(row).collect(),
            ..Evaluation::default()
        }
    }

    fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_has_a_line_for_each_picture_and_one_for_all() {
        let evaluation = evaluation(0.0);
        let parse =
            |line: io::Result<String>| -> serde_json::Value { serde_json::from_str(&line.unwrap()).unwrap() };
        assert_eq!(parse(json_row(None, &evaluation.rows[2]))["metrics"]["psnr"], 32.0);
        let row = parse(json_row(Some("a"), &evaluation.rows[1]));
        assert_eq!((&row["method"], &row["notes"][0]), (&"a".into(), &"niqe: too small".into()));
        let total = parse(json_total(None, &evaluation));
        assert_eq!((&total["count"], &total["mean"]["psnr"]), (&8.into(), &33.5.into()));
        assert!(total["mean"].get("niqe").is_none() && total.get("failed").is_none());
        let interval = &total["interval"]["psnr"];
        assert!(interval[0].as_f64() < Some(33.5) && interval[1].as_f64() > Some(33.5));
    }

    #[test]
    fn pictures_without_scores_are_counted_apart() {
        let mut evaluation = evaluation(0.0);
        evaluation.rows.push(Row { name: "broken".to_owned(), ..Row::default() });
        let total: serde_json::Value = serde_json::from_str(&json_total(None, &evaluation).unwrap()).unwrap();
        assert_eq!((&total["count"], &total["failed"]), (&8.into(), &1.into()));
    }

    #[test]
    fn csv_quotes_names_and_leaves_gaps() {
        let evaluation = evaluation(0.0);
        let table = text(|writer| write_csv(&[("a", &evaluation)], writer));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "name,psnr,niqe,notes");
        assert_eq!(lines[1], "\"picture 0, \"\"x\"\"\",30,,");
        assert_eq!(lines[9], "mean,33.5,,");
        assert_eq!(lines.len(), 12);
        let table = text(|writer| write_csv(&[("a", &evaluation), ("b", &evaluation)], writer));
        assert_eq!(table.lines().count(), 23);
        assert!(table.starts_with("method,name,") && table.contains("\nb,mean,33.5,"));
    }

    #[test]
    fn markdown_marks_the_best() {
        let (low, high) = (evaluation(0.0), evaluation(1.0));
        let table = markdown_table(&[("low", &low), ("high|er", &high)], &low.metrics);
        assert_eq!(table, "| | PSNR |\n|---|---|\n| low | 33.50 |\n| high\\|er | **34.50** |\n");
    }
}
