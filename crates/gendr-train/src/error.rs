//! Errors sorted by whose fault they are.

use std::{error::Error as StdError, fmt};

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
    /// The caller stopped the work.
    Cancelled,
}

/// What went wrong in this crate. The message is one line; advice is apart, in [`Error::hint`].
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The cause of errors of a step whose gradients are not finite.
#[derive(Debug)]
struct Diverged;

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("training diverged")
    }
}

impl StdError for Diverged {}

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

    /// The work was stopped by the caller.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "stopped")
    }

    /// Numbers of a training step that are not finite.
    pub(crate) fn diverged(message: impl Into<String>) -> Self {
        Self::input(message).with_source(Diverged)
    }

    /// Whether a training step left the finite numbers.
    pub fn is_divergence(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.is::<Diverged>())
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

/// Keeps kind, hint and message of an error from a crate below.
macro_rules! from_lower_crate {
    ($lower:ident) => {
        impl From<$lower::Error> for Error {
            fn from(error: $lower::Error) -> Self {
                let kind = match error.kind() {
                    $lower::ErrorKind::Input => ErrorKind::Input,
                    $lower::ErrorKind::Argument => ErrorKind::Argument,
                    $lower::ErrorKind::Limit => ErrorKind::Limit,
                    $lower::ErrorKind::Unsupported => ErrorKind::Unsupported,
                    $lower::ErrorKind::Resource => ErrorKind::Resource,
                    $lower::ErrorKind::Io => ErrorKind::Io,
                };
                let hint = error.hint().map(str::to_owned);
                Self { kind, message: error.to_string(), hint, source: Some(error.into()) }
            }
        }
    };
}

from_lower_crate!(gendr_image);
from_lower_crate!(gendr_model);
