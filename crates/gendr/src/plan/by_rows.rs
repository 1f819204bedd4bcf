//! The plan of a picture that is restored from top to bottom, a row of tiles at a time.

use gendr_image::Tile;
use gendr_model::Model;

use super::{Cut, NetworkPass, Plan, SIDES, Sizes, VaePass, work};
use crate::{Error, RestoreOptions, Result, Tiling, footprint::Footprint};

impl Plan {
    /// Bytes of the pictures in full size that are held where everything is in memory.
    ///
    /// # Errors
    /// Those of sizes that make no sense.
    pub(crate) fn bytes_of_pictures(
        model: &Model,
        input: (usize, usize),
        options: &RestoreOptions,
    ) -> Result<u64> {
        let Sizes { target, padded, .. } = Sizes::of(model, input, options)?;
        Ok(Footprint::new(model, padded, target).pictures())
    }

    /// Plans the restoration of a picture whose rows come and go, in at most `memory` bytes beside the weights.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub(crate) fn by_rows(
        model: &Model,
        input: (usize, usize),
        options: &RestoreOptions,
        memory: u64,
    ) -> Result<Self> {
        let networks = &model.networks;
        let Sizes { target, working, padded } = Sizes::of(model, input, options)?;
        let cut = Cut::of(networks);
        let needed = |side: usize| {
            let footprint = Footprint::by_rows(model, padded, target, input, side);
            (cut.needed(side, padded, &footprint), footprint)
        };
        let sides: Vec<usize> = match options.tile {
            Tiling::Size(side) => vec![side],
            Tiling::Auto => SIDES.iter().map(|side| side.next_multiple_of(cut.step)).collect(),
            Tiling::Off => {
                return Err(Error::limit("a picture larger than memory must be restored in tiles")
                    .with_hint("leave out `--tile off`, or allow more with `--memory`"));
            }
        };
        let side = sides.iter().copied().find(|&side| needed(side).0 <= memory).ok_or_else(|| {
            let (bytes, footprint) = needed(sides[sides.len() - 1]);
            footprint.refusal(bytes, memory)
        })?;
        let overlap = cut.overlap(side, options.overlap)?;
        Ok(Self {
            target,
            working,
            padded,
            grid: cut.grid,
            tiles: cut.plan(padded, side, overlap)?,
            tile: (side, overlap),
            network: NetworkPass::Tiles,
            vae: VaePass::Whole,
            work: work(networks, padded, options.guidance),
            bytes: needed(side).0,
        })
    }

    /// The tiles that [`Plan::samples`] are.
    pub(crate) fn sample_tiles(&self) -> Vec<Tile> {
        self.sample_numbers().into_iter().map(|index| self.tiles.tile(index)).collect()
    }
}
