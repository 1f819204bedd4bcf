//! The model between two: network interpolation, as of ESRGAN (arXiv 1809.00219, section 3.4).

use std::path::Path;

use burn::tensor::TensorData;

use super::{Description, StoredModel, layout, save::save};
use crate::{
    error::{Error, Result},
    weights::Precision,
};

/// Largest share of the other model.
const MOST: f64 = 1.5;

impl StoredModel {
    /// Writes the model whose every value is `1 - share` of this model's and `share` of `other`'s, as [`StoredModel::save`]
    /// does. It has this model's name, licence and origin. Between a faithful restorer and one trained from it for believable
    /// detail, `share` trades one for the other; above 1 it goes on the same way.
    ///
    /// # Errors
    /// As [`StoredModel::save`], and [`ErrorKind::Argument`](crate::ErrorKind::Argument) where `share` is not within 0 and 1.5 or
    /// the two models are not of one shape.
    pub fn save_interpolated(
        &self,
        other: &Self,
        share: f64,
        target: &Path,
        precision: Precision,
    ) -> Result<()> {
        if !(0.0..=MOST).contains(&share) {
            return Err(Error::argument(format!("a share of {share}")).with_hint(format!("give 0 to {MOST}")));
        }
        self.check()?;
        other.check()?;
        if shape_alone(&self.description) != shape_alone(&other.description) {
            return Err(Error::argument("the models are not of one shape")
                .with_hint("both must come from one configuration; `gendr model info` tells it"));
        }
        let parts = layout::parts(&self.description, &self.weights)?;
        let share = share as f32;
        let values = |name: &str, shape: &[usize]| {
            let [a, b] = [&self.weights, &other.weights].map(|weights| weights.shaped_values(name, shape));
            let [a, b] = [a?, b?].map(|values| values.convert::<f32>());
            let pairs = a.iter::<f32>().zip(b.iter::<f32>());
            let between: Vec<f32> = pairs.map(|(a, b)| a * (1.0 - share) + b * share).collect();
            Ok(TensorData::new(between, shape.to_vec()))
        };
        save(&self.description, &parts, &values, target, precision)
    }
}

/// What two models between which others lie have in common.
fn shape_alone(description: &Description) -> Description {
    Description {
        name: String::new(),
        licence: String::new(),
        origin: String::new(),
        color_fix: String::new(),
        blake3: Default::default(),
        ..description.clone()
    }
}
