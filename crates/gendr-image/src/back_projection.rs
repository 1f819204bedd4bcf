//! A restored picture made small again should be the input (back-projection, Irani and Peleg 1991).

use std::{borrow::Cow, ops::Range};

use rayon::prelude::*;

use crate::{
    Error, Planes, Rect, Resampling, Resize, Result,
    color_fix::{WAVELET_REACH, wavelet},
};

/// How much of the difference is taken away. All of it would bring the input's noise and blocks back.
const SHARE: f32 = 0.35;
/// Enlargements smaller than this keep the bands of the wavelet fix alone: their copies hold the input's noise.
const LEAST_SCALE: usize = 3;

/// [`ColorFix::Projection`](crate::ColorFix::Projection) of pictures of one size, which may be seen in bands of rows.
#[derive(Clone, Copy, Debug)]
pub struct BackProjection {
    down: Resize,
    up: Resize,
    share: f32,
    /// Height of the restored picture.
    height: usize,
}

impl BackProjection {
    /// For an input of one size, `(width, height)`, that was restored at another.
    ///
    /// # Errors
    /// An argument error where a side is zero.
    pub fn new(input: (usize, usize), restored: (usize, usize)) -> Result<Self> {
        let large = restored.0 >= LEAST_SCALE * input.0 && restored.1 >= LEAST_SCALE * input.1;
        Ok(Self {
            down: Resize::to_size(restored, input, Resampling::PILLOW_BICUBIC)?,
            up: Resize::to_size(input, restored, Resampling::TORCH_BICUBIC)?,
            share: if large { SHARE } else { 0.0 },
            height: restored.1,
        })
    }

    /// Rows of the restored picture and of the reference that `rows` of the result are computed from.
    pub fn rows_for(&self, rows: Range<usize>) -> Range<usize> {
        let needed = self.shrunk_from(&rows);
        needed.start.saturating_sub(WAVELET_REACH)..(needed.end + WAVELET_REACH).min(self.height)
    }

    /// Rows of the corrected picture that the small copy is made from, `rows` among them.
    fn shrunk_from(&self, rows: &Range<usize>) -> Range<usize> {
        if self.share == 0.0 {
            return rows.clone();
        }
        let from = self.down.source_of(self.up.source_of(self.band(rows)));
        from.y.min(rows.start)..(from.y + from.height).max(rows.end)
    }

    fn band(&self, rows: &Range<usize>) -> Rect {
        Rect { x: 0, y: rows.start, width: self.up.output_size().0, height: rows.len() }
    }

    /// `rows` of the result, from parts of the restored picture and of the reference that both begin with row `first` and hold
    /// at least [`BackProjection::rows_for`] them. Values do not depend on how much more they hold.
    ///
    /// # Errors
    /// An argument error where they hold less.
    pub fn rows(
        &self,
        restored: &Planes,
        reference: &Planes,
        first: usize,
        rows: Range<usize>,
    ) -> Result<Planes> {
        let needed = self.rows_for(rows.clone());
        let restored = part(restored, first, &needed)?;
        let reference = part(reference, first, &needed)?;
        let fixed = wavelet(&restored, &reference);
        let mut result = part(&fixed, needed.start, &rows)?.into_owned();
        if self.share > 0.0 {
            let small = self.up.source_of(self.band(&rows));
            let copy = self.down.window(&fixed, (0, needed.start), small)?;
            let copy = self.up.window(&copy, (small.x, small.y), self.band(&rows))?;
            let reference = part(&reference, needed.start, &rows)?;
            let away = reference.data().par_iter().zip(copy.data());
            result.data_mut().par_iter_mut().zip(away).for_each(|(value, (reference, copy))| {
                *value += self.share * (reference - copy);
            });
        }
        Ok(result)
    }
}

/// `rows` of a picture that begins with row `first`.
fn part<'a>(planes: &'a Planes, first: usize, rows: &Range<usize>) -> Result<Cow<'a, Planes>> {
    if first == rows.start && planes.height() == rows.len() {
        return Ok(Cow::Borrowed(planes));
    }
    let above = rows.start.checked_sub(first).ok_or_else(|| Error::argument("rows that begin too late"))?;
    Ok(Cow::Owned(planes.crop(0, above, planes.width(), rows.len())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColorFix, apply_color_fix, resize, upscale};

    fn noise(width: usize, height: usize) -> Planes {
        let value = |i: usize| ((i * 7919) % 997) as f32 / 996.0;
        Planes::from_vec(3, height, width, (0..3 * width * height).map(value).collect()).unwrap()
    }

    fn distance(a: &Planes, b: &Planes) -> f64 {
        let away = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
        a.data().iter().zip(b.data()).map(away).sum::<f64>() / a.data().len() as f64
    }

    #[test]
    fn a_small_copy_comes_nearer_to_the_input() {
        let (input, restored) = (noise(20, 30), noise(80, 120));
        let reference = upscale(&input, 80, 120).unwrap();
        let away = |fix| {
            let fixed = apply_color_fix(fix, &restored, &reference, (20, 30)).unwrap();
            distance(&resize(&fixed, 20, 30, Resampling::PILLOW_BICUBIC).unwrap(), &input)
        };
        let (before, after) = (away(ColorFix::Wavelet), away(ColorFix::Projection));
        let kept = f64::from(1.0 - SHARE);
        assert!((after / before - kept).abs() < 0.1, "{before} to {after}");
    }

    #[test]
    fn small_enlargements_keep_the_bands_alone() {
        let (input, restored) = (noise(40, 60), noise(80, 120));
        let reference = upscale(&input, 80, 120).unwrap();
        let fixed = |fix| apply_color_fix(fix, &restored, &reference, (40, 60)).unwrap();
        assert_eq!(fixed(ColorFix::Projection), fixed(ColorFix::Wavelet));
    }

    #[test]
    fn bands_of_rows_give_the_values_of_the_whole() {
        // Not a whole number of times larger.
        let (input, restored) = (noise(13, 70), noise(41, 231));
        let reference = upscale(&input, 41, 231).unwrap();
        let projection = BackProjection::new((13, 70), (41, 231)).unwrap();
        let whole = projection.rows(&restored, &reference, 0, 0..231).unwrap();
        for rows in [0..1, 0..64, 64..128, 100..101, 128..231, 230..231] {
            let around = projection.rows_for(rows.clone());
            let part = |planes: &Planes| planes.crop(0, around.start, 41, around.len()).unwrap();
            let found =
                projection.rows(&part(&restored), &part(&reference), around.start, rows.clone()).unwrap();
            assert_eq!(found, whole.crop(0, rows.start, 41, rows.len()).unwrap(), "{rows:?} of {around:?}");
        }
        let late = restored.crop(0, 50, 41, 181).unwrap();
        assert!(projection.rows(&late, &late, 50, 60..70).is_err(), "it needs more");
    }
}
