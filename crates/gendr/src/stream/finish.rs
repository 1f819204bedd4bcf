//! From what the network made to the file: colours, closeness, size, opacity, a band of rows at a time.

use std::fs::File;

use gendr_image::{
    BackProjection, BandedStatistics, ChannelStatistics, ColorFix, ColorSpace, Planes, Rect, Resampling,
    Resize, StripWriter, apply_color_fix, match_statistics,
};

use super::{bands, comparison::Comparison, row_buffer::RowBuffer, source::Enlarged, spool::Spool};
use crate::{
    Result,
    drift::DriftMap,
    plan::Plan,
    restore::{make_grey, mix},
};

/// Brings bands of the generated picture to the file.
pub(super) struct Finisher {
    enlarged: Enlarged,
    fix: Fix,
    /// Rows of the working size.
    height: usize,
    done: usize,
    last: Last,
}

/// How colours are brought back.
enum Fix {
    /// Pixel by pixel, or not at all.
    Pixels(ColorFix),
    /// With the rows around: what was generated waits for them.
    Around(RowBuffer, BackProjection),
    /// By statistics of the whole: what was generated waits on the disk.
    Adain { spool: Spool, made: BandedStatistics, reference: BandedStatistics },
}

impl Finisher {
    pub(super) fn new(
        enlarged: Enlarged,
        fix: ColorFix,
        plan: &Plan,
        result: &std::path::Path,
        last: Last,
    ) -> Result<Self> {
        let fix = match fix {
            ColorFix::Wavelet | ColorFix::Projection => {
                // The bands of the wavelet fix alone where nothing is enlarged.
                let input = if fix == ColorFix::Wavelet { plan.working } else { enlarged.input_size() };
                let projection = BackProjection::new(input, plan.working)?;
                Fix::Around(RowBuffer::new(3, plan.working.0), projection)
            }
            ColorFix::Adain => Fix::Adain {
                spool: Spool::beside(result)?,
                made: BandedStatistics::new(3),
                reference: BandedStatistics::new(3),
            },
            pixels => Fix::Pixels(pixels),
        };
        Ok(Self { enlarged, fix, height: plan.working.1, done: 0, last })
    }

    /// Takes the next rows of the generated picture.
    pub(super) fn push(&mut self, band: &Planes) -> Result<()> {
        for rows in bands(0..band.height()) {
            let made = band.crop(0, rows.start, band.width(), rows.len())?;
            self.push_band(&made)?;
        }
        Ok(())
    }

    fn push_band(&mut self, made: &Planes) -> Result<()> {
        let rows = self.done..self.done + made.height();
        match &mut self.fix {
            Fix::Pixels(fix) => {
                let reference = self.enlarged.rows(rows.clone())?;
                let fixed = apply_color_fix(*fix, made, &reference, self.enlarged.input_size())?;
                self.last.push(fixed)?;
                self.done = rows.end;
            }
            Fix::Around(buffer, projection) => {
                buffer.push(made);
                for rows in bands(self.done..self.height) {
                    let around = projection.rows_for(rows.clone());
                    if around.end > buffer.end() {
                        break;
                    }
                    let reference = self.enlarged.rows(around.clone())?;
                    let restored = buffer.window(around.clone())?;
                    self.last.push(projection.rows(&restored, &reference, around.start, rows.clone())?)?;
                    self.done = rows.end;
                }
                if self.done < self.height {
                    buffer.drop_before(projection.rows_for(self.done..self.height).start);
                }
            }
            Fix::Adain { spool, made: statistics, reference } => {
                statistics.add(made);
                reference.add(&self.enlarged.rows(rows.clone())?);
                spool.write(made)?;
                self.done = rows.end;
            }
        }
        Ok(())
    }

    /// Brings what waits to the file and ends it. Gives the drift where that was asked for.
    pub(super) fn end(mut self) -> Result<Option<DriftMap>> {
        if let Fix::Adain { mut spool, made, reference } = self.fix {
            let (from, to) = spread(&mut spool, &mut self.enlarged, made, reference)?;
            spool.rewind()?;
            while let Some(band) = spool.next()? {
                self.last.push(match_statistics(&band, &from, &to)?)?;
            }
        }
        self.last.end()
    }
}

/// The second pass of both statistics.
fn spread(
    spool: &mut Spool,
    enlarged: &mut Enlarged,
    mut made: BandedStatistics,
    mut reference: BandedStatistics,
) -> Result<(ChannelStatistics, ChannelStatistics)> {
    made.turn();
    reference.turn();
    spool.rewind()?;
    let mut y = 0;
    while let Some(band) = spool.next()? {
        made.add(&band);
        reference.add(&enlarged.rows(y..y + band.height())?);
        y += band.height();
    }
    Ok((made.finish(), reference.finish()))
}

/// The last steps: the size asked for, closeness, the source's colours, opacity.
pub(super) struct Last {
    pub(super) writer: StripWriter<File>,
    pub(super) space: Option<ColorSpace>,
    pub(super) grey: bool,
    /// The opacity of the input.
    pub(super) alpha: Option<Planes>,
    pub(super) target: (usize, usize),
    pub(super) fit: Option<Fit>,
    /// How close to the plainly enlarged input, and this at the size asked for where it counts.
    pub(super) fidelity: f32,
    pub(super) plain: Option<Enlarged>,
    pub(super) comparison: Option<Comparison>,
    /// Colours that the network does not know, at the size asked for.
    pub(super) beyond: Option<Enlarged>,
}

/// From the working size to the size asked for.
pub(super) struct Fit {
    resize: Resize,
    buffer: RowBuffer,
    /// Rows of the working size.
    height: usize,
    /// Rows of the result that are out.
    done: usize,
}

impl Fit {
    /// None where both sizes are one.
    pub(super) fn new(plan: &Plan) -> Result<Option<Self>> {
        if plan.working == plan.target {
            return Ok(None);
        }
        let resize = Resize::to_size(plan.working, plan.target, Resampling::PILLOW_BICUBIC)?;
        Ok(Some(Self { resize, buffer: RowBuffer::new(3, plan.working.0), height: plan.working.1, done: 0 }))
    }

    /// The rows of the result that can be made now.
    fn push(&mut self, band: &Planes) -> Result<Vec<Planes>> {
        self.buffer.push(band);
        let (width, height) = self.resize.output_size();
        let mut made = Vec::new();
        for rows in bands(self.done..height) {
            let window = Rect { x: 0, y: rows.start, width, height: rows.len() };
            let needed = self.resize.source_of(window);
            if needed.y + needed.height > self.buffer.end() {
                break;
            }
            let part = self.buffer.window(needed.y..needed.y + needed.height)?;
            let mut fitted = self.resize.window(&part, (0, needed.y), window)?;
            fitted.map_in_place(|value| value.clamp(0.0, 1.0));
            made.push(fitted);
            self.done = rows.end;
        }
        if self.done < height {
            let next = self.resize.source_of(Rect { x: 0, y: self.done, width, height: 1 });
            self.buffer.drop_before(next.y.min(self.height));
        }
        Ok(made)
    }
}

impl Last {
    fn push(&mut self, band: Planes) -> Result<()> {
        match &mut self.fit {
            None => self.write(band),
            Some(fit) => {
                let made = fit.push(&band)?;
                made.into_iter().try_for_each(|band| self.write(band))
            }
        }
    }

    fn write(&mut self, restored: Planes) -> Result<()> {
        let y = self.writer.rows_written();
        let rows = y..y + restored.height();
        let plain = self.plain.as_mut().map(|plain| plain.rows(rows.clone())).transpose()?;
        let mut color = mix(restored, plain.as_ref(), self.fidelity);
        if let Some(beyond) = &mut self.beyond {
            color.add(&beyond.rows(rows)?);
        }
        if let Some(space) = &self.space {
            space.from_srgb(&mut color);
        }
        if self.grey {
            make_grey(&mut color);
        }
        let alpha = self.alpha.as_ref().map(|alpha| {
            let size = (alpha.width(), alpha.height());
            let resize = Resize::to_size(size, self.target, Resampling::PILLOW_BICUBIC)?;
            let window = Rect { x: 0, y, width: self.target.0, height: color.height() };
            let mut band = resize.window(alpha, (0, 0), window)?;
            band.map_in_place(|value| value.clamp(0.0, 1.0));
            Ok::<_, gendr_image::Error>(band)
        });
        if let Some(comparison) = &mut self.comparison {
            comparison.push(&color)?;
        }
        Ok(self.writer.write(&color, alpha.transpose()?.as_ref())?)
    }

    fn end(self) -> Result<Option<DriftMap>> {
        self.writer.finish()?;
        self.comparison.map(Comparison::end).transpose()
    }
}
