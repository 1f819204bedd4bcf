//! Ctrl-C: the first stops after the tile under way, the second at once.

use gendr::{CancelFlag, Error, ErrorKind, Result};

const INTERRUPTED: i32 = 130;

/// A flag that Ctrl-C sets.
pub(crate) fn cancel_flag() -> Result<CancelFlag> {
    let flag = CancelFlag::new();
    let handled = flag.clone();
    ctrlc::set_handler(move || {
        if handled.is_cancelled() {
            // No half file can remain: results are renamed into place once whole.
            std::process::exit(INTERRUPTED);
        }
        handled.cancel();
    })
    .map_err(|error| Error::new(ErrorKind::Resource, "cannot listen for Ctrl-C").with_source(error))?;
    Ok(flag)
}
