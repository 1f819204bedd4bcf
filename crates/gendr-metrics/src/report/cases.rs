//! The pictures to look at: the best and the worst of each method.

use std::path::Path;

use gendr_image::{EncodeOptions, Limits, OutputFormat, Picture, Planes, Resampling, Result, encode, resize};

use super::{ReportMethod, ReportOptions, base64};
use crate::{evaluate::Row, metric::MetricInfo, pairing::Pair};

/// Step of the search for the part of a large picture that is shown.
const STEP: usize = 32;

/// A picture worth showing.
pub(super) struct Case<'a> {
    /// The picture's name.
    pub(super) name: &'a str,
    /// Why it is shown, such as "worst D of bicubic".
    pub(super) reasons: Vec<String>,
    /// The method it is shown for.
    method: usize,
}

/// One of the pictures of a case.
pub(super) struct Shown {
    pub(super) label: String,
    /// As a `data:` address.
    pub(super) address: String,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// The worst and the best `count` pictures of each method; each picture once.
pub(super) fn choose<'a>(methods: &[ReportMethod<'a>], ranking: &MetricInfo, count: usize) -> Vec<Case<'a>> {
    let mut cases: Vec<Case<'a>> = Vec::new();
    for (index, method) in methods.iter().enumerate() {
        let loss = |row: &Row| row.metrics.get(ranking.id).map(|score| ranking.direction.loss(score));
        let mut ranked: Vec<(f64, &'a str)> =
            method.evaluation.rows.iter().filter_map(|row| Some((loss(row)?, row.name.as_str()))).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        let best = ranked.iter().take(count).map(|(_, name)| ("best", *name));
        let left = ranked.len().saturating_sub(count);
        let worst = ranked.iter().rev().take(count.min(left)).map(|(_, name)| ("worst", *name));
        for (end, name) in worst.chain(best) {
            let reason = format!("{end} {} of {}", ranking.name, method.name);
            match cases.iter_mut().find(|case| case.name == name) {
                Some(case) => case.reasons.push(reason),
                None => cases.push(Case { name, reasons: vec![reason], method: index }),
            }
        }
    }
    cases
}

/// Reads the pictures of a case: the outputs of all methods that have it, the reference, the enlarged input.
pub(super) fn load(
    case: &Case<'_>,
    methods: &[ReportMethod<'_>],
    ranking: &MetricInfo,
    options: &ReportOptions,
) -> Result<Vec<Shown>> {
    let own = pair(&methods[case.method], case.name);
    let read = |path: &Path| read_color(path, &options.limits);
    let output = own.map(|pair| read(&pair.output)).transpose()?;
    let reference = own.and_then(|pair| pair.reference.as_deref()).map(read).transpose()?;
    let input = own.and_then(|pair| pair.input.as_deref()).map(read).transpose()?;
    let Some(output) = output else { return Ok(Vec::new()) };
    let window = window(&output, reference.as_ref(), options.side);
    let mut shown = Vec::new();
    if let Some(reference) = reference {
        shown.push(window.show("reference", &reference)?);
    }
    for method in methods {
        let Some(pair) = pair(method, case.name) else { continue };
        let row = method.evaluation.rows.iter().find(|row| row.name == case.name);
        let score = row.and_then(|row| row.metrics.get(ranking.id));
        let score = score.map_or_else(String::new, |score| format!(" {score:.*}", ranking.decimals));
        shown.push(window.show(&format!("{}{score}", method.name), &read(&pair.output)?)?);
    }
    if let Some(input) = input {
        let large = resize(&input, output.width(), output.height(), Resampling::PILLOW_BICUBIC)?;
        shown.push(window.show("input, bicubic", &large)?);
    }
    Ok(shown)
}

fn pair<'a>(method: &ReportMethod<'a>, name: &str) -> Option<&'a Pair> {
    method.pairs.iter().find(|pair| pair.name == name)
}

fn read_color(path: &Path, limits: &Limits) -> Result<Planes> {
    Ok(gendr_image::read(path, limits)?.color)
}

/// The part of the pictures that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Window {
    /// The part of a picture, which may be smaller than the output, as PNG.
    fn show(self, label: &str, picture: &Planes) -> Result<Shown> {
        let (x, y) = (self.x.min(picture.width() - 1), self.y.min(picture.height() - 1));
        let (width, height) = (self.width.min(picture.width() - x), self.height.min(picture.height() - y));
        let part = Picture::from_color(picture.crop(x, y, width, height)?);
        let file = encode(&part, &EncodeOptions::new(OutputFormat::Png))?;
        let address = format!("data:image/png;base64,{}", base64::encode(&file.bytes));
        Ok(Shown { label: label.to_owned(), address, width, height })
    }
}

/// The part of at most `side` pixels a side where output and reference differ most; the middle without a reference.
fn window(output: &Planes, reference: Option<&Planes>, side: usize) -> Window {
    let (width, height) = (output.width().min(side.max(1)), output.height().min(side.max(1)));
    let (right, bottom) = (output.width() - width, output.height() - height);
    let same_size = |other: &&Planes| (other.width(), other.height()) == (output.width(), output.height());
    let Some(reference) = reference.filter(same_size) else {
        return Window { x: right / 2, y: bottom / 2, width, height };
    };
    let sums = column_sums(output, reference);
    let difference = |x: usize, y: usize| -> f64 {
        (y..y + height)
            .map(|line| sums[line * (output.width() + 1) + x + width] - sums[line * (output.width() + 1) + x])
            .sum()
    };
    let steps = |last: usize| (0..last).step_by(STEP).chain([last]);
    let places = steps(bottom).flat_map(|y| steps(right).map(move |x| (x, y)));
    let (x, y) =
        places.max_by(|a, b| difference(a.0, a.1).total_cmp(&difference(b.0, b.1))).unwrap_or_default();
    Window { x, y, width, height }
}

/// For each row, sums of squared differences from its start to each column.
fn column_sums(output: &Planes, reference: &Planes) -> Vec<f64> {
    let mut sums = Vec::with_capacity((output.width() + 1) * output.height());
    for y in 0..output.height() {
        let mut sum = 0.0;
        sums.push(sum);
        for x in 0..output.width() {
            let squares = (0..output.channels()).map(|channel| {
                let difference = f64::from(output.row(channel, y)[x] - reference.row(channel, y)[x]);
                difference * difference
            });
            sum += squares.sum::<f64>();
            sums.push(sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evaluation, built_in_metric};

    #[test]
    fn the_window_finds_the_difference() {
        let output = Planes::filled(3, 200, 300, 0.5);
        let mut reference = output.clone();
        for channel in 0..3 {
            reference.plane_mut(channel)[150 * 300 + 280] = 1.0;
        }
        let found = window(&output, Some(&reference), 64);
        assert!(found.x <= 280 && 280 < found.x + 64 && found.y <= 150 && 150 < found.y + 64, "{found:?}");
        assert_eq!(window(&output, None, 64), Window { x: 118, y: 68, width: 64, height: 64 });
        assert_eq!(window(&output, Some(&reference), 512), Window { x: 0, y: 0, width: 300, height: 200 });
    }

    #[test]
    fn each_picture_is_shown_once() {
        let info = *built_in_metric("niqe").unwrap().info();
        let row = |index: usize| Row {
            name: format!("{index}"),
            metrics: [("niqe", index as f64)].into_iter().collect(),
            ..Row::default()
        };
        let evaluation = |count| Evaluation {
            metrics: vec![info],
            rows: (0..count).map(row).collect(),
            ..Evaluation::default()
        };
        let names = |evaluation: &Evaluation| -> Vec<String> {
            let method = ReportMethod { name: "m", evaluation, pairs: &[] };
            choose(&[method, method], &info, 2)
                .iter()
                .map(|case| format!("{} {}", case.name, case.reasons.len()))
                .collect()
        };
        assert_eq!(names(&evaluation(9)), ["8 2", "7 2", "0 2", "1 2"]);
        assert_eq!(names(&evaluation(3)), ["2 2", "0 2", "1 2"]);
        assert!(names(&evaluation(0)).is_empty());
    }
}
