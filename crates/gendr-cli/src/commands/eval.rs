//! `gendr eval`: scores of restored pictures.

mod metrics;
mod publish;
mod score;

use std::path::Path;

use gendr::{Error, Result};
use gendr_metrics::{EvaluateOptions, Pairing, pair_by_name};

use crate::{args::EvalArgs, console::Console, interrupt, status::Status};
use metrics::Chosen;
use score::score;

pub(crate) fn run(args: &EvalArgs) -> Result<Status> {
    if args.list_metrics {
        metrics::list()?;
        return Ok(Status::Done);
    }
    if let Some(threads) = args.threads {
        use_threads(threads.get())?;
    }
    let reference = args.reference.as_deref().or(args.reference_option.as_deref());
    let input = args.input.as_deref();
    let chosen = metrics::choose(&args.metrics, reference.is_some(), input.is_some())?;
    let methods = methods(args, reference, input)?;
    score_methods(&methods, chosen, args)
}

/// Restored pictures under a name, with their partners.
struct Method {
    name: String,
    pairing: Pairing,
}

/// The methods that were asked for: several folders, or one.
fn methods(args: &EvalArgs, reference: Option<&Path>, input: Option<&Path>) -> Result<Vec<Method>> {
    let named = |name: String, folder: &Path| -> Result<Method> {
        Ok(Method { name, pairing: pair_by_name(folder, reference, input)? })
    };
    if let Some(output) = &args.output {
        return Ok(vec![named(name_of(output), output)?]);
    }
    let mut methods: Vec<Method> = Vec::new();
    for argument in &args.compare {
        let (name, folder) = split_name(argument);
        if methods.iter().any(|method| method.name == name) {
            return Err(Error::argument(format!("two methods are called {name}"))
                .with_hint("give other names, such as `--compare first=runs/1/out second=runs/2/out`"));
        }
        methods.push(named(name, folder)?);
    }
    Ok(methods)
}

/// `NAME=FOLDER`, or a folder that names itself.
fn split_name(argument: &str) -> (String, &Path) {
    match argument.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !Path::new(argument).exists() => {
            (name.to_owned(), Path::new(folder))
        }
        _ => (name_of(Path::new(argument)), Path::new(argument)),
    }
}

fn name_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Scores all methods and tells the result.
fn score_methods(methods: &[Method], chosen: Chosen, args: &EvalArgs) -> Result<Status> {
    let options = EvaluateOptions { border: args.crop, ..EvaluateOptions::default() };
    let console =
        Console::new(args.results.quiet, methods.iter().map(|method| method.pairing.pairs.len()).sum());
    let cancel = interrupt::cancel_flag()?;
    let mut complete = true;
    let mut evaluations = Vec::new();
    for method in methods {
        complete &= score::tell_unmatched(method, methods.len() > 1, &console);
    }
    for method in methods {
        let shown = (methods.len() > 1).then_some(method.name.as_str());
        let (evaluation, whole) =
            score(method, shown, &chosen, &options, args.results.json, &console, &cancel)?;
        if cancel.is_cancelled() {
            console.finish();
            console.say("stopped");
            return Ok(Status::Interrupted);
        }
        complete &= whole;
        evaluations.push(evaluation);
    }
    console.finish();
    publish::publish(methods, &evaluations, &args.results)?;
    Ok(if complete { Status::Done } else { Status::SomeFailed })
}

fn use_threads(threads: usize) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Error::new(gendr::ErrorKind::Resource, "cannot start threads").with_source(error))
}
