//! Reading configurations: TOML, every key known.

use crate::{Error, Result, files};
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads a TOML file.
///
/// # Errors
/// An I/O error, or an input error that says where the file is wrong; for an unknown key the hint is the nearest right one.
pub fn read_config<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = String::from_utf8(files::read(path)?)
        .map_err(|error| Error::input(format!("not a text: {}", path.display())).with_source(error))?;
    parse_config(&text).map_err(|error| {
        let hint = error.hint().map(str::to_owned);
        let located = Error::input(format!("{error}: {}", path.display()));
        hint.into_iter().fold(located, Error::with_hint)
    })
}

/// Parses TOML text; see [`read_config`].
///
/// # Errors
/// As [`read_config`].
pub fn parse_config<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let message = error.message();
        let hint = nearest_key(message).map(|key| format!("did you mean {key}?"));
        let error = Error::input(format!("line {line}: {}", message.lines().collect::<Vec<_>>().join(" ")));
        hint.into_iter().fold(error, Error::with_hint)
    })
}

/// The name nearest to the unknown one in a message such as "unknown field `stesp`, expected `steps` or `seed`".
fn nearest_key(message: &str) -> Option<&str> {
    let (_, rest) =
        message.split_once("unknown field `").or_else(|| message.split_once("unknown variant `"))?;
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next()?;
    names.filter(|name| !name.is_empty()).min_by_key(|name| edit_distance(name, unknown))
}

/// How many insertions, deletions and replacements turn one word into the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only parsed")]
    struct Small {
        learning_rate: f64,
        steps: u64,
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_right_one() {
        let error = parse_config::<Small>("steps = 3\nlerning_rate = 1.0\n").expect_err("unknown key");
        assert!(
            error.to_string().contains("line 2") && error.to_string().contains("lerning_rate"),
            "{error}"
        );
        assert_eq!(error.hint(), Some("did you mean learning_rate?"));
    }

    #[test]
    fn a_wrong_type_is_an_input_error() {
        let error = parse_config::<Small>("steps = \"many\"\nlearning_rate = 1.0\n").expect_err("wrong type");
        assert_eq!(error.kind(), crate::ErrorKind::Input);
    }
}
