//! The parts of the page.

use std::fmt::{self, Write};

use super::{
    ReportMethod,
    cases::{Case, Shown},
    plot,
};
use crate::{
    Comparison, Evaluation, MethodComparison,
    metric::{Direction, MetricInfo, Needs},
};

/// The end of the page.
pub(super) const FOOT: &str =
    concat!("</main>\n<script>\n", include_str!("script.js"), "</script>\n</html>\n");

/// Text in which nothing is markup.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Everything before the first section.
pub(super) fn head(title: &str) -> String {
    let title = Escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{}</style>\n<main>\n<h1>{title}</h1>\n",
        include_str!("style.css")
    )
}

/// The table of means, and what the metrics are.
pub(super) fn means(columns: &[Comparison], methods: &[ReportMethod<'_>]) -> String {
    let mut html = String::from(
        "<section><h2>Means</h2>\n<div class=\"wide\"><table>\n<tr><th scope=\"col\">Metric</th>",
    );
    for method in methods {
        _ = write!(html, "<th scope=\"col\">{}</th>", Escaped(method.name));
    }
    html += "</tr>\n";
    for column in columns {
        html += "<tr>";
        html += &metric_heading(&column.metric, "row");
        for method in &column.methods {
            html += &mean_cell(column, method, methods.len() > 1);
        }
        html += "</tr>\n";
    }
    html += "</table></div>\n<p>Means over the pictures that every method has a score for, with 95 % confidence intervals \
             (bootstrap over pictures).";
    if methods.len() > 1 {
        html += " Bold: best. Italic: not significantly behind it (sign-flip permutation test of the paired differences, \
                 Holm-corrected, 5 %).";
    }
    html += "</p>\n<details><summary>What the metrics are</summary><dl>\n";
    for Comparison { metric, count, .. } in columns {
        _ = writeln!(
            html,
            "<dt>{} ({})</dt><dd>{}. Range: {}. {}. Source: {}. {count} pictures.</dd>",
            Escaped(metric.name),
            Escaped(metric.id),
            Escaped(metric.definition),
            Escaped(metric.range),
            words(metric.direction),
            Escaped(metric.source)
        );
    }
    html + "</dl></details></section>\n"
}

fn words(direction: Direction) -> &'static str {
    match direction {
        Direction::Higher => "Higher is better",
        Direction::Lower => "Lower is better",
        Direction::Zero => "Zero is best",
    }
}

fn metric_heading(metric: &MetricInfo, scope: &str) -> String {
    let arrow = match metric.direction {
        Direction::Higher => '\u{2191}',
        Direction::Lower => '\u{2193}',
        Direction::Zero => '0',
    };
    format!(
        "<th scope=\"{scope}\" title=\"{}\">{} <span title=\"{}\">{arrow}</span></th>",
        Escaped(metric.definition),
        Escaped(metric.name),
        words(metric.direction)
    )
}

fn mean_cell(column: &Comparison, method: &MethodComparison, several: bool) -> String {
    let decimals = column.metric.decimals;
    let [low, high] = method.summary.interval;
    let mean = format!("{:.decimals$}", method.summary.mean);
    let mean = match several {
        true if method.best => format!("<strong>{mean}</strong>"),
        true if method.ties_with_best() => format!("<em>{mean}</em>"),
        _ => mean,
    };
    let difference = match (&method.difference, method.corrected_p_value) {
        (Some(difference), Some(p_value)) => {
            let [low, high] = difference.interval;
            format!(
                " title=\"{:+.decimals$} against the best, {low:+.decimals$} to {high:+.decimals$}, p = {p_value:.4}\"",
                difference.mean
            )
        }
        _ => String::new(),
    };
    let interval = match column.metric.needs {
        Needs::References => String::new(),
        _ => format!("<small>{low:.decimals$} to {high:.decimals$}</small>"),
    };
    format!("<td{difference}>{mean}{interval}</td>")
}

/// A plot for each metric.
pub(super) fn distributions(columns: &[Comparison], methods: &[(&str, &Evaluation)]) -> String {
    let mut html = String::from("<section><h2>Distributions</h2>\n<div class=\"plots\">\n");
    let single = columns.iter().filter(|column| column.metric.needs != Needs::References);
    for Comparison { metric, .. } in single {
        let scores: Vec<(&str, Vec<f64>)> =
            methods.iter().map(|(name, evaluation)| (*name, evaluation.scores(metric.id))).collect();
        _ = writeln!(
            html,
            "<figure><figcaption>{}, {}</figcaption>\n{}</figure>",
            Escaped(metric.name),
            words(metric.direction).to_lowercase(),
            plot::distribution(metric, &scores)
        );
    }
    html + "</div>\n<p>Box: middle half of the pictures, bar: median, diamond: mean, dots: pictures.</p></section>\n"
}

/// The head of the section with the pictures.
pub(super) fn viewer_head(ranking: &MetricInfo) -> String {
    format!(
        "<section id=\"pictures\"><h2>Best and worst by {}</h2>\n\
         <p>Move over a picture, or focus it and use the arrow keys: the crops below follow together, and the divider follows a \
         pressed pointer. + and \u{2212} change the zoom.</p>\n\
         <label>Zoom <input type=\"range\" id=\"zoom\" min=\"1\" max=\"16\" step=\"1\" value=\"4\"> \
         <output id=\"zoom-value\">4\u{d7}</output></label>\n",
        Escaped(ranking.name)
    )
}

/// One picture in all its versions.
pub(super) fn case(case: &Case<'_>, pictures: &[Shown]) -> String {
    let Some(first) = pictures.first() else { return String::new() };
    let options = |chosen: usize| -> String {
        let option = |(index, picture): (usize, &Shown)| {
            let selected = if index == chosen { " selected" } else { "" };
            format!("<option value=\"{index}\"{selected}>{}</option>", Escaped(&picture.label))
        };
        pictures.iter().enumerate().map(option).collect()
    };
    let mut html = format!(
        "<article class=\"case\" style=\"--ratio:{}/{}\">\n<h3>{}</h3><p>{}</p>\n\
         <p class=\"choice\"><label>Left <select class=\"left\">{}</select></label> \
         <label>Right <select class=\"right\">{}</select></label></p>\n\
         <div class=\"stage\"><div class=\"large\"><div class=\"compare\" tabindex=\"0\" role=\"group\" aria-label=\"{} compared; arrow keys move the crops\">\
         <img class=\"under\" alt=\"\"><img class=\"over\" alt=\"\"><span class=\"line\"></span><span class=\"lens\"></span></div>\n\
         <input type=\"range\" class=\"split\" min=\"0\" max=\"100\" step=\"0.5\" value=\"50\" aria-label=\"Divider between left and right\"></div>\n\
         <div class=\"crops\">\n",
        first.width,
        first.height,
        Escaped(case.name),
        Escaped(&case.reasons.join(", ")),
        options(1.min(pictures.len() - 1)),
        options(0),
        Escaped(case.name),
    );
    for picture in pictures {
        let label = Escaped(&picture.label);
        _ = writeln!(
            html,
            "<figure><div class=\"crop\"><img src=\"{}\" alt=\"{label}\" width=\"{}\" height=\"{}\"></div>\
             <figcaption>{label}</figcaption></figure>",
            picture.address, picture.width, picture.height
        );
    }
    html + "</div></div></article>\n"
}

/// Every score of every method.
pub(super) fn all_scores(methods: &[ReportMethod<'_>]) -> String {
    let mut html = String::from("<section><h2>All scores</h2>\n");
    for method in methods {
        let evaluation = method.evaluation;
        _ = write!(
            html,
            "<details><summary>{}, {} pictures</summary><div class=\"wide\"><table class=\"sortable\">\n<tr><th scope=\"col\">Picture</th>",
            Escaped(method.name),
            evaluation.rows.len()
        );
        let single = || evaluation.metrics.iter().filter(|metric| metric.needs != Needs::References);
        for metric in single() {
            html += &metric_heading(metric, "col");
        }
        html += "<th scope=\"col\">Notes</th></tr>\n";
        for row in &evaluation.rows {
            _ = write!(html, "<tr><th scope=\"row\">{}</th>", Escaped(&row.name));
            for metric in single() {
                let score = row.metrics.get(metric.id);
                let score = score.map_or_else(String::new, |score| format!("{score:.*}", metric.decimals));
                _ = write!(html, "<td>{score}</td>");
            }
            _ = writeln!(html, "<td class=\"notes\">{}</td></tr>", Escaped(&row.notes.join("; ")));
        }
        html += "</table></div></details>\n";
    }
    html + "</section>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_from_text() {
        let text = Escaped("<script>&\"'").to_string();
        assert_eq!(text, "&lt;script&gt;&amp;&quot;&#39;");
    }
}
