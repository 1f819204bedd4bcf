//! Test sets as they lie on disk: which picture is the low-resolution input, which the reference.

mod layouts;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use gendr_image::{Error, Result};

use crate::pairing::{pictures_in, without_version};
pub use layouts::Layout;
use layouts::{Arrangement, Place};

/// The pictures of a test set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// In the order of names.
    pub pictures: Vec<DatasetPicture>,
}

/// One picture of a test set: an input, a reference, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetPicture {
    /// Its path inside the set without the extension and without the folder of the layout, such as `0801`.
    pub name: String,
    /// The low-resolution picture; where there is none it is made from the reference.
    pub input: Option<PathBuf>,
    /// What a restoration should come to.
    pub reference: Option<PathBuf>,
}

impl Dataset {
    /// Finds the pictures of the set in `folder`, laid out as `layout` says, for restorations `scale` times as large as
    /// their inputs. References without an input are left out where other references have one.
    ///
    /// # Errors
    /// An input error where the folder cannot be read, holds no picture of the layout, or two pictures would have one
    /// name; the hint tells what was looked for.
    pub fn open(folder: &Path, layout: Layout, scale: usize) -> Result<Self> {
        let files: Vec<File> = pictures_in(folder)?.into_iter().map(|path| File::new(folder, path)).collect();
        for arrangement in layout.arrangements() {
            if let Some(pictures) = arrange(&files, arrangement, scale)? {
                return Ok(Self { pictures });
            }
        }
        Err(Error::input(format!("no pictures laid out as {}", layout.name()))
            .with_hint(format!("looked for {}", layout.description(scale)))
            .at(folder))
    }
}

/// A picture file of the set.
struct File {
    path: PathBuf,
    /// The folders between the set's folder and the file, in lower case.
    folders: Vec<String>,
    /// The name without extension.
    stem: String,
}

impl File {
    fn new(root: &Path, path: PathBuf) -> Self {
        let inside = path.strip_prefix(root).unwrap_or(&path);
        let folders = inside.parent().into_iter().flat_map(Path::components);
        Self {
            folders: folders.map(|part| part.as_os_str().to_string_lossy().to_lowercase()).collect(),
            stem: inside.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            path,
        }
    }

    /// The key under which a file at this place meets its partner: folders outside the place, and the name without
    /// version; `None` for a file that is elsewhere.
    fn key(&self, place: Place, scale: usize) -> Option<String> {
        let wanted: Vec<String> =
            place.folder(scale).split('/').filter(|part| !part.is_empty()).map(str::to_lowercase).collect();
        let outside = self.folders.strip_suffix(wanted.as_slice())?;
        let ending = place.ending(scale).to_lowercase();
        let stem = self.stem.to_lowercase();
        let plain = if ending.is_empty() {
            without_version(&stem)
        } else {
            without_version(stem.strip_suffix(&ending)?)
        };
        Some(outside.iter().chain([&plain]).map(String::as_str).collect::<Vec<_>>().join("/"))
    }

    fn name(&self, place: Place, scale: usize) -> String {
        let inside = place.folder(scale).split('/').filter(|part| !part.is_empty()).count();
        let outside = &self.folders[..self.folders.len() - inside];
        outside.iter().chain([&self.stem]).map(String::as_str).collect::<Vec<_>>().join("/")
    }
}

/// The pictures arranged so; `None` where a place of the arrangement is empty.
fn arrange(files: &[File], arrangement: &Arrangement, scale: usize) -> Result<Option<Vec<DatasetPicture>>> {
    let found = |place: Option<Place>| -> Result<BTreeMap<String, &File>> {
        let mut by_key = BTreeMap::new();
        for file in files {
            let Some(key) = place.and_then(|place| file.key(place, scale)) else { continue };
            if let Some(other) = by_key.insert(key, file) {
                let message = format!("two pictures of one name: {} and", other.path.display());
                return Err(Error::input(message).at(&file.path));
            }
        }
        Ok(by_key)
    };
    let (inputs, references) = (found(arrangement.input)?, found(arrangement.reference)?);
    let keys: BTreeSet<&String> = match (arrangement.input, arrangement.reference) {
        (Some(_), Some(_)) => inputs.keys().filter(|key| references.contains_key(*key)).collect(),
        _ => inputs.keys().chain(references.keys()).collect(),
    };
    let name =
        |key: &String| match (references.get(key), arrangement.reference, inputs.get(key), arrangement.input)
        {
            (Some(file), Some(place), ..) | (_, _, Some(file), Some(place)) => file.name(place, scale),
            _ => key.clone(),
        };
    let path = |of: &BTreeMap<String, &File>, key: &String| of.get(key).map(|file| file.path.clone());
    let pictures: Vec<DatasetPicture> = keys
        .into_iter()
        .map(|key| DatasetPicture {
            name: name(key),
            input: path(&inputs, key),
            reference: path(&references, key),
        })
        .collect();
    Ok((!pictures.is_empty()).then_some(pictures))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    /// Name, input and reference of each picture found.
    fn found(files: &[&str], layout: &str) -> Result<Vec<String>> {
        let folder = folder(files);
        let inside = |path: &Option<PathBuf>| match path {
            Some(path) => path.strip_prefix(folder.path()).unwrap().display().to_string(),
            None => "-".to_owned(),
        };
        let set = Dataset::open(folder.path(), Layout::named(layout)?, 4)?;
        Ok(set
            .pictures
            .iter()
            .map(|p| format!("{}: {} {}", p.name, inside(&p.input), inside(&p.reference)))
            .collect())
    }

    #[test]
    fn published_layouts_are_known() {
        for (layout, files, wanted) in [
            (
                "realsr",
                &[
                    "Canon/Test/4/Canon_001_HR.png",
                    "Canon/Test/4/Canon_001_LR4.png",
                    "Canon/Test/2/Canon_001_LR2.png",
                    "Canon/Train/4/Canon_002_HR.png",
                    "Canon/Train/4/Canon_002_LR4.png",
                ][..],
                "canon/Canon_001_HR: Canon/Test/4/Canon_001_LR4.png Canon/Test/4/Canon_001_HR.png",
            ),
            (
                "drealsr",
                &["test_HR/DSC_1137_x4.png", "test_LR/DSC_1137_x1.png"],
                "DSC_1137_x4: test_LR/DSC_1137_x1.png test_HR/DSC_1137_x4.png",
            ),
            (
                "div2k",
                &[
                    "DIV2K_valid_HR/0801.png",
                    "DIV2K_valid_LR_bicubic/X4/0801x4.png",
                    "DIV2K_valid_LR_bicubic/X2/0801x2.png",
                ],
                "0801: DIV2K_valid_LR_bicubic/X4/0801x4.png DIV2K_valid_HR/0801.png",
            ),
            (
                "div2k",
                &["gt/0801_pch_00001.png", "lq/0801_pch_00001.png"],
                "0801_pch_00001: lq/0801_pch_00001.png gt/0801_pch_00001.png",
            ),
            ("realset80", &["0003.jpg"], "0003: 0003.jpg -"),
            (
                "set5",
                &[
                    "image_SRF_4/img_001_SRF_4_HR.png",
                    "image_SRF_4/img_001_SRF_4_LR.png",
                    "image_SRF_2/img_001_SRF_2_HR.png",
                ],
                "img_001_SRF_4_HR: image_SRF_4/img_001_SRF_4_LR.png image_SRF_4/img_001_SRF_4_HR.png",
            ),
            ("set14", &["img_001_SRF_4_HR.png"], "img_001_SRF_4_HR: - img_001_SRF_4_HR.png"),
            (
                "urban100",
                &["HR/img_001.png", "LR_bicubic/X4/img_001x4.png"],
                "img_001: LR_bicubic/X4/img_001x4.png HR/img_001.png",
            ),
            ("urban100", &["img_001.png"], "img_001: - img_001.png"),
            (
                "set5",
                &["GTmod12/baby.png", "LRbicx4/baby.png", "original/baby.png"],
                "baby: LRbicx4/baby.png GTmod12/baby.png",
            ),
            ("auto", &["test_HR/a_x4.png", "test_LR/a_x1.png"], "a_x4: test_LR/a_x1.png test_HR/a_x4.png"),
            ("auto", &["x/HR/a.png", "x/LR/a.png"], "x/a: x/LR/a.png x/HR/a.png"),
        ] {
            assert_eq!(found(files, layout).unwrap(), [wanted], "{layout}");
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        let error = found(&["a.png"], "drealsr").unwrap_err();
        assert!(error.hint().unwrap().contains("test_HR"), "{error} {:?}", error.hint());
        // Inputs or references? Only the user knows.
        assert!(found(&["a.png"], "auto").is_err());
        assert!(found(&[], "auto").is_err());
        assert!(Layout::named("set6").unwrap_err().hint().unwrap().contains("set5"));
        assert!(
            found(&["a.png", "a.jpg"], "hr").unwrap_err().to_string().contains("two pictures of one name")
        );
    }

    #[test]
    fn pictures_without_partner_are_left_out() {
        let pictures = found(&["HR/a.png", "HR/b.png", "LR/a.png", "LR/c.png"], "auto").unwrap();
        assert_eq!(pictures, ["a: LR/a.png HR/a.png"]);
    }
}
