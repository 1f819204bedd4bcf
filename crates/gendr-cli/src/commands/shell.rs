//! `gendr completions` and `gendr man`: made from the options themselves, so they are never out of date.

use clap::CommandFactory;
use gendr::{Error, ErrorKind, Result};

use crate::{
    args::{Cli, CompletionsArgs, ManArgs},
    console::print_data,
    status::Status,
};

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Status> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gendr", &mut text);
    print(&text)
}

pub(crate) fn man(args: &ManArgs) -> Result<Status> {
    let mut command = Cli::command();
    command.build();
    for name in &args.command {
        let inside = command.find_subcommand(name).cloned();
        command = inside.ok_or_else(|| {
            Error::argument(format!("gendr has no command `{}`", args.command.join(" ")))
                .with_hint("`gendr --help` lists the commands")
        })?;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut text)
        .map_err(|error| Error::new(ErrorKind::Io, "cannot write the manual page").with_source(error))?;
    print(&text)
}

fn print(text: &[u8]) -> Result<Status> {
    print_data(&String::from_utf8_lossy(text))?;
    Ok(Status::Done)
}
