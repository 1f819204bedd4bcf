//! What the command says: data to standard output, talk to standard error.

use std::{
    io::{self, Write},
    process::ExitCode,
};

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

/// Prints what is wrong with the command line on one line, and where to find help on the next; or the help asked for.
pub(crate) fn print_usage_error(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion) {
        // A reader that has gone away needs no help.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    let (message, hint) = usage_error(&error.to_string());
    print_line(&one_line(&message));
    print_line(&format!("hint: {}", one_line(&hint)));
    ExitCode::from(2)
}

/// Message and advice of a usage error: its first paragraph, and its tip where it has one.
fn usage_error(text: &str) -> (String, String) {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.split("\n\n");
    let message = words(paragraphs.next().unwrap_or_default());
    let tip = paragraphs.find_map(|paragraph| paragraph.trim().strip_prefix("tip: "));
    (message, tip.map_or_else(|| "`--help` lists the options".to_owned(), words))
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
    fn usage_errors_are_one_line_and_a_hint() {
        let text = "error: the following were not provided:\n  --run <FOLDER>\n  <INPUT>\n\nUsage: gendr\n\nFor more";
        let (message, hint) = usage_error(text);
        assert_eq!(message, "error: the following were not provided: --run <FOLDER> <INPUT>");
        assert_eq!(hint, "`--help` lists the options");
        let (message, hint) =
            usage_error("error: unexpected argument '--x' found\n\n  tip: a similar argument\n");
        assert_eq!(
            (message.as_str(), hint.as_str()),
            ("error: unexpected argument '--x' found", "a similar argument")
        );
    }

    #[test]
    fn control_characters_do_not_break_a_line() {
        assert_eq!(one_line("bad\nname\x1b[2J"), "bad\u{fffd}name\u{fffd}[2J");
    }
}
