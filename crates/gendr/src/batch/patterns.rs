//! Which files of a folder are taken.

use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::{Error, Result};

/// A `/` is met only by `/` or `**`, as in shells.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Patterns with `*`, `?`, `[a-z]` and `**`. One without a `/` looks at the name alone, in any folder; one with a `/` at the
/// path inside the folder that was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Patterns {
    /// Takes what any of `include` says, everything where there are none, except what any of `exclude` says.
    ///
    /// # Errors
    /// An argument error for a pattern that cannot be understood.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        let parse = |patterns: &[String]| -> Result<Vec<Pattern>> {
            patterns.iter().map(|text| pattern(text)).collect()
        };
        Ok(Self { include: parse(include)?, exclude: parse(exclude)? })
    }

    /// Whether the file at `path` inside the folder is taken.
    pub(super) fn take(&self, path: &Path) -> bool {
        (self.include.is_empty() || any(&self.include, path)) && !any(&self.exclude, path)
    }

    /// Whether the folder at `path` inside the folder is passed over with all that is in it.
    pub(super) fn pass_over(&self, path: &Path) -> bool {
        any(&self.exclude, path)
    }
}

fn pattern(text: &str) -> Result<Pattern> {
    // A folder may be written with its slash.
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    Pattern::new(trimmed).map_err(|error| {
        Error::argument(format!("the pattern `{text}` cannot be understood: {}", error.msg))
            .with_hint("`*.jpg`, `IMG_????.*`, `holiday/**` and `[0-9]*` are patterns")
    })
}

fn any(patterns: &[Pattern], path: &Path) -> bool {
    patterns.iter().any(|pattern| {
        if pattern.as_str().contains('/') {
            pattern.matches_path_with(path, OPTIONS)
        } else {
            path.file_name().is_some_and(|name| pattern.matches_path_with(Path::new(name), OPTIONS))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(include: &[&str], exclude: &[&str]) -> Vec<&'static str> {
        let strings = |patterns: &[&str]| patterns.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let patterns = Patterns::new(&strings(include), &strings(exclude)).unwrap();
        let all = ["a.jpg", "a.png", "sub/a.jpg", "sub/deep/b.jpg", "raw/c.png"];
        all.into_iter().filter(|path| patterns.take(Path::new(path))).collect()
    }

    #[test]
    fn names_and_paths_are_met() {
        assert_eq!(taken(&[], &[]).len(), 5);
        assert_eq!(taken(&["*.jpg"], &[]), ["a.jpg", "sub/a.jpg", "sub/deep/b.jpg"]);
        assert_eq!(taken(&["sub/*"], &[]), ["sub/a.jpg"]);
        assert_eq!(taken(&["sub/**"], &[]), ["sub/a.jpg", "sub/deep/b.jpg"]);
        assert_eq!(taken(&["**/a.*"], &["*.png"]), ["a.jpg", "sub/a.jpg"]);
        assert_eq!(taken(&[], &["a.*", "raw/**"]), ["sub/deep/b.jpg"]);
    }

    #[test]
    fn folders_are_passed_over_as_a_whole() {
        let patterns = Patterns::new(&[], &["raw/".to_owned(), "sub/deep".to_owned()]).unwrap();
        assert!(patterns.pass_over(Path::new("raw")) && patterns.pass_over(Path::new("sub/deep")));
        assert!(!patterns.pass_over(Path::new("sub")));
    }

    #[test]
    fn a_pattern_that_makes_no_sense_is_refused() {
        assert!(Patterns::new(&["[a".to_owned()], &[]).is_err());
        assert!(Patterns::new(&[], &["a**b".to_owned()]).is_err());
    }
}
