//! How sharp crops go bad: by one of several degradations, drawn crop by crop.

use crate::Result;
use gendr_degrade::{DegradationConfig, Draws, Recipe};
use gendr_image::Planes;
use serde::Serialize;

/// Degradations with their shares, relative to each other; at least one.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Degradations(Vec<(f64, DegradationConfig)>);

impl Degradations {
    /// Those of a configuration.
    pub(crate) fn new(shares: Vec<(f64, DegradationConfig)>) -> Self {
        Self(shares)
    }

    /// The input made of crop `index`: what happens to it is drawn by `choice`, how it does by `seed`.
    ///
    /// # Errors
    /// The crop is smaller than its input may be.
    pub(crate) fn apply(&self, sharp: &Planes, index: usize, [choice, seed]: [u64; 2]) -> Result<Planes> {
        let shares: Vec<f64> = self.0.iter().map(|(share, _)| *share).collect();
        let chosen = Draws::new(choice, index as u64).pick(&shares);
        let recipe = Recipe::draw(&self.0[chosen].1, seed, index as u64, sharp.height(), sharp.width())?;
        Ok(recipe.apply(sharp)?)
    }
}
