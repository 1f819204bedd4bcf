//! What happened to a picture that its owner should know.

use std::fmt;

/// Something that was dropped or changed on the way from file to file, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    kind: NoticeKind,
    message: String,
}

/// What a notice tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Something in the source is not in the result.
    Dropped,
    /// Something is in the result in another form.
    Converted,
}

impl Notice {
    /// Tells of something that is gone.
    pub fn dropped(message: impl Into<String>) -> Self {
        Self { kind: NoticeKind::Dropped, message: message.into() }
    }

    /// Tells of something that is there in another form.
    pub fn converted(message: impl Into<String>) -> Self {
        Self { kind: NoticeKind::Converted, message: message.into() }
    }

    /// What it tells of.
    pub fn kind(&self) -> NoticeKind {
        self.kind
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
