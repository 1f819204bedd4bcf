//! Errors sorted by whose fault they are.

use std::{error::Error as StdError, fmt, path::Path};

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file is damaged or is not what it says.
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
}

/// What went wrong in this crate. The message is one line; advice is apart, in [`Error::hint`].
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
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

    /// Adds advice, shown on a line of its own.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Reading, writing or another action on a file failed.
    pub fn cannot(action: &str, path: &Path, error: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("cannot {action}: {error}: {}", path.display())).with_source(error)
    }

    /// The same error, the tensor it is about first.
    #[must_use]
    pub fn in_tensor(mut self, name: &str) -> Self {
        self.message = format!("tensor {name}: {}", self.message);
        self
    }

    /// The same error, the file it is about last.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        self.message = format!("{}: {}", self.message, path.display());
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, error.to_string()).with_source(error)
    }
}
