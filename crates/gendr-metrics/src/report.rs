//! One self-contained page: table, distributions, and the pictures to look at.

mod base64;
mod cases;
mod html;
mod plot;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use gendr_image::{AtomicFile, Error, ErrorKind, Limits, Result};

use crate::{
    Comparison,
    compare::compare,
    evaluate::Evaluation,
    metric::{MetricInfo, Needs},
    pairing::Pair,
};
use cases::{Case, choose};
use html::Escaped;

/// Metrics by which the best and worst pictures are found, the first that there is.
const RANKING: [&str; 4] = ["d", "lpips-alex", "psnr-y", "niqe"];

/// A method in a report.
#[derive(Clone, Copy, Debug)]
pub struct ReportMethod<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its scores.
    pub evaluation: &'a Evaluation,
    /// Its pictures.
    pub pairs: &'a [Pair],
}

/// What a report shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportOptions {
    /// The page's title.
    pub title: String,
    /// Id of the metric by which the best and worst pictures are chosen; by default D, LPIPS, PSNR-Y or NIQE, the first that
    /// there is.
    pub ranked_by: Option<String>,
    /// How many of the best and how many of the worst pictures of each method are shown.
    pub pictures: usize,
    /// Pictures larger than this on a side are shown in part: where output and reference differ most.
    pub side: usize,
    /// What one picture may cost.
    pub limits: Limits,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            title: "Restoration quality".to_owned(),
            ranked_by: None,
            pictures: 3,
            side: 512,
            limits: Limits::default(),
        }
    }
}

/// Writes `index.html` into `folder`, which is created, and returns its path. The page needs no other file and no network.
/// A picture that cannot be read is left out and named on the page.
///
/// # Errors
/// An argument error where no method is given or `ranked_by` is none of its metrics, an I/O error where the page cannot be
/// written.
pub fn write_report(folder: &Path, methods: &[ReportMethod<'_>], options: &ReportOptions) -> Result<PathBuf> {
    let Some(first) = methods.first() else {
        return Err(Error::argument("a report needs a method"));
    };
    let ranking = ranking(&first.evaluation.metrics, options)?;
    let named: Vec<(&str, &Evaluation)> =
        methods.iter().map(|method| (method.name, method.evaluation)).collect();
    let columns: Vec<Comparison> =
        first.evaluation.metrics.iter().filter_map(|info| compare(&named, info)).collect();

    std::fs::create_dir_all(folder).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot create the folder: {error}")).with_source(error).at(folder)
    })?;
    let path = folder.join("index.html");
    let mut page = AtomicFile::create(&path, &[])?;
    let mut write =
        |text: &str| page.write_all(text.as_bytes()).map_err(|error| Error::from(error).at(&path));
    write(&html::head(&options.title))?;
    write(&html::means(&columns, methods))?;
    write(&html::distributions(&columns, &named))?;
    if let Some(ranking) = ranking {
        write(&html::viewer_head(ranking))?;
        for case in choose(methods, ranking, options.pictures) {
            write(&show(&case, methods, ranking, options))?;
        }
        write("</section>\n")?;
    }
    write(&html::all_scores(methods))?;
    write(html::FOOT)?;
    page.commit()?;
    Ok(path)
}

fn ranking<'a>(metrics: &'a [MetricInfo], options: &ReportOptions) -> Result<Option<&'a MetricInfo>> {
    let find = |id: &str| metrics.iter().find(|info| info.id == id && info.needs != Needs::References);
    match &options.ranked_by {
        Some(id) => find(id).map(Some).ok_or_else(|| {
            Error::argument(format!("pictures cannot be ranked by {id}, which was not computed"))
        }),
        None => {
            let single = || metrics.iter().find(|info| info.needs != Needs::References);
            Ok(RANKING.iter().find_map(|id| find(id)).or_else(single))
        }
    }
}

/// A case as a figure, or a line that says why not.
fn show(
    case: &Case<'_>,
    methods: &[ReportMethod<'_>],
    ranking: &MetricInfo,
    options: &ReportOptions,
) -> String {
    match cases::load(case, methods, ranking, options) {
        Ok(pictures) => html::case(case, &pictures),
        Err(error) => format!("<p>{}: {}</p>\n", Escaped(case.name), Escaped(&error.to_string())),
    }
}
