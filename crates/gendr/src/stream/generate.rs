//! What the network makes of the picture, from top to bottom: a row of tiles at a time, joined with the next.

use std::ops::Range;

use burn::tensor::Tensor;
use gendr_image::{Planes, Tile, pad_reflect_to};
use gendr_model::{Counted, GuidedPass, GuidedStatistics, RestorationModel};

use super::source::{Enlarged, Source};
use crate::{
    Error, Restorer, Result,
    pixels::{Range as Values, to_raw_planes, to_tensor},
    plan::Plan,
};

/// A network at work on a picture that is never in memory as a whole.
pub(super) struct Generator<'a> {
    restorer: &'a Restorer,
    plan: &'a Plan,
    guidance: f64,
    input: Input,
}

/// What the network reads.
enum Input {
    /// Parts of the enlarged picture.
    Enlarged(Enlarged),
    /// Parts of the picture itself, this many times smaller than the result.
    Plain(Source, usize),
}

/// Whether this family is a network that goes tile by tile and needs nothing else.
pub(super) fn is_possible(networks: &RestorationModel) -> bool {
    matches!(networks, RestorationModel::Pix(_) | RestorationModel::Rrdb(_) | RestorationModel::Compact(_))
}

impl<'a> Generator<'a> {
    pub(super) fn new(restorer: &'a Restorer, plan: &'a Plan, guidance: f64, source: Source) -> Result<Self> {
        let input = match restorer.model.networks.native_scale() {
            Some(scale) => Input::Plain(source, scale),
            None => Input::Enlarged(Enlarged::new(source, plan.working)?),
        };
        Ok(Self { restorer, plan, guidance, input })
    }

    /// Gives bands of rows to `take`, from top to bottom, in `[0, 1]` at the working size; tells `done` of each tile.
    pub(super) fn run(
        &mut self,
        mut done: impl FnMut() -> Result<()>,
        mut take: impl FnMut(Planes) -> Result<()>,
    ) -> Result<()> {
        let statistics = self.statistics()?;
        let (columns, rows) = self.plan.tiles.grid();
        let width = self.plan.padded.0;
        let mut canvas = Planes::filled(3, 0, width, 0.0);
        let mut first = 0;
        for row in 0..rows {
            let tiles: Vec<Tile> =
                (0..columns).map(|column| self.plan.tiles.tile(row * columns + column)).collect();
            let (start, end) = (tiles[0].rect.y, tiles[0].rect.y + tiles[0].rect.height);
            canvas = moved(&canvas, start - first, end - start)?;
            first = start;
            for (tile, part) in tiles.iter().zip(self.inputs(&tiles)?) {
                let made = to_raw_planes(self.network(part, statistics.as_ref())?)?;
                tile.add_to(&mut canvas, (0, start), &made)?;
                done()?;
            }
            let next = if row + 1 == rows { end } else { self.plan.tiles.rect((row + 1) * columns).y };
            let whole = self.finished(&canvas, start..next)?;
            if whole.height() > 0 {
                take(whole)?;
            }
        }
        Ok(())
    }

    /// Rows that no later tile reaches, as a picture: without padding, in range.
    fn finished(&self, canvas: &Planes, rows: Range<usize>) -> Result<Planes> {
        let (width, height) = self.plan.working;
        let end = rows.end.min(height).max(rows.start);
        let mut band = canvas.crop(0, 0, width, end - rows.start)?;
        self.values().to_unit(&mut band)?;
        Ok(band)
    }

    fn values(&self) -> Values {
        match self.input {
            Input::Enlarged(_) => Values::Signed,
            Input::Plain(..) => Values::Unit,
        }
    }

    /// Norm statistics of tiles from all over the picture, for a network that has norms.
    fn statistics(&mut self) -> Result<Option<GuidedStatistics>> {
        let restorer = self.restorer;
        let RestorationModel::Pix(model) = &restorer.model.networks else { return Ok(None) };
        let samples: Vec<Tile> = self.plan.sample_tiles();
        let mut parts = Vec::with_capacity(samples.len());
        for row in samples.chunk_by(|a, b| a.rect.y == b.rect.y) {
            parts.extend(self.inputs(row)?);
        }
        let mut pass = GuidedPass::recording(Counted::all());
        model.restore(Tensor::cat(parts, 0), self.guidance, &mut pass)?;
        Ok(Some(pass.into_statistics()))
    }

    /// What the network reads for tiles that share their rows.
    fn inputs(&mut self, tiles: &[Tile]) -> Result<Vec<Tensor<4>>> {
        let (values, restorer) = (self.values(), self.restorer);
        let Some(first) = tiles.first() else { return Ok(Vec::new()) };
        let inside = |start: usize, length: usize, size: usize| start..(start + length).min(size);
        let (width, height) = self.plan.working;
        let parts = match &mut self.input {
            Input::Enlarged(enlarged) => {
                let rows = inside(first.rect.y, first.rect.height, height);
                let columns: Vec<_> =
                    tiles.iter().map(|tile| inside(tile.rect.x, tile.rect.width, width)).collect();
                let parts = enlarged.windows(rows, &columns)?.into_iter().zip(tiles);
                parts
                    .map(|(part, tile)| Ok(pad_reflect_to(&part, tile.rect.width, tile.rect.height)?))
                    .collect::<Result<Vec<Planes>>>()
            }
            Input::Plain(source, scale) => {
                let (y, rows) = (first.rect.y / *scale, first.rect.height / *scale);
                let band = source.rows(y..y + rows)?;
                let part =
                    |tile: &Tile| Ok(band.crop(tile.rect.x / *scale, 0, tile.rect.width / *scale, rows)?);
                tiles.iter().map(part).collect::<Result<Vec<Planes>>>()
            }
        }?;
        Ok(parts.into_iter().map(|part| to_tensor(part, values, &restorer.tensors)).collect())
    }

    fn network(&self, part: Tensor<4>, statistics: Option<&GuidedStatistics>) -> Result<Tensor<4>> {
        match &self.restorer.model.networks {
            RestorationModel::Pix(model) => {
                let mut pass = statistics.map_or_else(GuidedPass::whole, GuidedPass::given);
                Ok(model.restore(part, self.guidance, &mut pass)?)
            }
            RestorationModel::Rrdb(network) => Ok(network.forward(part)),
            RestorationModel::Compact(network) => Ok(network.forward(part)),
            RestorationModel::Latent(_) | RestorationModel::Adc(_) => {
                Err(Error::unsupported("latents are not made from top to bottom"))
            }
        }
    }
}

/// The canvas `rows` further down and `height` rows high: what both have in common stays, the rest is empty.
fn moved(canvas: &Planes, rows: usize, height: usize) -> Result<Planes> {
    let (width, channels) = (canvas.width(), canvas.channels());
    let kept = canvas.height().saturating_sub(rows).min(height);
    let mut data = Vec::with_capacity(channels * height * width);
    for channel in 0..channels {
        if kept > 0 {
            data.extend_from_slice(&canvas.plane(channel)[rows * width..(rows + kept) * width]);
        }
        data.resize((channel + 1) * height * width, 0.0);
    }
    Ok(Planes::from_vec(channels, height, width, data)?)
}
