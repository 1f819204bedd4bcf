//! Sharp crops of photographs.

use crate::{Error, Result, files};
use gendr_degrade::Draws;
use gendr_image::{Limits, Planes, Rect, Resampling, Resize};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every so many photographs one is kept for validation.
const HELD_OUT_EVERY: usize = 16;
/// A photograph whose shorter side is at least this many crops is scaled down by two or more first.
const LARGE: usize = 3;
/// Endings of the files that are taken for photographs.
const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

/// Where photographs come from and how they are cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhotosConfig {
    /// Folders, relative to the data folder.
    pub folders: Vec<PathBuf>,
    /// Side of a crop, a multiple of the scale.
    pub crop: usize,
    /// How many places are tried for a crop; the one with the most detail is taken.
    pub candidates: usize,
}

/// Which photographs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// Those to learn from.
    Training,
    /// Those kept back.
    Validation,
}

/// A list of photographs, each as likely as the square root of its file's size: larger files hold more detail.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Photos {
    paths: Vec<PathBuf>,
    weights: Vec<f64>,
    crop: usize,
    candidates: usize,
}

impl Photos {
    /// Lists the photographs of one split, in the order of their names.
    pub(crate) fn list(config: &PhotosConfig, data: &Path, split: Split) -> Result<Self> {
        let mut found = Vec::new();
        for folder in &config.folders {
            let folder = data.join(folder);
            let entries =
                fs::read_dir(&folder).map_err(|error| files::with_path("cannot list", &folder, error))?;
            for entry in entries {
                let path = entry.map_err(|error| files::with_path("cannot list", &folder, error))?.path();
                let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
                if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
                    let size = fs::metadata(&path)
                        .map_err(|error| files::with_path("cannot read", &path, error))?
                        .len();
                    found.push((path, (size as f64).sqrt()));
                }
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let kept = found
            .into_iter()
            .enumerate()
            .filter(|(i, _)| (i % HELD_OUT_EVERY == HELD_OUT_EVERY / 2) == (split == Split::Validation));
        let (paths, weights): (Vec<_>, Vec<_>) = kept.map(|(_, photo)| photo).unzip();
        if paths.is_empty() {
            return Err(Error::argument("no photographs for training or validation in the folders given")
                .with_hint(format!(
                    "folders are relative to {} and need {HELD_OUT_EVERY} pictures",
                    data.display()
                )));
        }
        Ok(Self { paths, weights, crop: config.crop, candidates: config.candidates })
    }

    /// Names of the files, without their folders.
    pub(crate) fn file_names(&self) -> Vec<String> {
        self.paths.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    }

    /// Draws a photograph.
    pub(crate) fn pick(&self, draws: &mut Draws) -> usize {
        draws.pick(&self.weights)
    }

    /// Reads a photograph.
    pub(crate) fn read(&self, index: usize) -> Result<Planes> {
        decode(&self.paths[index])
    }

    /// Cuts a crop out of a photograph scaled down by a random factor, which hides the traces of its compression.
    pub(crate) fn cut(&self, photo: &Planes, draws: &mut Draws) -> Result<Planes> {
        let shorter = photo.height().min(photo.width());
        if shorter < self.crop {
            return Err(Error::input(format!(
                "a photograph of {}x{} is smaller than a crop of {}",
                photo.width(),
                photo.height(),
                self.crop
            )));
        }
        let least: f64 = if shorter >= LARGE * self.crop { 2.0 } else { 1.0 };
        let most = (2.0 * least).min(shorter as f64 / self.crop as f64);
        let shrink = draws.uniform([least, most]);
        let [height, width] =
            [photo.height(), photo.width()].map(|side| ((side as f64 / shrink) as usize).max(self.crop));
        // A window a little larger than the crop is resized, not the whole photograph.
        let mut best: Option<(f32, Planes)> = None;
        let plan =
            Resize::to_size((photo.width(), photo.height()), (width, height), Resampling::PILLOW_BICUBIC)?;
        for _ in 0..self.candidates.max(1) {
            let (x, y) = (draws.below(width - self.crop + 1), draws.below(height - self.crop + 1));
            let window = Rect { x, y, width: self.crop, height: self.crop };
            let mut crop = plan.window(photo, (0, 0), window)?;
            crop.map_in_place(|value| value.clamp(0.0, 1.0));
            let detail = gradient_energy(&crop);
            if best.as_ref().is_none_or(|(most, _)| detail > *most) {
                best = Some((detail, crop));
            }
        }
        best.map(|(_, crop)| crop).ok_or_else(|| Error::argument("no candidates for a crop"))
    }
}

/// How much happens in a picture: squared differences of neighbours in a row, green channel.
fn gradient_energy(picture: &Planes) -> f32 {
    let plane = picture.plane(picture.channels() / 2);
    plane.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum()
}

/// Reads a picture as RGB in `[0, 1]`.
fn decode(path: &Path) -> Result<Planes> {
    let picture = gendr_image::decode(&files::read(path)?, &Limits::default());
    let named =
        |error: gendr_image::Error| Error::input(format!("{error}: {}", path.display())).with_source(error);
    Ok(picture.map_err(named)?.color)
}
