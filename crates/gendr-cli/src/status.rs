//! The exit status.

use std::process::ExitCode;

use gendr::{Error, ErrorKind};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// All done: 0.
    Done,
    /// Some inputs failed, the rest is done: 1.
    SomeFailed,
    /// The request was wrong, nothing is done: 2.
    WrongRequest,
    /// Stopped by Ctrl-C: 130, as shells say it.
    Interrupted,
}

impl Status {
    /// The status of a command that an error ended before its first input.
    pub(crate) fn of_request(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Cancelled => Self::Interrupted,
            _ => Self::WrongRequest,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Done => 0,
            Status::SomeFailed => 1,
            Status::WrongRequest => 2,
            Status::Interrupted => 130,
        })
    }
}
