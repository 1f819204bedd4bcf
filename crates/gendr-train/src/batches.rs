//! What a step learns from: pairs drawn from a set, turned at random.

use crate::{
    Result,
    pairs::{Pairs, PairsConfig, Teacher, open_or_make, pairs_folder},
    photos::{Photos, Split},
    progress::Progress,
    regress::TeacherConfig,
    teacher::RealEsrgan,
    trainer::{DataConfig, Paths},
};
use burn::tensor::{Device, Tensor, TensorData};
use gendr_degrade::Draws;
use gendr_image::{Planes, upscale};
use rayon::prelude::*;

/// What the pairs of a step and their turns are drawn from.
const BATCH_STREAM: u64 = 0x6261_7463;

/// A pair of a set and one of the eight turns and reflections of a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) pair: usize,
    pub(crate) turn: usize,
}

/// The `count` picks of a step: they depend on the seed and the step alone. Those of the next steps are read ahead.
pub(crate) fn picks(seed: u64, step: u64, count: usize, pairs: &Pairs) -> Vec<Pick> {
    pairs.want(&upcoming(seed, step, count, pairs.count, pairs.in_memory()));
    picks_of(seed, step, count, pairs.count).collect()
}

/// The next `most` pairs that steps of `count` take from `step` on, out of `total`.
pub(crate) fn upcoming(seed: u64, step: u64, count: usize, total: usize, most: usize) -> Vec<usize> {
    let picks = (step..).flat_map(|step| picks_of(seed, step, count, total));
    picks.map(|pick| pick.pair).take(most).collect()
}

fn picks_of(seed: u64, step: u64, count: usize, total: usize) -> impl Iterator<Item = Pick> {
    let mut draws = Draws::new(seed ^ BATCH_STREAM, step);
    (0..count).map(move |_| Pick { pair: draws.below(total), turn: draws.below(8) })
}

/// Reads the pairs of one split, making those that are missing.
pub(crate) fn read_pairs(
    (seed, data): (u64, &DataConfig),
    paths: &Paths,
    (split, count): (Split, usize),
    teacher: Option<(&str, &dyn Teacher)>,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Pairs> {
    let degradations = data.degradations()?;
    let photos = Photos::list(&data.photos, &paths.data, split)?;
    let pairs = PairsConfig { seed, photos: &data.photos, degradations: &degradations, scale: data.scale };
    let folder = pairs_folder(&paths.cache, &pairs, &photos)?;
    open_or_make(&folder, &pairs, &photos, teacher, (count, data.memory()), progress, cancelled)
}

/// Reads the pairs to learn from, with a teacher's results if there is one, and `held_out` others without.
pub(crate) fn read_taught(
    source: (u64, &DataConfig),
    held_out: usize,
    teacher: Option<&TeacherConfig>,
    paths: &Paths,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<(Pairs, Pairs)> {
    let teacher = match teacher {
        Some(teacher) => Some(RealEsrgan::open(&paths.data.join(&teacher.weights), &paths.device)?),
        None => None,
    };
    let teacher = teacher.as_ref().map(|teacher| ("x4plus", teacher as &dyn Teacher));
    let training = (Split::Training, source.1.pairs);
    let training = read_pairs(source, paths, training, teacher, progress, cancelled)?;
    let held_out = (Split::Validation, held_out);
    Ok((training, read_pairs(source, paths, held_out, None, progress, cancelled)?))
}

/// Reads the pairs to learn from and `held_out` others, without a teacher.
pub(crate) fn read_both(
    source: (u64, &DataConfig),
    held_out: usize,
    paths: &Paths,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<(Pairs, Pairs)> {
    read_taught(source, held_out, None, paths, progress, cancelled)
}

impl Pairs {
    /// The degraded crops of `picks`, enlarged to the size of the sharp ones: `[n, 3, side, side]` in `[-1, 1]`.
    pub(crate) fn enlarged(&self, picks: &[Pick], device: &Device) -> Result<Tensor<4>> {
        let side = self.high_side;
        self.batch(picks, device, |pick| {
            let low = turned(&self.low(pick.pair)?, pick.turn)?;
            Ok(upscale(&low, side, side)?)
        })
    }

    /// The sharp crops of `picks`: `[n, 3, side, side]` in `[-1, 1]`.
    pub(crate) fn sharp(&self, picks: &[Pick], device: &Device) -> Result<Tensor<4>> {
        self.batch(picks, device, |pick| turned(&self.high(pick.pair)?, pick.turn))
    }

    /// What `picks` should become: the teacher's share of its results, the rest sharp. `[n, 3, side, side]` in `[-1, 1]`.
    pub(crate) fn targets(
        &self,
        picks: &[Pick],
        teacher: Option<&TeacherConfig>,
        device: &Device,
    ) -> Result<Tensor<4>> {
        let share = teacher.map_or(0.0, |teacher| teacher.share);
        self.batch(picks, device, |pick| {
            let mut target = self.high(pick.pair)?;
            if share > 0.0 {
                let taught = self.teacher(pick.pair)?;
                let values = target.data_mut().iter_mut().zip(taught.data());
                values.for_each(|(value, taught)| *value += share as f32 * (taught - *value));
            }
            turned(&target, pick.turn)
        })
    }

    /// Pictures of the size of the sharp crops as a batch, from `[0, 1]` to `[-1, 1]`.
    pub(crate) fn batch(
        &self,
        picks: &[Pick],
        device: &Device,
        picture: impl Fn(Pick) -> Result<Planes> + Sync,
    ) -> Result<Tensor<4>> {
        let side = self.high_side;
        let pictures: Vec<Planes> = picks.par_iter().map(|&pick| picture(pick)).collect::<Result<_>>()?;
        let values =
            pictures.iter().flat_map(Planes::data).map(|value| value * 2.0 - 1.0).collect::<Vec<_>>();
        Ok(Tensor::from_data(TensorData::new(values, [picks.len(), 3, side, side]), device))
    }
}

/// One of the eight turns and reflections of a square.
pub(crate) fn turned(picture: &Planes, turn: usize) -> Result<Planes> {
    let side = picture.height();
    let mut values = Vec::with_capacity(picture.data().len());
    for channel in 0..picture.channels() {
        let plane = picture.plane(channel);
        for y in 0..side {
            let y = if turn & 1 == 0 { y } else { side - 1 - y };
            values.extend((0..side).map(|x| {
                let x = if turn & 2 == 0 { x } else { side - 1 - x };
                if turn & 4 == 0 { plane[y * side + x] } else { plane[x * side + y] }
            }));
        }
    }
    Ok(Planes::from_vec(picture.channels(), side, side, values)?)
}
