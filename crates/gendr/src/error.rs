//! Errors sorted by whose fault they are, with the file they concern.

use std::{
    error::Error as StdError,
    fmt,
    path::{Path, PathBuf},
};

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A picture or model file is damaged or is not what it says.
    Input,
    /// The caller asked for something that makes no sense.
    Argument,
    /// A size or memory limit would be passed.
    Limit,
    /// A valid file or request that this program cannot handle.
    Unsupported,
    /// Memory, a device or another resource was not to be had.
    Resource,
    /// Reading or writing failed.
    Io,
    /// The caller cancelled the work.
    Cancelled,
}

/// What went wrong. The text is one line that ends with the file, where there is one; advice is apart, in
/// [`Error::hint`].
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    path: Option<PathBuf>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, path: None, source: None }
    }

    /// Damaged or lying input.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Input, message)
    }

    /// A request that makes no sense.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Argument, message)
    }

    /// A limit that would be passed.
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, message)
    }

    /// Valid, but not handled here.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// The caller cancelled.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled")
    }

    /// Adds advice, shown on a line of its own.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the file concerned, unless a more exact one is named already.
    #[must_use]
    pub fn with_path(mut self, path: impl AsRef<Path>) -> Self {
        self.path.get_or_insert_with(|| path.as_ref().to_owned());
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A failed reading or writing of `path`, said in plain words.
    pub fn io(error: std::io::Error, path: impl AsRef<Path>) -> Self {
        use std::io::ErrorKind as Io;
        let message = match error.kind() {
            Io::NotFound => "no such file".to_owned(),
            Io::PermissionDenied => "permission denied".to_owned(),
            Io::StorageFull => "no space left on the disk".to_owned(),
            Io::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
            _ => error.to_string(),
        };
        Self::new(ErrorKind::Io, message).with_source(error).with_path(path)
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What went wrong, without the file.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The file concerned.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.path {
            Some(path) => write!(f, ": {}", path.display()),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The errors of our own crates keep their kind, message and hint.
macro_rules! from_error_of {
    ($library:ident) => {
        impl From<$library::Error> for Error {
            fn from(error: $library::Error) -> Self {
                let kind = match error.kind() {
                    $library::ErrorKind::Input => ErrorKind::Input,
                    $library::ErrorKind::Argument => ErrorKind::Argument,
                    $library::ErrorKind::Limit => ErrorKind::Limit,
                    $library::ErrorKind::Unsupported => ErrorKind::Unsupported,
                    $library::ErrorKind::Resource => ErrorKind::Resource,
                    $library::ErrorKind::Io => ErrorKind::Io,
                };
                let mut own = Self::new(kind, error.to_string());
                own.hint = error.hint().map(str::to_owned);
                own.with_source(error)
            }
        }
    };
}

from_error_of!(gendr_image);
from_error_of!(gendr_model);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_last_and_the_most_exact_one_stays() {
        let error = Error::input("the picture is empty").with_path("inner.png").with_path("outer.png");
        assert_eq!(error.to_string(), "the picture is empty: inner.png");
    }

    #[test]
    fn kind_hint_and_source_of_the_image_crate_are_kept() {
        let error = Error::from(gendr_image::Error::limit("too large").with_hint("use a smaller one"));
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_eq!(error.hint(), Some("use a smaller one"));
        assert!(error.source().is_some());
    }
}
