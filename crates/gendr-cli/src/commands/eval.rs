//! `gendr eval`: scores of restored pictures.

mod metrics;
mod publish;
mod restore;
mod score;

use std::path::Path;

use gendr::{CancelFlag, Error, Result};
use gendr_metrics::{EvaluateOptions, Evaluation, Pairing, pair_by_name};

use crate::{args::EvalArgs, console::Console, interrupt, status::Status};
use metrics::{Chosen, Given};

pub(crate) fn run(args: &EvalArgs) -> Result<Status> {
    if args.list_metrics {
        metrics::list()?;
        return Ok(Status::Done);
    }
    if let Some(threads) = args.threads {
        use_threads(threads.get())?;
    }
    publish::check(&args.results)?;
    let cancel = interrupt::cancel_flag()?;
    if let Some(folder) = &args.restore.restore {
        return restore_and_score(folder, args, &cancel);
    }
    let reference = args.reference.as_deref().or(args.reference_option.as_deref());
    let input = args.input.as_deref();
    let chosen = metrics::choose(
        &args.metrics,
        Given {
            reference: reference.is_some(),
            input: input.is_some(),
            weights: args.weights.as_deref(),
            niqe_model: args.niqe_model.as_deref(),
        },
    )?;
    let methods = methods(args, reference, input)?;
    Ok(score_methods(&methods, &chosen, args, &cancel)?.status)
}

/// Restores a test set with every model, scores the results and writes tables beside them.
fn restore_and_score(folder: &Path, args: &EvalArgs, cancel: &CancelFlag) -> Result<Status> {
    let plan = restore::Plan::new(folder, &args.restore)?;
    let chosen = metrics::choose(
        &args.metrics,
        Given {
            reference: plan.has_reference(),
            input: true,
            weights: args.weights.as_deref(),
            niqe_model: args.niqe_model.as_deref(),
        },
    )?;
    let restored = plan.run(args.threads, args.results.quiet, cancel)?;
    if cancel.is_cancelled() {
        return Ok(Status::Interrupted);
    }
    let scored = score_methods(&restored.methods, &chosen, args, cancel)?;
    if scored.status == Status::Interrupted {
        return Ok(Status::Interrupted);
    }
    publish::write_tables(plan.folder(), &restored.methods, &scored.evaluations)?;
    Ok(if restored.complete { scored.status } else { Status::SomeFailed })
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

/// The scores of several methods, and how scoring ended.
struct Scored {
    evaluations: Vec<Evaluation>,
    status: Status,
}

/// Scores all methods and tells the result.
fn score_methods(
    methods: &[Method],
    chosen: &Chosen,
    args: &EvalArgs,
    cancel: &CancelFlag,
) -> Result<Scored> {
    let options = EvaluateOptions { border: args.crop, ..EvaluateOptions::default() };
    let pictures = methods.iter().map(|method| method.pairing.pairs.len()).sum();
    let talk = score::Talk {
        console: Console::new(args.results.quiet, pictures),
        several: methods.len() > 1,
        json: args.results.json,
    };
    let mut complete = chosen.refused.is_empty();
    for error in &chosen.refused {
        talk.console.error(error);
    }
    for method in methods {
        complete &= talk.tell_unmatched(method);
    }
    let mut evaluations = Vec::new();
    for method in methods {
        let (evaluation, whole) = score::score(method, chosen, &options, &talk, cancel)?;
        if cancel.is_cancelled() {
            talk.console.finish();
            talk.console.say("stopped");
            return Ok(Scored { evaluations, status: Status::Interrupted });
        }
        complete &= whole;
        evaluations.push(evaluation);
    }
    talk.console.finish();
    publish::publish(methods, &evaluations, &args.results)?;
    Ok(Scored { evaluations, status: if complete { Status::Done } else { Status::SomeFailed } })
}

fn use_threads(threads: usize) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Error::new(gendr::ErrorKind::Resource, "cannot start threads").with_source(error))
}
