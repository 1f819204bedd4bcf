//! Separable resampling, with the numbers of torch, Pillow, OpenCV and MATLAB.

mod taps;

use rayon::prelude::*;

use crate::{Error, Planes, Rect, Result};
use taps::Taps;

/// The weight of an input pixel by its distance from the sampled point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Filter {
    /// The nearest pixel, or the mean of all pixels under the output pixel when shrinking with antialias.
    Box,
    /// Linear, support 1.
    Bilinear,
    /// Keys' cubic with the free parameter `a` (-0.5 or -0.75), support 2.
    Bicubic {
        /// Slope at distance 1.
        a: f64,
    },
    /// A sinc windowed by a sinc, three lobes.
    Lanczos3,
    /// The plain mean of every input pixel that the output pixel touches (torch's adaptive average).
    Area,
}

/// What stands beyond the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// The border pixel, repeated.
    Repeat,
    /// Nothing: the weights are cut and scaled to sum to one.
    Cut,
    /// The mirror image, border pixel twice.
    Mirror,
}

/// Where bytes are rounded and clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRounding {
    /// After each of the two passes, as Pillow does.
    EachPass,
    /// Once, at the end.
    Once,
}

/// A way of resampling. The constants are those of well-known libraries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampling {
    /// The weights.
    pub filter: Filter,
    /// Whether the filter is widened when shrinking.
    pub antialias: bool,
    /// What stands beyond the border.
    pub border: Border,
    /// Used by [`Resize::apply_bytes`] only.
    pub byte_rounding: ByteRounding,
}

const fn plain(filter: Filter) -> Resampling {
    Resampling { filter, antialias: false, border: Border::Repeat, byte_rounding: ByteRounding::Once }
}

const fn antialiased(filter: Filter) -> Resampling {
    Resampling { filter, antialias: true, border: Border::Cut, byte_rounding: ByteRounding::EachPass }
}

impl Resampling {
    /// torch `interpolate(mode="bicubic")` and OpenCV `INTER_CUBIC`; the restorer's own upscale.
    pub const TORCH_BICUBIC: Self = plain(Filter::Bicubic { a: -0.75 });
    /// torch `interpolate(mode="bilinear")`.
    pub const TORCH_BILINEAR: Self = plain(Filter::Bilinear);
    /// torch `interpolate(mode="area")`.
    pub const TORCH_AREA: Self = plain(Filter::Area);
    /// torch `interpolate(mode="bicubic", antialias=True)` and Pillow `BICUBIC`.
    pub const PILLOW_BICUBIC: Self = antialiased(Filter::Bicubic { a: -0.5 });
    /// torch `interpolate(mode="bilinear", antialias=True)` and Pillow `BILINEAR`.
    pub const PILLOW_BILINEAR: Self = antialiased(Filter::Bilinear);
    /// Pillow `LANCZOS`.
    pub const PILLOW_LANCZOS: Self = antialiased(Filter::Lanczos3);
    /// Pillow `BOX`.
    pub const PILLOW_BOX: Self = antialiased(Filter::Box);
    /// MATLAB `imresize` with its default, bicubic and antialiased when shrinking.
    pub const MATLAB_BICUBIC: Self = Self {
        filter: Filter::Bicubic { a: -0.5 },
        antialias: true,
        border: Border::Mirror,
        byte_rounding: ByteRounding::Once,
    };
}

/// One axis: how many pixels in, how many out, and how far apart the sampled points lie in the input.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    input: usize,
    output: usize,
    step: f64,
}

impl Axis {
    /// Whether the output covers the input to within a pixel, and no pixel is much wider than it (which bounds the work).
    fn is_sound(self) -> bool {
        let (input, output) = (self.input as f64, self.output as f64);
        self.step > 0.0
            && self.step <= 16.0 * input
            && self.step * (output - 1.0) <= input
            && self.step * (output + 1.0) >= input
    }
}

/// A planned change of size. Any rectangle of the output can be computed alone, from the part of the input that it
/// needs, with the values it has in the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    columns: Axis,
    rows: Axis,
    resampling: Resampling,
}

impl Resize {
    /// From `input` to `output`, both `(width, height)`; the pictures' borders fall on each other.
    ///
    /// # Errors
    /// An argument error where a side is zero.
    pub fn to_size(input: (usize, usize), output: (usize, usize), resampling: Resampling) -> Result<Self> {
        let step = |input: usize, output: usize| input as f64 / output as f64;
        Self::with_steps(input, output, (step(input.0, output.0), step(input.1, output.1)), resampling)
    }

    /// From `input` to `output`, both `(width, height)`, with sampled points exactly `1 / factor` apart, as torch does
    /// for `scale_factor` (size `floor(n * factor)`) and MATLAB for `imresize(x, factor)` (size `ceil(n * factor)`).
    ///
    /// # Errors
    /// An argument error where a side is zero, the factor is not a positive number or the sampled points leave the input.
    pub fn by_factor(
        input: (usize, usize),
        output: (usize, usize),
        factor: f64,
        resampling: Resampling,
    ) -> Result<Self> {
        Self::with_steps(input, output, (1.0 / factor, 1.0 / factor), resampling)
    }

    fn with_steps(
        input: (usize, usize),
        output: (usize, usize),
        step: (f64, f64),
        resampling: Resampling,
    ) -> Result<Self> {
        if input.0 == 0 || input.1 == 0 || output.0 == 0 || output.1 == 0 {
            return Err(Error::argument(format!(
                "cannot resize {}x{} to {}x{}",
                input.0, input.1, output.0, output.1
            )));
        }
        let columns = Axis { input: input.0, output: output.0, step: step.0 };
        let rows = Axis { input: input.1, output: output.1, step: step.1 };
        if !columns.is_sound() || !rows.is_sound() {
            return Err(Error::argument(format!(
                "a scale factor of {} does not bring {}x{} to {}x{}",
                1.0 / step.0,
                input.0,
                input.1,
                output.0,
                output.1
            )));
        }
        Ok(Self { columns, rows, resampling })
    }

    /// Width and height of the result.
    pub fn output_size(&self) -> (usize, usize) {
        (self.columns.output, self.rows.output)
    }

    /// The rectangle of the input that `window` of the output is computed from.
    pub fn source_of(&self, window: Rect) -> Rect {
        let (x, width) = Taps::new(self.columns, window.x, window.width, self.resampling).span();
        let (y, height) = Taps::new(self.rows, window.y, window.height, self.resampling).span();
        Rect { x, y, width, height }
    }

    /// The whole result.
    ///
    /// # Errors
    /// An argument error where `source` is not of the planned input size.
    pub fn apply(&self, source: &Planes) -> Result<Planes> {
        self.check_source(source)?;
        self.window(source, (0, 0), Rect::whole(self.columns.output, self.rows.output))
    }

    /// The rectangle `window` of the result, from a part of the input whose corner stands at column and row `origin` and
    /// which holds at least [`Resize::source_of`] the window. Values equal those of [`Resize::apply`] bit for bit.
    ///
    /// # Errors
    /// An argument error where the window leaves the result or needs more than the part given.
    pub fn window(&self, part: &Planes, origin: (usize, usize), window: Rect) -> Result<Planes> {
        self.resample(part, origin, window, |_| {})
    }

    /// The whole result for bytes, `[channels, height, width]`, rounded half up.
    ///
    /// # Errors
    /// An argument error where the bytes do not fill planes of the planned input size.
    pub fn apply_bytes(&self, source: &[u8]) -> Result<Vec<u8>> {
        let channels = source.len() / self.columns.input / self.rows.input;
        let levels = source.iter().map(|&level| f32::from(level)).collect();
        let levels = Planes::from_vec(channels, self.rows.input, self.columns.input, levels)?;
        let between = match self.resampling.byte_rounding {
            ByteRounding::EachPass => round_levels,
            ByteRounding::Once => |_: &mut [f32]| {},
        };
        let whole = Rect::whole(self.columns.output, self.rows.output);
        let mut result = self.resample(&levels, (0, 0), whole, between)?;
        round_levels(result.data_mut());
        Ok(result.data().iter().map(|&level| level as u8).collect())
    }

    fn check_source(&self, source: &Planes) -> Result<()> {
        if (source.width(), source.height()) != (self.columns.input, self.rows.input) {
            return Err(Error::argument(format!(
                "a resize planned for {}x{} was given {}x{}",
                self.columns.input,
                self.rows.input,
                source.width(),
                source.height()
            )));
        }
        Ok(())
    }

    fn resample(
        &self,
        part: &Planes,
        origin: (usize, usize),
        window: Rect,
        between: impl Fn(&mut [f32]) + Sync,
    ) -> Result<Planes> {
        if !Rect::whole(self.columns.output, self.rows.output).contains(&window) {
            return Err(Error::argument(format!(
                "the window {window} leaves a picture of {}x{}",
                self.columns.output, self.rows.output
            )));
        }
        let columns = Taps::new(self.columns, window.x, window.width, self.resampling);
        let rows = Taps::new(self.rows, window.y, window.height, self.resampling);
        let (x, width) = columns.span();
        let (y, height) = rows.span();
        let given = Rect { x: origin.0, y: origin.1, width: part.width(), height: part.height() };
        let needed = Rect { x, y, width, height };
        if !given.contains(&needed) {
            return Err(Error::argument(format!(
                "the window {window} needs {needed} of the input, not {given}"
            )));
        }
        // The pass with the smaller intermediate picture comes first, judged by the whole picture so that every window
        // agrees with it.
        if self.columns_first() {
            let narrow = filter_columns(part, &columns, origin.0, (y - origin.1, height), &between);
            Ok(filter_rows(&narrow, &rows, y, (0, window.width), &|_| {}))
        } else {
            let flat = filter_rows(part, &rows, origin.1, (x - origin.0, width), &between);
            Ok(filter_columns(&flat, &columns, x, (0, window.height), &|_| {}))
        }
    }

    fn columns_first(&self) -> bool {
        let intermediate = |width: usize, height: usize| width as u128 * height as u128;
        intermediate(self.columns.output, self.rows.input)
            <= intermediate(self.columns.input, self.rows.output)
    }
}

/// The restorer's upscale: bicubic with `a = -0.75`, not clamped.
///
/// # Errors
/// An argument error where a side is zero.
pub fn upscale(source: &Planes, width: usize, height: usize) -> Result<Planes> {
    resize(source, width, height, Resampling::TORCH_BICUBIC)
}

/// Changes the size to `width` by `height`.
///
/// # Errors
/// An argument error where a side is zero.
pub fn resize(source: &Planes, width: usize, height: usize, resampling: Resampling) -> Result<Planes> {
    Resize::to_size((source.width(), source.height()), (width, height), resampling)?.apply(source)
}

/// Filters along x: rows `from .. from + count` of every plane, whose first column is column `origin` of the picture.
fn filter_columns(
    source: &Planes,
    taps: &Taps,
    origin: usize,
    (from, count): (usize, usize),
    finish: &(impl Fn(&mut [f32]) + Sync),
) -> Planes {
    let mut result = Planes::filled(source.channels(), count, taps.len(), 0.0);
    if taps.len() == 0 || count == 0 {
        return result;
    }
    result.data_mut().par_chunks_mut(taps.len()).enumerate().for_each(|(line, output)| {
        let input = source.row(line / count, from + line % count);
        for (value, (first, weights)) in output.iter_mut().zip(taps.iter()) {
            let pixels = &input[first - origin..first - origin + weights.len()];
            *value = pixels.iter().zip(weights).map(|(pixel, weight)| pixel * weight).sum();
        }
        finish(output);
    });
    result
}

/// Filters along y: columns `from .. from + count` of every plane, whose first row is row `origin` of the picture.
fn filter_rows(
    source: &Planes,
    taps: &Taps,
    origin: usize,
    (from, count): (usize, usize),
    finish: &(impl Fn(&mut [f32]) + Sync),
) -> Planes {
    let mut result = Planes::filled(source.channels(), taps.len(), count, 0.0);
    if taps.len() == 0 || count == 0 {
        return result;
    }
    result.data_mut().par_chunks_mut(count).enumerate().for_each(|(line, output)| {
        let (first, weights) = taps.get(line % taps.len());
        for (tap, &weight) in weights.iter().enumerate() {
            let input = &source.row(line / taps.len(), first - origin + tap)[from..from + count];
            for (value, pixel) in output.iter_mut().zip(input) {
                *value += pixel * weight;
            }
        }
        finish(output);
    });
    result
}

fn round_levels(levels: &mut [f32]) {
    for level in levels {
        *level = (*level + 0.5).floor().clamp(0.0, 255.0);
    }
}
