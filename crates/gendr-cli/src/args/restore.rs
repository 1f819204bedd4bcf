//! `gendr restore`: the options, and the library's request they become.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};
use gendr::{
    ColorFix, Compute, Depth, DeviceChoice, FileOptions, ModelSource, Naming, OutputFormat, RestoreOptions,
    Restorer, Result, Strip, TargetSize, Tiling, VaeTiling,
};

use super::values;

const EXAMPLES: &str = "\
Examples:
  gendr restore photo.jpg                       writes photo_x4.jpg
  gendr restore photo.jpg -o large.png          chooses the format by the name
  gendr restore old/ -o new/ --recursive        restores a tree of folders
  gendr restore photo.png --long-side 3840      makes the longer side 3840 pixels
  gendr restore photo.png --fidelity 0.5        stays closer to the input
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

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) size: SizeArgs,

    /// How colours are brought back to the input's: none, adain, wavelet or ycbcr [default: the model's]
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

    /// Pixels that neighbouring tiles share, a multiple of 8 [default: the model's]
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
    pub(crate) threads: Option<std::num::NonZeroUsize>,
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
    /// Format of the results: png, jpeg, webp or tiff [default: the name's, else the input's]
    #[arg(short, long, value_name = "FORMAT", value_parser = values::format, help_heading = "Files")]
    pub(crate) format: Option<OutputFormat>,

    /// Quality of JPEG results, 1 to 100
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

    /// What names of results beside their inputs end in.
    fn suffix(&self) -> String {
        match self.target() {
            TargetSize::Scale(scale) => format!("_x{scale}"),
            _ => "_restored".to_owned(),
        }
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

    /// How results are named.
    pub(crate) fn naming(&self) -> Naming {
        Naming {
            output: self.output.clone(),
            format: self.files.format,
            suffix: self.size.suffix(),
            recursive: self.files.recursive,
        }
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
            ..FileOptions::default()
        }
    }
}

impl NetworkArgs {
    /// Opens the model.
    pub(crate) fn open(&self) -> Result<Restorer> {
        let compute = Compute { device: self.device, threads: self.threads };
        Restorer::open(&ModelSource::from(self.model.as_str()), compute)
    }
}
