//! What was typed. Each command has its own file; values become the library's types as they are parsed.

mod bench;
mod degrade;
mod doctor;
mod eval;
mod model;
mod recipe;
mod restore;
mod shell;
mod train;
mod values;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use bench::{BenchArgs, BenchCommand, BenchKernelsArgs, BenchRestoreArgs};
pub(crate) use degrade::DegradeArgs;
pub(crate) use doctor::DoctorArgs;
pub(crate) use eval::{EvalArgs, RestoreSetArgs, ResultArgs};
pub(crate) use model::{
    ConvertArgs, InfoArgs, InitArgs, InterpolateArgs, ModelArgs, ModelCommand, VerifyArgs,
};
pub(crate) use recipe::RecipeArgs;
pub(crate) use restore::{RestoreArgs, TalkArgs};
pub(crate) use shell::{CompletionsArgs, ManArgs};
pub(crate) use train::TrainArgs;
#[cfg(feature = "train")]
pub(crate) use train::{CropsArgs, StageArgs, TrainCommand};

/// Restores photos: a small or damaged picture in, a larger and cleaner one out.
#[derive(Debug, Parser)]
#[command(name = "gendr", version, max_term_width = 100)]
#[command(after_help = "Run `gendr COMMAND --help` for the options of a command.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Restore(Box<RestoreArgs>),
    Degrade(DegradeArgs),
    Eval(Box<EvalArgs>),
    Model(ModelArgs),
    Bench(BenchArgs),
    Train(TrainArgs),
    Recipe(RecipeArgs),
    Doctor(DoctorArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Reads the command line. A negative number is a value, so that what it is for can refuse it.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let matches = with_negative_numbers(Cli::command()).try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let takes_value = |arg: &clap::Arg| arg.get_action().takes_values() && !arg.is_allow_hyphen_values_set();
    let command =
        command.mut_args(|arg| if takes_value(&arg) { arg.allow_negative_numbers(true) } else { arg });
    command.mut_subcommands(with_negative_numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        with_negative_numbers(Cli::command()).debug_assert();
    }
}
