//! `gendr eval`: the options.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  gendr eval restored/ reference/                   scores a folder; files are paired by name
  gendr eval restored/ reference/ --crop 4          cuts 4 pixels from each side first
  gendr eval restored/                              scores without a reference
  gendr eval restored/ reference/ --json            a line for each picture, then the means
  gendr eval --compare a/ b/ c/ --reference reference/ --report report/
  gendr eval --restore Set14/ --layout set14 --model bicubic gendr-tiny --crop 4 -o runs/set14/
  gendr eval restored/ --metrics niqe,musiq,clipiqa --weights weights/
  gendr eval restored/ --metrics niqe --niqe-model pristine/    NIQE with a model fitted on a folder
  gendr eval --list-metrics                         what the metrics are

Exit status: 0 all scored, 1 some pictures have no partner or no score, 2 the request was wrong, 130 stopped by Ctrl-C.";

/// Measure how good restored pictures are.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvalArgs {
    /// Restored pictures: a folder, or a file
    #[arg(value_name = "OUTPUT", required_unless_present_any = ["compare", "restore", "list_metrics"])]
    pub(crate) output: Option<PathBuf>,

    /// What they should be: a folder with the same names, or a file
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: Option<PathBuf>,

    /// Compare the results of several methods: folders, or NAME=FOLDER
    #[arg(long, value_name = "METHOD", num_args = 1.., conflicts_with_all = ["output", "reference"], help_heading = "Pictures")]
    pub(crate) compare: Vec<String>,

    /// The reference, said with a name; for `--compare`
    #[arg(
        long = "reference",
        value_name = "FOLDER",
        conflicts_with = "reference",
        id = "reference_option",
        help_heading = "Pictures"
    )]
    pub(crate) reference_option: Option<PathBuf>,

    /// The low-resolution pictures that the results were made from
    #[arg(long, value_name = "FOLDER", help_heading = "Pictures")]
    pub(crate) input: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) restore: RestoreSetArgs,

    /// Metrics, separated by commas [default: all that the pictures allow and that need no weights]
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Measuring")]
    pub(crate) metrics: Vec<String>,

    /// Folder with the weights of learned metrics, safetensors or .pth; `--list-metrics` tells which
    #[arg(long, value_name = "FOLDER", help_heading = "Measuring")]
    pub(crate) weights: Option<PathBuf>,

    /// What NIQE compares with: a folder of pristine pictures to fit a model on, or a model as JSON [default: the published one]
    #[arg(long, value_name = "FOLDER|FILE", help_heading = "Measuring")]
    pub(crate) niqe_model: Option<PathBuf>,

    /// Tell what the metrics are, and leave
    #[arg(long, help_heading = "Measuring")]
    pub(crate) list_metrics: bool,

    /// Pixels to cut from each side before scoring; papers cut as many as the scale, or none
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Measuring")]
    pub(crate) crop: usize,

    /// Number of threads [default: one per core]
    #[arg(long, value_name = "N", help_heading = "Measuring")]
    pub(crate) threads: Option<std::num::NonZeroUsize>,

    #[command(flatten)]
    pub(crate) results: ResultArgs,
}

/// A test set that is restored first.
#[derive(Args, Debug)]
pub(crate) struct RestoreSetArgs {
    /// Restore the pictures of a test set with each model, then compare; what is done already is kept
    #[arg(
        long, value_name = "DATASET", requires_all = ["models", "results_folder"],
        conflicts_with_all = ["output", "reference", "compare", "reference_option", "input"],
        help_heading = "Restoring"
    )]
    pub(crate) restore: Option<PathBuf>,

    /// How the set lies on disk: auto, realsr, drealsr, div2k, realset80, set5, set14, urban100, lr or hr
    #[arg(
        long,
        value_name = "LAYOUT",
        default_value = "auto",
        requires = "restore",
        help_heading = "Restoring"
    )]
    pub(crate) layout: String,

    /// Models: built-in names, folders or files, `bicubic`, `lanczos`, or NAME=MODEL
    #[arg(short, long = "model", id = "models", value_name = "MODEL", num_args = 1.., requires = "restore", help_heading = "Restoring")]
    pub(crate) models: Vec<String>,

    /// Where restored pictures and tables go
    #[arg(
        short = 'o',
        long = "output",
        id = "results_folder",
        value_name = "FOLDER",
        requires = "restore",
        help_heading = "Restoring"
    )]
    pub(crate) results_folder: Option<PathBuf>,

    /// How many times larger than the input the results are
    #[arg(long, value_name = "N", default_value_t = 4, requires = "restore", value_parser = clap::value_parser!(u8).range(1..=16), help_heading = "Restoring")]
    pub(crate) scale: u8,
}

/// What becomes of the scores.
#[derive(Args, Debug)]
pub(crate) struct ResultArgs {
    /// Print one JSON object a picture, then the means, to standard output
    #[arg(long, conflicts_with = "markdown", help_heading = "Results")]
    pub(crate) json: bool,

    /// Print the means as a Markdown table
    #[arg(long, help_heading = "Results")]
    pub(crate) markdown: bool,

    /// Write a table with a line for each picture
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub(crate) csv: Option<PathBuf>,

    /// Write a page with tables, distributions and the best and worst pictures: FOLDER/index.html
    #[arg(long, value_name = "FOLDER", help_heading = "Results")]
    pub(crate) report: Option<PathBuf>,

    /// Metric by which the report chooses pictures [default: d, lpips-alex, psnr-y or niqe]
    #[arg(long, value_name = "METRIC", requires = "report", help_heading = "Results")]
    pub(crate) rank_by: Option<String>,

    /// Say nothing but errors
    #[arg(long, help_heading = "Messages")]
    pub(crate) quiet: bool,
}
