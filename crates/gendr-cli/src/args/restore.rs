//! `gendr restore`: the options, and the library's request they become.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};
use gendr::{
    BatchOptions, BeforeAfter, ColorFix, Compute, Depth, DeviceChoice, FileOptions, Limits, ModelSource,
    Naming, OutputFormat, Patterns, Precision, Recipe, RestoreOptions, Restorer, Result, Shard, Strip,
    TargetSize, Tiling, VaeTiling,
};

use super::values;

const EXAMPLES: &str = "\
Examples:
  gendr restore photo.jpg                       writes photo_x4.jpg
  gendr restore photo.jpg -o large.png          chooses the format by the name
  gendr restore old/ -o new/ --recursive        restores a tree of folders
  gendr restore old/ -o new/ -r --resume        goes on where that was stopped
  gendr restore old/ -o new/ --exclude '*.gif'  leaves some out
  gendr restore photo.png --long-side 3840      makes the longer side 3840 pixels
  gendr restore photo.png --fidelity 0.5        stays closer to the input
  gendr restore photo.png --like other_x4.png   as that result was made
  cat photo.png | gendr restore - > large.png   reads and writes streams

Exit status: 0 all done, 1 some inputs failed, 2 the request was wrong, 130 stopped by Ctrl-C.";

/// Restore pictures with one pass of a network.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// Pictures, folders of pictures, or `-` for standard input
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,

    /// Result: a file, a folder for several inputs, or `-` [default: NAME_x4.EXT beside the input]
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// Restore as this result was made, by the recipe in it: the same input gives the same pixels
    #[arg(
        long, value_name = "FILE", help_heading = "Restoring",
        conflicts_with_all = [
            "SizeArgs", "color_fix", "fidelity", "guidance", "tile", "overlap", "vae_tiling", "seed", "quality", "depth",
        ]
    )]
    pub(crate) like: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) size: SizeArgs,

    /// How colours are brought back to the input's: none, adain, wavelet, ycbcr or projection [default: the model's]
    #[arg(long, value_name = "METHOD", value_parser = values::color_fix, help_heading = "Restoring")]
    pub(crate) color_fix: Option<ColorFix>,

    /// From 0, as generated, to 1, the plainly enlarged input
    #[arg(
        long,
        value_name = "F",
        default_value_t = 0.0,
        allow_negative_numbers = true,
        help_heading = "Restoring"
    )]
    pub(crate) fidelity: f32,

    /// Weight of classifier-free guidance; needs a model with a negative prompt unless 1
    #[arg(
        long,
        value_name = "W",
        default_value_t = 1.0,
        allow_negative_numbers = true,
        help_heading = "Restoring"
    )]
    pub(crate) guidance: f32,

    /// Side of the tiles in pixels of the result: auto, off or a multiple of 8
    #[arg(long, value_name = "N", default_value = "auto", value_parser = values::tiling, help_heading = "Tiles and memory")]
    pub(crate) tile: Tiling,

    /// Pixels that neighbouring tiles share, a multiple of 8 [default: none where layers see the whole picture]
    #[arg(long, value_name = "N", help_heading = "Tiles and memory")]
    pub(crate) overlap: Option<usize>,

    /// How the autoencoder works on large pictures: auto, exact or fast
    #[arg(long, value_name = "MODE", default_value = "auto", value_parser = values::vae_tiling, help_heading = "Tiles and memory")]
    pub(crate) vae_tiling: VaeTiling,

    /// Seed of whatever is sampled; the present families sample nothing
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Restoring")]
    pub(crate) seed: u64,

    /// Memory that restoring may use, such as 4G [default: what is free]
    #[arg(long, value_name = "SIZE", value_parser = values::bytes, help_heading = "Tiles and memory")]
    pub(crate) memory: Option<u64>,

    #[command(flatten)]
    pub(crate) batch: BatchArgs,

    #[command(flatten)]
    pub(crate) looking: LookingArgs,

    #[command(flatten)]
    pub(crate) files: FileArgs,

    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// The model and where it runs; shared by `restore` and `bench`.
#[derive(Args, Debug)]
pub(crate) struct NetworkArgs {
    /// Model: a built-in name, a folder or a file
    #[arg(short, long, value_name = "MODEL", default_value = gendr::BUILT_IN, value_parser = NonEmptyStringValueParser::new(), help_heading = "Model")]
    pub(crate) model: String,

    /// Where the network runs: auto or cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Model")]
    pub(crate) device: DeviceChoice,

    /// Number of threads [default: one per core]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// What the network computes in: f32, or bf16 where the processor has it (linear layers and attention; faster, less exact)
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = values::precision, help_heading = "Model")]
    pub(crate) precision: Precision,
}

/// The size of the result; one way of saying it at a time.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct SizeArgs {
    /// Both sides times F [default: 4]
    #[arg(short, long, value_name = "F", allow_negative_numbers = true, help_heading = "Size of the result")]
    scale: Option<f64>,

    /// N columns
    #[arg(long, value_name = "N", help_heading = "Size of the result")]
    width: Option<usize>,

    /// N rows
    #[arg(long, value_name = "N", help_heading = "Size of the result")]
    height: Option<usize>,

    /// The longer side has N pixels
    #[arg(long, value_name = "N", help_heading = "Size of the result")]
    long_side: Option<usize>,

    /// The shorter side has N pixels
    #[arg(long, value_name = "N", help_heading = "Size of the result")]
    short_side: Option<usize>,
}

/// What becomes of files.
#[derive(Args, Debug)]
pub(crate) struct FileArgs {
    /// Format of the results: png, jpeg, webp, tiff, and where built in avif and jxl [default: the name's, else the input's]
    #[arg(short, long, value_name = "FORMAT", value_parser = values::format, help_heading = "Files")]
    pub(crate) format: Option<OutputFormat>,

    /// Quality of JPEG, AVIF and lossy WebP results, 1 to 100 [default: a JPEG input's, else 92]
    #[arg(short, long, value_name = "N", help_heading = "Files")]
    pub(crate) quality: Option<u8>,

    /// Bits a channel: same, 8 or 16
    #[arg(long, value_name = "BITS", default_value = "same", help_heading = "Files")]
    pub(crate) depth: DepthArg,

    /// Leave out metadata: all but what the colours mean, or with `--strip=gps` the place alone
    #[arg(
        long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "all",
        value_parser = values::strip, help_heading = "Files"
    )]
    pub(crate) strip: Option<Strip>,

    /// Enter folders inside folders; their tree is mirrored
    #[arg(short, long, help_heading = "Files")]
    pub(crate) recursive: bool,

    /// Replace results that exist
    #[arg(long, help_heading = "Files")]
    pub(crate) overwrite: bool,
}

/// How many pictures are worked through.
#[derive(Args, Debug)]
pub(crate) struct BatchArgs {
    /// Go on where a batch was stopped: what is proven done is kept, temporary files of a killed run are removed
    #[arg(long, help_heading = "Batches")]
    resume: bool,

    /// Go on, and try all that failed again
    #[arg(long, help_heading = "Batches")]
    retry_failed: bool,

    /// Pictures restored at once
    #[arg(short, long, value_name = "N", default_value = "1", help_heading = "Batches")]
    jobs: NonZeroUsize,

    /// Part I of N of the batch, the same on every machine, such as 1/4
    #[arg(long, value_name = "I/N", help_heading = "Batches")]
    pub(crate) shard: Option<Shard>,

    /// Of folders, take only files that this pattern meets, such as `*.jpg` or `2024/**`; may be repeated
    #[arg(long, value_name = "PATTERN", help_heading = "Batches")]
    include: Vec<String>,

    /// Of folders, pass over files and folders that this pattern meets; may be repeated
    #[arg(long, value_name = "PATTERN", help_heading = "Batches")]
    exclude: Vec<String>,

    /// Tell tiles and memory of each picture, and write nothing
    #[arg(long, help_heading = "Batches")]
    pub(crate) dry_run: bool,
}

/// What is written to look at results.
#[derive(Args, Debug)]
pub(crate) struct LookingArgs {
    /// Write input and result together beside the result: a page with a slider, or with `=side` one PNG
    #[arg(
        long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "page",
        help_heading = "Looking"
    )]
    before_after: Option<BeforeAfterArg>,

    /// Scale the result down and compare it with the input: the number goes into recipe and JSON, a heat map beside the result
    #[arg(long, help_heading = "Looking")]
    consistency: bool,

    /// Fail a picture with a region that drifts further than X from the input, from 0 to 1
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Looking")]
    max_drift: Option<f64>,
}

/// How input and result are shown together.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum BeforeAfterArg {
    /// A page with a slider
    Page,
    /// Side by side in one PNG
    Side,
}

/// Bits a channel.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DepthArg {
    /// As the input, as far as the format can
    Same,
    #[value(name = "8")]
    Eight,
    #[value(name = "16")]
    Sixteen,
}

/// How much is said, and in what form.
#[derive(Args, Debug)]
pub(crate) struct TalkArgs {
    /// Print one JSON object a picture to standard output
    #[arg(long, help_heading = "Messages")]
    pub(crate) json: bool,

    /// Say nothing but errors
    #[arg(long, help_heading = "Messages")]
    pub(crate) quiet: bool,
}

impl SizeArgs {
    fn target(&self) -> TargetSize {
        let sides = [
            self.scale.map(TargetSize::Scale),
            self.width.map(TargetSize::Width),
            self.height.map(TargetSize::Height),
            self.long_side.map(TargetSize::LongSide),
            self.short_side.map(TargetSize::ShortSide),
        ];
        sides.into_iter().flatten().next().unwrap_or_default()
    }
}

/// What names of results beside their inputs end in.
fn suffix(size: TargetSize) -> String {
    match size {
        TargetSize::Scale(scale) => format!("_x{scale}"),
        _ => "_restored".to_owned(),
    }
}

impl RestoreArgs {
    /// What the library is asked for.
    pub(crate) fn options(&self) -> RestoreOptions {
        RestoreOptions {
            size: self.size.target(),
            tile: self.tile,
            overlap: self.overlap,
            vae_tiling: self.vae_tiling,
            color_fix: self.color_fix,
            fidelity: self.fidelity,
            guidance: self.guidance,
            seed: self.seed,
            memory: self.memory,
        }
    }

    /// How results are named; `like` gives the size and the format that were not typed.
    pub(crate) fn naming(&self, like: Option<&Recipe>) -> Result<Naming> {
        let named = |output: &PathBuf| {
            output.extension().and_then(|ending| OutputFormat::from_extension(ending.to_str()?)).is_some()
        };
        let like_format = like.filter(|_| !self.output.as_ref().is_some_and(named)).and_then(Recipe::format);
        Ok(Naming {
            output: self.output.clone(),
            format: self.files.format.or(like_format),
            suffix: suffix(like.map_or(self.size.target(), |recipe| recipe.size)),
            recursive: self.files.recursive,
            patterns: Patterns::new(&self.batch.include, &self.batch.exclude)?,
        })
    }

    /// How the batch is worked through.
    pub(crate) fn batch_options(&self) -> BatchOptions {
        let BatchArgs { resume, retry_failed, jobs, shard, .. } = self.batch;
        BatchOptions { jobs, resume, retry_failed, shard }
    }

    /// What becomes of files.
    pub(crate) fn file_options(&self) -> FileOptions {
        FileOptions {
            quality: self.files.quality,
            depth: match self.files.depth {
                DepthArg::Same => None,
                DepthArg::Eight => Some(Depth::Eight),
                DepthArg::Sixteen => Some(Depth::Sixteen),
            },
            strip: self.files.strip.unwrap_or_default(),
            overwrite: self.files.overwrite,
            before_after: self.looking.before_after.map(|form| match form {
                BeforeAfterArg::Page => BeforeAfter::Page,
                BeforeAfterArg::Side => BeforeAfter::SideBySide,
            }),
            consistency: self.looking.consistency,
            max_drift: self.looking.max_drift,
            limits: self.memory.map_or_else(Limits::default, |memory| Limits {
                max_bytes: memory.min(Limits::default().max_bytes),
                ..Limits::default()
            }),
        }
    }
}

impl NetworkArgs {
    /// Opens the model.
    pub(crate) fn open(&self) -> Result<Restorer> {
        let Self { device, threads, precision, .. } = *self;
        let compute = Compute { device, threads, precision };
        Restorer::open(&ModelSource::from(self.model.as_str()), compute)
    }

    /// What to tell about a precision that the processor does not have.
    pub(crate) fn notice(&self, restorer: &Restorer) -> Option<&'static str> {
        (self.precision != restorer.precision())
            .then_some("this processor has no instructions for bf16: f32 is as fast and computed instead")
    }
}
