//! A `regress` run: CONFIG DATA CACHE RUN.

use gendr_train::{
    Event, Progress, read_config,
    regress::{Paths, RegressConfig, prepare, run as train},
};

struct Talk;

impl Progress for Talk {
    #[allow(clippy::print_stderr)]
    fn report(&self, event: Event<'_>) {
        eprintln!("{event:?}");
    }
}

fn main() -> gendr_train::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, data, cache, run] = arguments.as_slice() else {
        return Err(gendr_train::Error::argument("regress CONFIG DATA CACHE RUN"));
    };
    let config: RegressConfig = read_config(config.as_ref())?;
    let paths = Paths { data: data.into(), cache: cache.into(), run: run.into() };
    if std::env::var_os("PREPARE").is_some() {
        prepare(&config, &paths, &Talk)?;
    } else {
        train(&config, &paths, &Talk, &|| false)?;
    }
    Ok(())
}
