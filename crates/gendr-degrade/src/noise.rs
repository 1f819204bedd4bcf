//! Sensor noise: Gaussian and Poisson, in colour or grey. The random fields are inputs, so that draws stay apart.

use gendr_image::{Error, Planes, Result};

/// Adds `field * sigma / 255` and clips to `[0, 1]`.
///
/// `field` is standard normal, with the picture's planes or with one plane that serves all of them (grey noise);
/// `sigma` is in 8-bit levels.
///
/// # Errors
/// An argument error where the sizes differ.
pub fn add_gaussian_noise(picture: &mut Planes, field: &Planes, sigma: f32) -> Result<()> {
    check_field(picture, field)?;
    add_clipped(picture, |channel, i| field.plane(channel % field.channels())[i] * sigma / 255.0);
    Ok(())
}

/// Adds `(counts / levels - round8(source)) * scale` and clips to `[0, 1]`, where `source` is the picture or, for counts
/// of one plane, its luma, and `levels` is [`poisson_levels`] of the source.
///
/// `counts` are Poisson draws with mean `round8(source) * levels`.
///
/// # Errors
/// An argument error where the sizes differ.
pub fn add_poisson_noise(picture: &mut Planes, counts: &Planes, scale: f32) -> Result<()> {
    check_field(picture, counts)?;
    let source = if counts.channels() == 1 { luma(picture) } else { picture.clone() };
    let levels = poisson_levels(&source);
    add_clipped(picture, |channel, i| {
        let plane = channel % counts.channels();
        (counts.plane(plane)[i] / levels - round8(source.plane(plane)[i])) * scale
    });
    Ok(())
}

/// `2^ceil(log2(n))` for the number n of distinct 8-bit levels in the picture, all planes together.
pub fn poisson_levels(picture: &Planes) -> f32 {
    let mut seen = [false; 256];
    for &value in picture.data() {
        seen[(value * 255.0).round_ties_even().clamp(0.0, 255.0) as usize] = true;
    }
    seen.iter().filter(|level| **level).count().next_power_of_two() as f32
}

/// One plane, `0.2989 R + 0.587 G + 0.114 B`; a picture of one plane is its own luma.
pub fn luma(picture: &Planes) -> Planes {
    if picture.channels() != 3 {
        return picture.clone();
    }
    let mut out = Planes::filled(1, picture.height(), picture.width(), 0.0);
    let (red, green, blue) = (picture.plane(0), picture.plane(1), picture.plane(2));
    for (i, value) in out.data_mut().iter_mut().enumerate() {
        *value = 0.2989 * red[i] + 0.587 * green[i] + 0.114 * blue[i];
    }
    out
}

/// The nearest 8-bit level.
pub(crate) fn round8(value: f32) -> f32 {
    (value * 255.0).round_ties_even().clamp(0.0, 255.0) / 255.0
}

fn add_clipped(picture: &mut Planes, noise: impl Fn(usize, usize) -> f32) {
    for channel in 0..picture.channels() {
        for (i, value) in picture.plane_mut(channel).iter_mut().enumerate() {
            *value = (*value + noise(channel, i)).clamp(0.0, 1.0);
        }
    }
}

fn check_field(picture: &Planes, field: &Planes) -> Result<()> {
    let planes_fit = field.channels() == 1 || field.channels() == picture.channels();
    if planes_fit && field.height() == picture.height() && field.width() == picture.width() {
        return Ok(());
    }
    Err(Error::argument(format!(
        "noise of {}x{}x{} does not fit a picture of {}x{}x{}",
        field.channels(),
        field.height(),
        field.width(),
        picture.channels(),
        picture.height(),
        picture.width()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_next_power_of_two() {
        let levels = |count: usize| {
            let data = (0..count).map(|i| i as f32 / 255.0).collect();
            poisson_levels(&Planes::from_vec(1, 1, count, data).expect("one row"))
        };
        assert_eq!(
            [levels(1), levels(2), levels(3), levels(129), levels(256)],
            [1.0, 2.0, 4.0, 256.0, 256.0]
        );
    }

    #[test]
    fn a_field_of_another_size_is_refused() {
        let mut picture = Planes::filled(3, 4, 4, 0.5);
        assert!(add_gaussian_noise(&mut picture, &Planes::filled(2, 4, 4, 0.0), 1.0).is_err());
        assert!(add_poisson_noise(&mut picture, &Planes::filled(3, 4, 5, 0.0), 1.0).is_err());
    }
}
