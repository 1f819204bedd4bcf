//! One picture to score, with what it is compared to.

use std::sync::OnceLock;

use gendr_image::{Error, Planes, Result};

use crate::{
    DetailScores, Luma, crop_border,
    detail::detail_scores_of_luma,
    levels::{Levels, check_pair, check_picture},
};

/// An output, its reference and its low-resolution input. What several metrics need is computed once.
pub struct Sample {
    output: Planes,
    /// Before its border was cut; `None` where none was.
    whole_output: Option<Planes>,
    reference: Option<Planes>,
    input: Option<Planes>,
    output_luma: OnceLock<Levels>,
    reference_luma: OnceLock<Levels>,
    detail: OnceLock<DetailScores>,
}

impl Sample {
    /// Cuts `border` pixels from every side of the output and the reference; the input stays whole.
    ///
    /// # Errors
    /// Where the output and the reference differ in shape, a picture is neither grey nor colour or holds values that
    /// are not finite, or nothing is left inside the border.
    pub fn new(
        output: Planes,
        reference: Option<Planes>,
        input: Option<Planes>,
        border: usize,
    ) -> Result<Self> {
        match &reference {
            Some(reference) => check_pair(&output, reference)?,
            None => check_picture(&output)?,
        }
        let (output, whole_output, reference) = if border == 0 {
            (output, None, reference)
        } else {
            let cut = reference.map(|reference| crop_border(&reference, border)).transpose()?;
            (crop_border(&output, border)?, Some(output), cut)
        };
        Ok(Self {
            output,
            whole_output,
            reference,
            input,
            output_luma: OnceLock::new(),
            reference_luma: OnceLock::new(),
            detail: OnceLock::new(),
        })
    }

    /// The picture to score, without its border.
    pub fn output(&self) -> &Planes {
        &self.output
    }

    /// The picture to score, with its border.
    pub fn whole_output(&self) -> &Planes {
        self.whole_output.as_ref().unwrap_or(&self.output)
    }

    /// What the picture should be, without its border.
    ///
    /// # Errors
    /// An argument error where none was given.
    pub fn reference(&self) -> Result<&Planes> {
        self.reference.as_ref().ok_or_else(|| Error::argument("the metric needs a reference"))
    }

    /// The low-resolution input.
    ///
    /// # Errors
    /// An argument error where none was given.
    pub fn input(&self) -> Result<&Planes> {
        self.input.as_ref().ok_or_else(|| Error::argument("the metric needs the low-resolution input"))
    }

    pub(crate) fn output_luma(&self) -> Result<&Levels> {
        once(&self.output_luma, || Levels::luma(&self.output, Luma::StudioRange))
    }

    pub(crate) fn reference_luma(&self) -> Result<&Levels> {
        once(&self.reference_luma, || Levels::luma(self.reference()?, Luma::StudioRange))
    }

    pub(crate) fn detail(&self) -> Result<&DetailScores> {
        once(&self.detail, || detail_scores_of_luma(self.output_luma()?, self.reference_luma()?))
    }
}

/// The value of the cell, made on first use; a failure is not kept.
fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_is_cut_from_the_pair_alone() {
        let large = || Planes::filled(3, 40, 48, 0.5);
        let sample = Sample::new(large(), Some(large()), Some(Planes::filled(3, 10, 12, 0.5)), 4).unwrap();
        let size = |picture: &Planes| (picture.width(), picture.height());
        assert_eq!(size(sample.output()), (40, 32));
        assert_eq!(size(sample.reference().unwrap()), (40, 32));
        assert_eq!(size(sample.whole_output()), (48, 40));
        assert_eq!(size(sample.input().unwrap()), (12, 10));
        assert!(Sample::new(large(), Some(Planes::filled(3, 40, 47, 0.5)), None, 0).is_err());
        assert!(Sample::new(large(), None, None, 20).is_err());
    }

    #[test]
    fn missing_pictures_are_named() {
        let sample = Sample::new(Planes::filled(3, 9, 9, 0.5), None, None, 0).unwrap();
        assert!(sample.reference().is_err_and(|error| error.to_string().contains("reference")));
        assert!(sample.input().is_err_and(|error| error.to_string().contains("input")));
        assert!(sample.detail().is_err());
    }
}
