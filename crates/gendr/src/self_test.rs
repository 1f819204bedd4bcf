//! Does the built-in model make the pixels it should, on this machine?

use gendr_image::{EncodeOptions, OutputFormat, Picture, Planes, decode, encode};

use crate::{CancelFlag, Limits, ModelSource, RestoreOptions, Restorer, Result, Silent};

/// What the built-in model made of [`pattern`] where it was last looked at. `gendr doctor --renew` writes it.
static KNOWN: &[u8] = include_bytes!("../models/gendr-tiny.known.png");
/// Side of the pattern in pixels.
const SIDE: usize = 16;
/// Differences that the rounding of another processor may make, in levels of 255.
const TOLERANCE: u8 = 2;

/// How a self-test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfTest {
    /// Largest difference from the known pixels, in levels of 255.
    pub largest_difference: u8,
}

impl SelfTest {
    /// Restores a made-up picture of 16x16 with the built-in model and compares the result with the known pixels.
    ///
    /// # Errors
    /// Those of restoring: the network may have given something that is not a number.
    pub fn run(restorer: &Restorer) -> Result<Self> {
        let known = decode(KNOWN, &Limits::default())?;
        let found = decode(&restored(restorer)?, &Limits::default())?;
        let same_size = (known.width(), known.height()) == (found.width(), found.height());
        let pairs = known.color.data().iter().zip(found.color.data());
        let largest = pairs
            .map(|(known, found)| ((known - found).abs() * 255.0).round() as u8)
            .max()
            .unwrap_or(u8::MAX);
        Ok(Self { largest_difference: if same_size { largest } else { u8::MAX } })
    }

    /// The known pixels as the built-in model makes them now, a PNG, to be kept when the model is replaced.
    ///
    /// # Errors
    /// Those of opening the model and restoring.
    pub fn renewed() -> Result<Vec<u8>> {
        restored(&Restorer::open(&ModelSource::BuiltIn, crate::Compute::default())?)
    }

    /// Whether the pixels are those that are known.
    pub fn passed(self) -> bool {
        self.largest_difference <= TOLERANCE
    }
}

fn restored(restorer: &Restorer) -> Result<Vec<u8>> {
    let result = restorer.restore(&pattern(), &RestoreOptions::default(), &Silent, &CancelFlag::new())?;
    let bare = Picture::from_color(result.picture.color);
    Ok(encode(&bare, &EncodeOptions::new(OutputFormat::Png))?.bytes)
}

/// Slopes and an edge, of whole levels, the same on every machine.
fn pattern() -> Picture {
    let level = |index: usize| {
        let (channel, y, x) = (index / (SIDE * SIDE), index / SIDE % SIDE, index % SIDE);
        let edge = if x + y < SIDE { 0 } else { 72 };
        (6 * x + 3 * y + 17 * channel + edge) as f32 / 255.0
    };
    let mut color = Planes::filled(3, SIDE, SIDE, 0.0);
    color.data_mut().iter_mut().enumerate().for_each(|(index, value)| *value = level(index));
    Picture::from_color(color)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_model_makes_the_known_pixels() {
        let restorer = Restorer::open(&ModelSource::BuiltIn, crate::Compute::default()).unwrap();
        let test = SelfTest::run(&restorer).unwrap();
        assert!(
            test.passed(),
            "{test:?}; after a change of the built-in model, renew what is known of it: \
             cargo run --release -- doctor --renew crates/gendr/models/gendr-tiny.known.png"
        );
    }
}
