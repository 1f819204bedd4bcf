//! Padding by reflection, for networks that want sides of a certain multiple.

use rayon::prelude::*;

use crate::{Error, Planes, Result};

/// Pads to the right and below by reflection (the border pixel is not repeated) until both sides are multiples of
/// `multiple`. [`Planes::crop`] takes the padding away.
///
/// # Errors
/// An argument error where `multiple` or a side is zero, a limit error where the size overflows.
pub fn pad_reflect(planes: &Planes, multiple: usize) -> Result<Planes> {
    if multiple == 0 {
        return Err(Error::argument("cannot pad to a multiple of 0"));
    }
    let padded = |side: usize| side.checked_next_multiple_of(multiple).ok_or_else(too_large);
    pad_reflect_to(planes, padded(planes.width())?, padded(planes.height())?)
}

/// Pads to the right and below by reflection up to `width` by `height`.
///
/// # Errors
/// An argument error where a side is zero or would shrink, a limit error where the size overflows.
pub fn pad_reflect_to(planes: &Planes, width: usize, height: usize) -> Result<Planes> {
    if planes.width() == 0 || planes.height() == 0 {
        return Err(Error::argument("cannot pad an empty picture"));
    }
    if width < planes.width() || height < planes.height() {
        return Err(Error::argument(format!(
            "cannot pad {}x{} to {width}x{height}",
            planes.width(),
            planes.height()
        )));
    }
    let channels = planes.channels();
    let length = channels.checked_mul(height).and_then(|n| n.checked_mul(width)).ok_or_else(too_large)?;
    if length > isize::MAX as usize / size_of::<f32>() {
        return Err(too_large());
    }
    let mut result = Planes::filled(channels, height, width, 0.0);
    result.data_mut().par_chunks_mut(width).enumerate().for_each(|(line, output)| {
        let input = planes.row(line / height, reflect(line % height, planes.height()));
        let (inside, beyond) = output.split_at_mut(planes.width());
        inside.copy_from_slice(input);
        for (offset, value) in beyond.iter_mut().enumerate() {
            *value = input[reflect(planes.width() + offset, planes.width())];
        }
    });
    Ok(result)
}

/// The pixel that stands at `index` when `length` pixels are reflected without end: 0 1 2 | 1 0 1 2 ...
fn reflect(index: usize, length: usize) -> usize {
    if length == 1 {
        return 0;
    }
    let period = 2 * (length - 1);
    let folded = index % period;
    folded.min(period - folded)
}

fn too_large() -> Error {
    Error::limit("the padded picture would be too large to address")
}
