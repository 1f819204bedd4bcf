//! Which output belongs to which reference: matched by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use gendr_image::{Error, ErrorKind, Result};

/// Extensions of the picture files that are read.
const EXTENSIONS: [&str; 14] =
    ["png", "jpg", "jpeg", "jpe", "webp", "tif", "tiff", "bmp", "gif", "pnm", "ppm", "pgm", "qoi", "tga"];
/// Folders inside folders are followed this deep.
const DEPTH: usize = 16;
/// Ends of names that tell versions of one picture apart. Digits may follow.
const VERSIONS: [&str; 8] = ["_hr", "_lr", "_sr", "_gt", "_out", "_x", "-x", "x"];

/// The files of one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The reference's path inside its folder, without the extension, so that methods with other file names agree on it; the
    /// output's where there is no reference.
    pub name: String,
    /// The picture to score.
    pub output: PathBuf,
    /// What it should be.
    pub reference: Option<PathBuf>,
    /// The low-resolution input it was made from.
    pub input: Option<PathBuf>,
}

/// Pairs, and what has no partner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairing {
    /// One for each output that has every partner asked for, in the order of names.
    pub pairs: Vec<Pair>,
    /// Outputs without a reference or input, or with several of the same name.
    pub unmatched_outputs: Vec<PathBuf>,
    /// References without an output.
    pub unmatched_references: Vec<PathBuf>,
}

/// Pairs the pictures under the folder `outputs`, folders inside it included, with those of the same name under
/// `references` and `inputs`. Extensions may differ. Where no name is equal, endings that tell versions apart are
/// left out on both sides: `_HR`, `_LR4`, `_SR`, `_x4`, `x4`, `_gt`, `_out`. Two files make one pair whatever their names.
///
/// # Errors
/// An input error where a folder cannot be read or holds no picture.
pub fn pair_by_name(outputs: &Path, references: Option<&Path>, inputs: Option<&Path>) -> Result<Pairing> {
    if outputs.is_file() {
        return pair_of_file(outputs, references, inputs);
    }
    let references = references.map(Names::of).transpose()?;
    let inputs = inputs.map(Names::of).transpose()?;
    let outputs = Names::of(outputs)?;
    let mut pairing = Pairing::default();
    for (name, files) in &outputs.exact {
        for output in files {
            let partner = |names: &Option<Names>| match names {
                _ if files.len() > 1 => Err(()),
                None => Ok(None),
                Some(names) => names.find(name).map(Some).ok_or(()),
            };
            match (partner(&references), partner(&inputs)) {
                (Ok(reference), Ok(input)) => pairing.pairs.push(pair(name, output, reference, input)),
                _ => pairing.unmatched_outputs.push(output.clone()),
            }
        }
    }
    let used: BTreeSet<&PathBuf> = pairing.pairs.iter().filter_map(|pair| pair.reference.as_ref()).collect();
    let all = references.iter().flat_map(|names| names.exact.values().flatten());
    pairing.unmatched_references = all.filter(|path| !used.contains(path)).cloned().collect();
    Ok(pairing)
}

/// One output file, with files or folders to look in.
fn pair_of_file(output: &Path, reference: Option<&Path>, input: Option<&Path>) -> Result<Pairing> {
    let name = output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let partner = |path: Option<&Path>| -> Result<Option<Option<Named>>> {
        let Some(path) = path else { return Ok(Some(None)) };
        if path.is_dir() {
            return Ok(Names::of(path)?.find(&name).map(Some));
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Some(Some((name, path.to_owned()))))
    };
    let mut pairing = Pairing::default();
    match (partner(reference)?, partner(input)?) {
        (Some(reference), Some(input)) => pairing.pairs.push(pair(&name, output, reference, input)),
        _ => pairing.unmatched_outputs.push(output.to_owned()),
    }
    Ok(pairing)
}

/// A picture's name and file.
type Named = (String, PathBuf);

fn pair(output_name: &str, output: &Path, reference: Option<Named>, input: Option<Named>) -> Pair {
    let (reference_name, reference) = reference.unzip();
    Pair {
        name: reference_name.unwrap_or_else(|| output_name.to_owned()),
        output: output.to_owned(),
        reference,
        input: input.map(|(_, path)| path),
    }
}

/// The pictures of a folder by name.
struct Names {
    /// By path inside the folder, without extension.
    exact: BTreeMap<String, Vec<PathBuf>>,
    /// The names that are equal in lower case without endings of versions.
    plain: BTreeMap<String, Vec<String>>,
}

impl Names {
    fn of(folder: &Path) -> Result<Self> {
        let files = pictures_in(folder)?;
        let mut exact = BTreeMap::<String, Vec<PathBuf>>::new();
        for file in files {
            let inside = file.strip_prefix(folder).unwrap_or(&file).with_extension("");
            exact.entry(inside.to_string_lossy().replace('\\', "/")).or_default().push(file);
        }
        let mut plain = BTreeMap::<String, Vec<String>>::new();
        for name in exact.keys() {
            plain.entry(without_version(name)).or_default().push(name.clone());
        }
        Ok(Self { exact, plain })
    }

    /// The one file of this name, or else the one that differs only in its version.
    fn find(&self, name: &str) -> Option<Named> {
        let name = if self.exact.contains_key(name) {
            name
        } else {
            match self.plain.get(&without_version(name))?.as_slice() {
                [name] => name,
                _ => return None,
            }
        };
        match self.exact.get(name)?.as_slice() {
            [file] => Some((name.to_owned(), file.clone())),
            _ => None,
        }
    }
}

/// The picture files under a folder, in the order of names; hidden ones are passed over.
pub(crate) fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(folder, DEPTH, &mut files)?;
    if files.is_empty() {
        return Err(Error::input("no picture in this folder").at(folder));
    }
    Ok(files)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Input, format!("cannot read the folder: {error}")).with_source(error).at(folder)
    };
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, files)?;
            }
        } else if is_picture(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    EXTENSIONS.contains(&extension.as_str())
}

/// The name in lower case without endings of versions.
pub(crate) fn without_version(name: &str) -> String {
    let mut name = name.to_lowercase();
    while let Some(shorter) = strip_version(&name) {
        name = shorter.to_owned();
    }
    name
}

fn strip_version(name: &str) -> Option<&str> {
    let letters = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let ending = VERSIONS.iter().find(|ending| letters.ends_with(**ending))?;
    // An x means a scale only where a number follows.
    let scale = ending.ends_with('x');
    let shorter = &letters[..letters.len() - ending.len()];
    let whole = shorter.is_empty() || shorter.ends_with('/');
    (!whole && (!scale || letters.len() < name.len())).then_some(shorter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_of_versions_are_left_out() {
        for (name, plain) in [
            ("a/0801x4", "a/0801"),
            ("Canon_001_LR4", "canon_001"),
            ("Canon_001_HR", "canon_001"),
            ("img_001_SRF_4_HR", "img_001_srf_4"),
            ("photo_x4_out", "photo"),
            ("box", "box"),
            ("x4", "x4"),
            ("a/_hr", "a/_hr"),
            ("7", "7"),
        ] {
            assert_eq!(without_version(name), plain);
        }
    }

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn pictures_are_matched_and_the_rest_is_named() {
        let outputs = folder(&["a_x4.png", "b.png", "c.png", "c.jpg", "d.png", "sub/e.webp", "notes.txt"]);
        let references = folder(&["a.png", "b.jpg", "c.png", "f.png", "sub/e.png", "sub/a.png"]);
        let pairing = pair_by_name(outputs.path(), Some(references.path()), None).unwrap();
        let names: Vec<&str> = pairing.pairs.iter().map(|pair| pair.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "sub/e"]);
        assert_eq!(pairing.pairs[0].reference, Some(references.path().join("a.png")));
        let ends = |paths: &[PathBuf]| -> Vec<String> {
            paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(ends(&pairing.unmatched_outputs), ["c.jpg", "c.png", "d.png"]);
        assert_eq!(ends(&pairing.unmatched_references), ["c.png", "f.png", "a.png"]);
    }

    #[test]
    fn an_exact_name_wins_over_a_version() {
        let outputs = folder(&["a_x1.png", "a_x2.png"]);
        let references = folder(&["a_x1.png", "a_x2.png"]);
        let pairing = pair_by_name(outputs.path(), Some(references.path()), None).unwrap();
        assert_eq!(pairing.pairs[1].reference, Some(references.path().join("a_x2.png")));
        assert!(pairing.unmatched_outputs.is_empty() && pairing.unmatched_references.is_empty());
    }

    #[test]
    fn two_files_are_a_pair_and_folders_without_pictures_an_error() {
        let files = folder(&["one.png", "other.png", "empty/readme.md"]);
        let [one, other] = ["one.png", "other.png"].map(|name| files.path().join(name));
        let pairing = pair_by_name(&one, Some(&other), None).unwrap();
        assert_eq!(pairing.pairs[0].reference, Some(other));
        assert!(pair_by_name(&files.path().join("empty"), None, None).is_err());
        assert!(pair_by_name(&files.path().join("missing"), None, None).is_err());
    }
}
