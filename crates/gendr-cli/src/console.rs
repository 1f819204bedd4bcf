//! What the command says: data to standard output, talk to standard error.

use std::io::{self, Write};

use gendr::{Error, ErrorKind, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Steps of the bar for one picture.
const STEPS: u64 = 1000;

/// Messages around a progress bar, which shows only on a terminal.
pub(crate) struct Console {
    quiet: bool,
    bar: ProgressBar,
}

impl Console {
    /// A console with a bar over `pictures`.
    pub(crate) fn new(quiet: bool, pictures: usize) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(pictures as u64 * STEPS) };
        if let Ok(style) = ProgressStyle::with_template("{msg} [{wide_bar}] {percent:>3}% {eta:>4} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { quiet, bar }
    }

    /// Shows that picture `index`, called `name`, is done to the given fraction.
    pub(crate) fn show(&self, index: usize, name: &str, fraction: f64) {
        self.bar.set_position(index as u64 * STEPS + (fraction * STEPS as f64) as u64);
        self.bar.set_message(name.to_owned());
    }

    /// Shows that so many pictures, and parts of pictures, are done.
    pub(crate) fn show_all(&self, done: f64, message: String) {
        self.bar.set_position((done * STEPS as f64) as u64);
        self.bar.set_message(message);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Says what went well, unless quiet.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| print_line(text));
        }
    }

    /// Warns of something lost or changed, unless quiet.
    pub(crate) fn warn(&self, text: &str) {
        self.say(&format!("warning: {text}"));
    }

    /// Reports an error with its hint.
    pub(crate) fn error(&self, error: &Error) {
        self.bar.suspend(|| print_error(error));
    }
}

/// Prints an error on one line, and its hint on the next.
pub(crate) fn print_error(error: &Error) {
    print_line(&format!("error: {}", one_line(&error.to_string())));
    if let Some(hint) = error.hint() {
        print_line(&format!("hint: {}", one_line(hint)));
    }
}

/// Prints one JSON object on one line of standard output.
///
/// # Errors
/// Where standard output cannot be written; a reader that has gone away is no error.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<()> {
    print_data(&format!("{value}\n"))
}

/// Prints data on standard output.
///
/// # Errors
/// As [`print_json`].
pub(crate) fn print_data(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Io, "cannot write to standard output").with_source(error))
        }
        _ => Ok(()),
    }
}

/// Where nobody listens to standard error, nothing can be said.
fn print_line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// File names may hold line breaks and other control characters; a message stays on its line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_break_a_line() {
        assert_eq!(one_line("bad\nname\x1b[2J"), "bad\u{fffd}name\u{fffd}[2J");
    }
}
