//! What the configurations of all networks share.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Largest number of channels, heads or features a configuration may ask for.
pub(crate) const MAX_WIDTH: usize = 1 << 16;
/// Largest number of levels, of layers a level and of transformer blocks a layer.
pub(crate) const MAX_DEPTH: usize = 64;

/// Refuses a key of `other` that asks for something else than `fixed` says.
pub(crate) fn check_other(other: &Map<String, Value>, fixed: &Value, network: &str) -> Result<()> {
    for (key, value) in other {
        let Some(only) = fixed.get(key) else { continue };
        let same = value == only || value.as_f64().is_some_and(|number| only.as_f64() == Some(number));
        if !value.is_null() && !same {
            return Err(Error::unsupported(format!("{network} with {key} = {value}")));
        }
    }
    Ok(())
}
