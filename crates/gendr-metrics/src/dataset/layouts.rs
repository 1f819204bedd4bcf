//! The folders and names of well-known test sets.

use gendr_image::{Error, Result};

/// How a test set lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout(&'static Known);

/// Where pictures of one kind are: the last folders of their path and the end of their name. `{s}` is the scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    folder: &'static str,
    ending: &'static str,
}

impl Place {
    pub(super) fn folder(self, scale: usize) -> String {
        self.folder.replace("{s}", &scale.to_string())
    }

    pub(super) fn ending(self, scale: usize) -> String {
        self.ending.replace("{s}", &scale.to_string())
    }
}

/// Where inputs and references are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrangement {
    pub(super) reference: Option<Place>,
    pub(super) input: Option<Place>,
}

/// A layout by name: the arrangements it may have, the first that is found counts.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    name: &'static str,
    arrangements: &'static [Arrangement],
}

const fn folders(reference: &'static str, input: &'static str) -> Arrangement {
    endings(reference, "", input, "")
}

const fn endings(
    reference: &'static str,
    reference_ending: &'static str,
    input: &'static str,
    input_ending: &'static str,
) -> Arrangement {
    Arrangement {
        reference: Some(Place { folder: reference, ending: reference_ending }),
        input: Some(Place { folder: input, ending: input_ending }),
    }
}

const fn references(folder: &'static str, ending: &'static str) -> Arrangement {
    Arrangement { reference: Some(Place { folder, ending }), input: None }
}

const fn inputs(folder: &'static str) -> Arrangement {
    Arrangement { reference: None, input: Some(Place { folder, ending: "" }) }
}

/// RealSR, version 3 of its authors, and the crops of StableSR.
const REALSR: &[Arrangement] = &[
    endings("Test/{s}", "_HR", "Test/{s}", "_LR{s}"),
    folders("test_HR", "test_LR"),
    endings("", "_HR", "", "_LR{s}"),
];
/// DRealSR of its authors, and the crops of StableSR.
const DREALSR: &[Arrangement] = &[folders("test_HR", "test_LR")];
/// DIV2K of its authors, and the crops of StableSR.
const DIV2K: &[Arrangement] = &[
    folders("DIV2K_valid_HR", "DIV2K_valid_LR_bicubic/X{s}"),
    folders("DIV2K_valid_HR", "DIV2K_valid_LR_unknown/X{s}"),
    folders("gt", "lq"),
    references("DIV2K_valid_HR", ""),
];
/// Inputs alone.
const INPUTS: &[Arrangement] = &[inputs("lq"), inputs("LR"), inputs("")];
/// References alone.
const REFERENCES: &[Arrangement] = &[references("", "")];
/// Set5, Set14, Urban100 and their like: with SelfExSR, EDSR and BasicSR, or references alone.
const BENCHMARK: &[Arrangement] = &[
    endings("image_SRF_{s}", "_HR", "image_SRF_{s}", "_LR"),
    folders("HR", "LR_bicubic/X{s}"),
    folders("GTmod12", "LRbicx{s}"),
    folders("HR", "LR"),
    references("image_SRF_{s}", "_HR"),
    references("GTmod12", ""),
    references("HR", ""),
    references("original", ""),
    references("", "_HR"),
    references("", ""),
];
/// What names its inputs and references by itself.
const AUTO: &[Arrangement] = &[
    folders("test_HR", "test_LR"),
    endings("Test/{s}", "_HR", "Test/{s}", "_LR{s}"),
    folders("DIV2K_valid_HR", "DIV2K_valid_LR_bicubic/X{s}"),
    folders("DIV2K_valid_HR", "DIV2K_valid_LR_unknown/X{s}"),
    folders("gt", "lq"),
    endings("image_SRF_{s}", "_HR", "image_SRF_{s}", "_LR"),
    folders("HR", "LR_bicubic/X{s}"),
    folders("GTmod12", "LRbicx{s}"),
    folders("HR", "LR"),
    folders("reference", "input"),
    endings("", "_HR", "", "_LR{s}"),
    endings("", "_HR", "", "_LR"),
    references("image_SRF_{s}", "_HR"),
    references("GTmod12", ""),
    references("DIV2K_valid_HR", ""),
    references("", "_HR"),
];

const fn known(name: &'static str, arrangements: &'static [Arrangement]) -> Known {
    Known { name, arrangements }
}

static LAYOUTS: [Known; 10] = [
    known("auto", AUTO),
    known("realsr", REALSR),
    known("drealsr", DREALSR),
    known("div2k", DIV2K),
    known("realset80", INPUTS),
    known("set5", BENCHMARK),
    known("set14", BENCHMARK),
    known("urban100", BENCHMARK),
    known("lr", INPUTS),
    known("hr", REFERENCES),
];

impl Layout {
    /// The layout of this name: `auto`, `realsr`, `drealsr`, `div2k`, `realset80`, `set5`, `set14`, `urban100`, `lr` for inputs
    /// alone or `hr` for references alone.
    ///
    /// # Errors
    /// An argument error, with the names there are.
    pub fn named(name: &str) -> Result<Self> {
        match LAYOUTS.iter().find(|layout| layout.name == name) {
            Some(layout) => Ok(Self(layout)),
            None => {
                let names: Vec<&str> = LAYOUTS.iter().map(|layout| layout.name).collect();
                Err(Error::argument(format!("there is no layout {name}"))
                    .with_hint(format!("known are {}", names.join(", "))))
            }
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    pub(super) fn arrangements(self) -> &'static [Arrangement] {
        self.0.arrangements
    }

    /// What it looks for, in words.
    pub(super) fn description(self, scale: usize) -> String {
        let place = |place: Option<Place>| match place {
            Some(place) => {
                let folder = place.folder(scale);
                let folder = if folder.is_empty() { String::new() } else { folder + "/" };
                format!("{folder}*{}", place.ending(scale))
            }
            None => "nothing".to_owned(),
        };
        let pairs: Vec<String> = (self.0.arrangements.iter())
            .map(|one| match (one.reference, one.input) {
                (Some(_), Some(_)) => format!("{} with {}", place(one.reference), place(one.input)),
                (reference, input) => place(reference.or(input)),
            })
            .collect();
        pairs.join(", ")
    }
}
