//! Between pictures and what networks take.

use burn::tensor::{Device, Tensor, TensorData};
use gendr_image::Planes;

use crate::{Error, ErrorKind, Result};

/// The values a network's pictures have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// `[0, 1]`, as in pictures.
    Unit,
    /// `[-1, 1]`.
    Signed,
}

/// `[c, h, w]` in `[0, 1]` to `[1, c, h, w]` in the range of the network.
pub(crate) fn to_tensor(mut planes: Planes, range: Range, device: &Device) -> Tensor<4> {
    let shape = [1, planes.channels(), planes.height(), planes.width()];
    if range == Range::Signed {
        planes.map_in_place(|value| value * 2.0 - 1.0);
    }
    Tensor::from_data(TensorData::new(planes.into_vec(), shape), device)
}

/// `[1, c, h, w]` in the range of the network to `[c, height, width]`, clamped to `[0, 1]`; padding on the right and below
/// is cut off.
///
/// # Errors
/// A resource error where the device fails, an input error where the network gave something that is not a number.
pub(crate) fn to_planes(tensor: Tensor<4>, range: Range, (width, height): (usize, usize)) -> Result<Planes> {
    let mut planes = to_raw_planes(tensor)?;
    if (planes.width(), planes.height()) != (width, height) {
        planes = planes.crop(0, 0, width, height)?;
    }
    range.to_unit(&mut planes)?;
    Ok(planes)
}

/// `[1, c, h, w]` to `[c, h, w]`, as it is.
///
/// # Errors
/// A resource error where the device fails.
pub(crate) fn to_raw_planes(tensor: Tensor<4>) -> Result<Planes> {
    let [_, channels, height, width] = tensor.dims();
    let failed = |reason: String| Error::new(ErrorKind::Resource, format!("the device failed: {reason}"));
    let data = tensor.try_into_data().map_err(|error| failed(error.to_string()))?;
    let data = data.try_into_vec::<f32>().map_err(|error| failed(format!("{error:?}")))?;
    Ok(Planes::from_vec(channels, height, width, data)?)
}

impl Range {
    /// Brings what a network made to `[0, 1]`.
    ///
    /// # Errors
    /// An input error where the network gave something that is not a number.
    pub(crate) fn to_unit(self, planes: &mut Planes) -> Result<()> {
        if !planes.data().iter().all(|value| value.is_finite()) {
            return Err(Error::input("the network gave values that are not numbers")
                .with_hint("the model's weights may be damaged: `gendr model verify` checks them"));
        }
        planes.map_in_place(|value| match self {
            Self::Unit => value.clamp(0.0, 1.0),
            Self::Signed => (value.clamp(-1.0, 1.0) + 1.0) * 0.5,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_by_two() -> Planes {
        Planes::from_vec(1, 2, 2, vec![0.0, 0.25, 0.5, 1.0]).unwrap()
    }

    #[test]
    fn both_ranges_come_back() {
        for range in [Range::Unit, Range::Signed] {
            let tensor = to_tensor(two_by_two(), range, &Device::flex());
            assert_eq!(to_planes(tensor, range, (2, 2)).unwrap(), two_by_two());
        }
    }

    #[test]
    fn padding_is_cut_and_values_are_clamped() {
        let planes = Planes::from_vec(1, 2, 2, vec![-3.0, 7.0, 7.0, 7.0]).unwrap();
        let tensor = to_tensor(planes, Range::Unit, &Device::flex());
        assert_eq!(to_planes(tensor, Range::Unit, (1, 2)).unwrap().data(), [0.0, 1.0]);
    }

    #[test]
    fn what_is_not_a_number_is_an_error() {
        let planes = Planes::from_vec(1, 1, 1, vec![f32::NAN]).unwrap();
        let tensor = to_tensor(planes, Range::Unit, &Device::flex());
        assert_eq!(to_planes(tensor, Range::Unit, (1, 1)).unwrap_err().kind(), ErrorKind::Input);
    }
}
