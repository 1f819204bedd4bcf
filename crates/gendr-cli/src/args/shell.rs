//! `gendr completions` and `gendr man`: the options.

use clap::Args;
use clap_complete::Shell;

const COMPLETIONS: &str = "\
Examples:
  gendr completions bash > ~/.local/share/bash-completion/completions/gendr
  gendr completions fish > ~/.config/fish/completions/gendr.fish
  gendr completions zsh > ~/.zfunc/_gendr";

/// Print what a shell needs to complete commands and options.
#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

const MAN: &str = "\
Examples:
  gendr man | man -l -
  gendr man restore > /usr/local/share/man/man1/gendr-restore.1";

/// Print the manual page of the program or of a command.
#[derive(Args, Debug)]
#[command(after_help = MAN)]
pub(crate) struct ManArgs {
    /// A command, such as `restore` or `model info` [default: the program]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}
