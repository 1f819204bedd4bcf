//! How a picture was made: written into it, read from it, and made again.

use std::path::Path;

use gendr_image::{ColorFix, Depth, Limits, Metadata, Notice, OutputFormat, Picture};
use serde::{Deserialize, Serialize};

use crate::{
    Cutting, Drift, Error, FileOptions, Precision, RestoreOptions, Restorer, Result, TargetSize, Tiling,
    VaeTiling,
};

/// All that decides the pixels of a result besides its input. It holds no time, path, host or number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// `gendr`.
    pub program: String,
    /// Its version.
    pub version: String,
    /// The model.
    pub model: RecipeModel,
    /// The size that was asked for.
    pub size: TargetSize,
    /// How colours were brought back to the input's.
    pub color_fix: String,
    /// Closeness to the input.
    pub fidelity: f32,
    /// Weight of classifier-free guidance.
    pub guidance: f32,
    /// Seed of whatever is sampled.
    pub seed: u64,
    /// How the picture was cut.
    #[serde(flatten)]
    pub cutting: Cutting,
    /// Where the network ran.
    pub device: String,
    /// What it computed in, where that was not f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// The file's format and samples.
    pub file: RecipeFile,
    /// How far the result lies from the input, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// A model by name and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeModel {
    /// What it is called.
    pub name: String,
    /// BLAKE3 of what it does, [`Restorer::model_hash`].
    pub blake3: String,
}

/// What was asked of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeFile {
    /// Extension of the format.
    pub format: String,
    /// Bits of a sample, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// Quality, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
}

impl Recipe {
    /// The recipe of a result.
    pub(crate) fn of(
        restorer: &Restorer,
        options: &RestoreOptions,
        files: &FileOptions,
        format: OutputFormat,
        cutting: Cutting,
    ) -> Self {
        let name = &restorer.description().name;
        Self {
            program: "gendr".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: RecipeModel { name: name.clone(), blake3: restorer.model_hash().to_owned() },
            size: options.size,
            color_fix: options.color_fix.unwrap_or(restorer.color_fix).name().to_owned(),
            fidelity: options.fidelity,
            guidance: options.guidance,
            seed: options.seed,
            cutting,
            device: restorer.device().to_string(),
            precision: precision(restorer),
            file: RecipeFile {
                format: format.extension().to_owned(),
                bits: files.depth.map(bits),
                quality: files.quality,
            },
            drift: None,
        }
    }

    /// Reads the recipe in a picture file.
    ///
    /// # Errors
    /// Those of reading a picture; an input error where there is no recipe or one that cannot be understood.
    pub fn read(path: &Path) -> Result<Self> {
        let picture = gendr_image::read(path, &Limits::default())?;
        Self::of_picture(&picture).map_err(|error| error.with_path(path))
    }

    fn of_picture(picture: &Picture) -> Result<Self> {
        let text = picture.metadata.recipe().ok_or_else(|| {
            Error::input("no recipe in this picture")
                .with_hint("gendr writes one into its results, except with `--strip`; other programs may have removed it")
        })?;
        serde_json::from_str(&text).map_err(|error| {
            Error::input(format!("the recipe cannot be understood: {error}")).with_source(error)
        })
    }

    /// As it is stored: JSON on one line.
    pub fn to_json(&self) -> String {
        // Nothing in a recipe fails to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Changes `options` and `files` so that the same input gives the same pixels again. What the recipe does not speak of,
    /// such as memory, stays.
    ///
    /// # Errors
    /// An argument error where `restorer` has another model or precision, an input error for values that make no sense.
    pub fn apply(
        &self,
        restorer: &Restorer,
        options: &mut RestoreOptions,
        files: &mut FileOptions,
    ) -> Result<()> {
        if self.model.blake3 != restorer.model_hash() {
            let name = if self.model.name.is_empty() { "another one" } else { &self.model.name };
            return Err(Error::argument(format!("the model is not the one of the recipe, {name}"))
                .with_hint("name the recipe's model with `--model`; it is known by its content"));
        }
        if self.precision != precision(restorer) {
            let wanted = self.precision.as_deref().unwrap_or(Precision::F32.name());
            return Err(Error::argument(format!("the recipe was computed in {wanted}"))
                .with_hint(format!("give `--precision {wanted}`, on a processor that has it")));
        }
        let wrong = |what: &str, value: &str| Error::input(format!("the recipe names the {what} `{value}`"));
        options.size = self.size;
        options.color_fix = Some(
            ColorFix::from_name(&self.color_fix)
                .ok_or_else(|| wrong("unknown colour fix", &self.color_fix))?,
        );
        options.fidelity = self.fidelity;
        options.guidance = self.guidance;
        options.seed = self.seed;
        options.tile = self.cutting.side.map_or(Tiling::Off, Tiling::Size);
        options.overlap = self.cutting.overlap;
        options.vae_tiling = self.cutting.autoencoder.unwrap_or(VaeTiling::Auto);
        files.quality = self.file.quality;
        files.depth = self
            .file
            .bits
            .map(|bits| depth(bits).ok_or_else(|| wrong("depth", &bits.to_string())))
            .transpose()?;
        options.validate()?;
        files.validate()
    }

    /// The format that the recipe's result had.
    pub fn format(&self) -> Option<OutputFormat> {
        OutputFormat::from_extension(&self.file.format)
    }

    /// Whether this version of the program is the one that made the picture; another may make other pixels.
    pub fn is_of_this_version(&self) -> bool {
        self.version == env!("CARGO_PKG_VERSION")
    }
}

impl Restorer {
    /// BLAKE3, in hexadecimal, of program, model, device and all options that shape a result: what a journal compares.
    pub(crate) fn options_hash(
        &self,
        options: &RestoreOptions,
        files: &FileOptions,
        format: OutputFormat,
    ) -> String {
        let uncut = Cutting { tiles: 0, side: None, overlap: None, autoencoder: None };
        let recipe = Recipe::of(self, options, files, format, uncut);
        let cut = serde_json::json!([options.tile, options.overlap, options.vae_tiling]);
        let FileOptions { strip, before_after, consistency, max_drift, .. } = files;
        let rest = format!("{cut} {strip:?} {before_after:?} {consistency:?} {max_drift:?}");
        blake3::hash(format!("{} {rest}", recipe.to_json()).as_bytes()).to_string()
    }
}

/// Puts the recipe into a result; tells where its metadata have no place for it.
pub(crate) fn store(recipe: &Recipe, metadata: &mut Metadata) -> Option<Notice> {
    let lost = "no recipe was stored: the picture's XMP packet is too large or damaged";
    (!metadata.set_recipe(&recipe.to_json())).then(|| Notice::dropped(lost))
}

/// The name of what a restorer computes in, where that is not f32.
fn precision(restorer: &Restorer) -> Option<String> {
    Some(restorer.precision()).filter(|&it| it != Precision::F32).map(|it| it.name().to_owned())
}

fn bits(depth: Depth) -> u8 {
    match depth {
        Depth::Eight => 8,
        Depth::Sixteen => 16,
        Depth::Float => 32,
    }
}

fn depth(bits: u8) -> Option<Depth> {
    [Depth::Eight, Depth::Sixteen, Depth::Float].into_iter().find(|&depth| self::bits(depth) == bits)
}
