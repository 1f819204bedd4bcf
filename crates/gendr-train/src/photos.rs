//! Sharp crops of photographs.

use crate::{
    Error, Result, files,
    tar::{self, Entry},
};
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

/// Most bytes of a photograph in an archive.
const MAX_ENTRY: u64 = 1 << 30;

/// Where photographs come from and how they are cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhotosConfig {
    /// Folders, WebDataset archives (`.tar`) and lists of files (`.txt`, a path a line), relative to the data folder.
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

/// A photograph: a file, or one inside an archive.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    File(PathBuf),
    Entry(Entry),
}

impl Source {
    /// What it is sorted by and called in messages.
    fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Entry(entry) => entry.archive.join(&entry.name),
        }
    }

    fn size(&self) -> Result<u64> {
        match self {
            Self::File(path) => {
                let about = fs::metadata(path).map_err(|error| files::with_path("cannot read", path, error));
                Ok(about?.len())
            }
            Self::Entry(entry) => Ok(entry.length),
        }
    }

    fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::File(path) => files::read(path),
            Self::Entry(entry) => entry.read(MAX_ENTRY),
        }
    }
}

/// The photographs of a folder, an archive or a list; those of a list are relative to `data`.
fn sources(place: &Path, data: &Path) -> Result<Vec<Source>> {
    let ending = ending(place);
    if place.is_file() && ending == "tar" {
        let entries = tar::entries(place)?;
        return Ok(entries
            .into_iter()
            .filter(|entry| is_picture(Path::new(&entry.name)))
            .map(Source::Entry)
            .collect());
    }
    if place.is_file() && ending == "txt" {
        let text = String::from_utf8_lossy(&files::read(place)?).into_owned();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        return Ok(lines.map(|line| Source::File(data.join(line))).collect());
    }
    let entries = fs::read_dir(place).map_err(|error| files::with_path("cannot list", place, error))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| files::with_path("cannot list", place, error))?.path();
        if is_picture(&path) {
            found.push(Source::File(path));
        }
    }
    Ok(found)
}

fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn is_picture(path: &Path) -> bool {
    ENDINGS.contains(&ending(path).as_str())
}

/// A list of photographs, each as likely as the square root of its file's size: larger files hold more detail.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Photos {
    sources: Vec<Source>,
    weights: Vec<f64>,
    crop: usize,
    candidates: usize,
}

impl Photos {
    /// Lists the photographs of one split, in the order of their names.
    pub(crate) fn list(config: &PhotosConfig, data: &Path, split: Split) -> Result<Self> {
        let mut found = Vec::new();
        for folder in &config.folders {
            for source in sources(&data.join(folder), data)? {
                let weight = (source.size()? as f64).sqrt();
                found.push((source, weight));
            }
        }
        found.sort_by_cached_key(|(source, _)| source.path());
        let kept = found
            .into_iter()
            .enumerate()
            .filter(|(i, _)| (i % HELD_OUT_EVERY == HELD_OUT_EVERY / 2) == (split == Split::Validation));
        let (sources, weights): (Vec<_>, Vec<_>) = kept.map(|(_, photo)| photo).unzip();
        if sources.is_empty() {
            return Err(Error::argument("no photographs for training or validation in the folders given")
                .with_hint(format!(
                    "folders are relative to {} and need {HELD_OUT_EVERY} pictures",
                    data.display()
                )));
        }
        Ok(Self { sources, weights, crop: config.crop, candidates: config.candidates })
    }

    /// Names of the files, without their folders.
    pub(crate) fn file_names(&self) -> Vec<String> {
        let name = |source: &Source| Some(source.path().file_name()?.to_string_lossy().into_owned());
        self.sources.iter().filter_map(name).collect()
    }

    /// The error of a photograph, ending with its file.
    pub(crate) fn named(&self, index: usize, error: Error) -> Error {
        let path = self.sources[index].path().display().to_string();
        if error.to_string().ends_with(&path) {
            return error;
        }
        Error::new(error.kind(), format!("{error}: {path}")).with_source(error)
    }

    /// Draws a photograph.
    pub(crate) fn pick(&self, draws: &mut Draws) -> usize {
        draws.pick(&self.weights)
    }

    /// Reads a photograph.
    pub(crate) fn read(&self, index: usize) -> Result<Planes> {
        decode(&self.sources[index])
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
fn decode(source: &Source) -> Result<Planes> {
    let picture = gendr_image::decode(&source.read()?, &Limits::default());
    let named = |error: gendr_image::Error| {
        Error::input(format!("{error}: {}", source.path().display())).with_source(error)
    };
    Ok(picture.map_err(named)?.color)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_folders_name_the_same_photographs() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("p")).expect("a new folder");
        let names: Vec<_> = (0..20).map(|i| format!("p/{i:02}.png")).collect();
        names.iter().for_each(|name| fs::write(folder.path().join(name), name).expect("room"));
        fs::write(folder.path().join("p/notes.md"), "no picture").expect("room");
        fs::write(folder.path().join("all.txt"), names.join("\n") + "\n\n").expect("room");
        let list = |place: &str, split| {
            let config = PhotosConfig { folders: vec![place.into()], crop: 16, candidates: 1 };
            Photos::list(&config, folder.path(), split).expect("photographs")
        };
        for split in [Split::Training, Split::Validation] {
            assert_eq!(list("p", split), list("all.txt", split));
        }
        assert_eq!(list("p", Split::Training).sources.len(), 19);
        let config = PhotosConfig { folders: vec!["missing.txt".into()], crop: 16, candidates: 1 };
        let error = Photos::list(&config, folder.path(), Split::Training).expect_err("nothing there");
        assert!(error.to_string().contains("missing.txt"), "{error}");
    }
}
