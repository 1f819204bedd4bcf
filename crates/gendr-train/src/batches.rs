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
use gendr_degrade::{Draws, sharpen};
use gendr_image::{Planes, Resampling, resize, upscale};
use rayon::prelude::*;
use std::{
    ops::Range,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
};

/// What the pairs of a step and their turns are drawn from.
const BATCH_STREAM: u64 = 0x6261_7463;

/// How many times smaller the copy is that holds no detail.
const DETAIL_FACTOR: usize = 8;

/// A pair of a set and one of the eight turns and reflections of a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) pair: usize,
    pub(crate) turn: usize,
}

/// The `count` picks of a step: they depend on the seed and the step alone. Those of the next steps are read ahead.
pub(crate) fn picks(seed: u64, step: u64, count: usize, pairs: &Pairs) -> Vec<Pick> {
    pairs.want(&upcoming(seed, step, count, pairs.count, pairs.in_memory()));
    let of = |step| picks_of(seed, step, count, pairs.count).collect::<Vec<_>>();
    let picks = of(step);
    pairs.begin(picks.clone(), of(step + 1));
    picks
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

/// Reads the pairs of one split, making those that are missing. Those to learn from have inputs of the result's size among them.
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
    let mut made =
        open_or_make(&folder, &pairs, &photos, teacher, (count, data.memory()), progress, cancelled)?;
    let same_size = data.same_size.as_ref().filter(|_| split == Split::Training);
    made.same_size = same_size.map(|config| config.with_seed(seed)).transpose()?.map(Arc::new);
    Ok(made)
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

/// What a batch shows of its pairs.
#[derive(Clone, Debug, PartialEq)]
enum View {
    Enlarged,
    Sharp,
    Target(Option<TeacherConfig>),
}

/// The batches of the next step, which a thread of its own makes while this one is taken: those that this one asks for.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    picks: Vec<Pick>,
    next: Vec<Pick>,
    /// What this step asked for, by place among its picks.
    asked: Vec<(View, Range<usize>)>,
    made: Vec<Made>,
}

/// A batch in the making.
#[derive(Debug)]
struct Made {
    view: View,
    picks: Vec<Pick>,
    values: Receiver<Result<Vec<f32>>>,
}

impl Ahead {
    /// Notes what is asked for, and finds it where it was made.
    fn ask(&mut self, view: &View, picks: &[Pick]) -> Option<Made> {
        let place = self.picks.windows(picks.len().max(1)).position(|window| window == picks);
        self.asked.extend(place.map(|place| (view.clone(), place..place + picks.len())));
        let found = self.made.iter().position(|made| made.view == *view && made.picks == picks);
        found.map(|found| self.made.swap_remove(found))
    }
}

impl Pairs {
    /// A step with `picks` begins; what the one before it asked for is made for the step after it, with `next`.
    fn begin(&self, picks: Vec<Pick>, next: Vec<Pick>) {
        let mut ahead = self.ahead();
        let asked = std::mem::take(&mut ahead.asked);
        let foreseen = ahead.next == picks;
        // What was made for an earlier step and not fetched is of no use any more.
        let fresh = |made: &Made| foreseen && made.picks.iter().all(|pick| picks.contains(pick));
        ahead.made.retain(fresh);
        let mut jobs = Vec::with_capacity(asked.len());
        for (view, place) in asked {
            let (picks, (sender, values)) = (next[place].to_vec(), channel());
            jobs.push((view.clone(), picks.clone(), sender));
            ahead.made.push(Made { view, picks, values });
        }
        (ahead.picks, ahead.next) = (picks, next);
        if !jobs.is_empty() {
            let pairs = self.clone();
            std::thread::spawn(move || {
                for (view, picks, sender) in jobs {
                    // Nobody waits any more where the run has ended.
                    let _ = sender.send(pairs.values(&view, &picks));
                }
            });
        }
    }

    /// The degraded crops of `picks`, enlarged to the size of the sharp ones: `[n, 3, side, side]` in `[-1, 1]`.
    pub(crate) fn enlarged(&self, picks: &[Pick], device: &Device) -> Result<Tensor<4>> {
        self.batch(&View::Enlarged, picks, device)
    }

    /// The sharp crops of `picks`: `[n, 3, side, side]` in `[-1, 1]`.
    pub(crate) fn sharp(&self, picks: &[Pick], device: &Device) -> Result<Tensor<4>> {
        self.batch(&View::Sharp, picks, device)
    }

    /// What `picks` should become: the teacher's share of its results, the rest sharp; sharpened if
    /// asked. `[n, 3, side, side]` in `[-1, 1]`.
    pub(crate) fn targets(
        &self,
        picks: &[Pick],
        teacher: Option<&TeacherConfig>,
        device: &Device,
    ) -> Result<Tensor<4>> {
        self.batch(&View::Target(teacher.cloned()), picks, device)
    }

    fn batch(&self, view: &View, picks: &[Pick], device: &Device) -> Result<Tensor<4>> {
        let made = self.ahead().ask(view, picks);
        let values = match made.and_then(|made| made.values.recv().ok()) {
            Some(values) => values?,
            None => self.values(view, picks)?,
        };
        let side = self.high_side;
        Ok(Tensor::from_data(TensorData::new(values, [picks.len(), 3, side, side]), device))
    }

    /// Pictures of the size of the sharp crops one after the other, from `[0, 1]` to `[-1, 1]`.
    fn values(&self, view: &View, picks: &[Pick]) -> Result<Vec<f32>> {
        let side = self.high_side;
        let mut values = vec![0.0; picks.len() * 3 * side * side];
        values.par_chunks_mut(3 * side * side).zip(picks).try_for_each(|(values, &pick)| -> Result<()> {
            let picture = self.picture(view, pick)?;
            values.iter_mut().zip(picture.data()).for_each(|(value, unit)| *value = unit * 2.0 - 1.0);
            Ok(())
        })?;
        Ok(values)
    }

    fn picture(&self, view: &View, pick: Pick) -> Result<Planes> {
        let side = self.high_side;
        let same_size = self.same_size.as_ref().filter(|same_size| same_size.has(pick.pair));
        match (view, same_size) {
            (View::Enlarged, Some(same_size)) => {
                turned(&same_size.input(pick.pair, &self.high(pick.pair)?)?, pick.turn)
            }
            // A teacher would enlarge it.
            (View::Target(_), Some(_)) | (View::Sharp | View::Target(None), _) => {
                turned(&self.high(pick.pair)?, pick.turn)
            }
            (View::Enlarged, None) => Ok(upscale(&turned(&self.low(pick.pair)?, pick.turn)?, side, side)?),
            (View::Target(Some(teacher)), None) => {
                let target = led_by(self.high(pick.pair)?, &self.teacher(pick.pair)?, teacher)?;
                turned(&target, pick.turn)
            }
        }
    }
}

/// The sharp picture, a share of the way to the teacher's, of that way the detail alone if asked; sharpened if asked.
fn led_by(sharp: Planes, taught: &Planes, teacher: &TeacherConfig) -> Result<Planes> {
    let mut way = taught.clone();
    way.data_mut().iter_mut().zip(sharp.data()).for_each(|(way, sharp)| *way -= sharp);
    if teacher.detail_only {
        let (width, height) = (way.width(), way.height());
        let small = |side: usize| (side / DETAIL_FACTOR).max(1);
        let small = resize(&way, small(width), small(height), Resampling::PILLOW_BICUBIC)?;
        let smooth = resize(&small, width, height, Resampling::PILLOW_BICUBIC)?;
        way.data_mut().iter_mut().zip(smooth.data()).for_each(|(way, smooth)| *way -= smooth);
    }
    let (mut target, share) = (sharp, teacher.share as f32);
    target.data_mut().iter_mut().zip(way.data()).for_each(|(value, way)| *value += share * way);
    match &teacher.sharpen {
        Some(how) => Ok(sharpen(&target, how)?),
        None => Ok(target),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        degradations::Degradations,
        pairs::{PairsConfig, open_or_make, pairs_folder},
        photos::{Photos, PhotosConfig, Split},
        progress::Silent,
        same_size::SameSizeConfig,
        trainer::Presets,
    };
    use burn::tensor::Tolerance;
    use gendr_degrade::{DegradationConfig, SharpenConfig};
    use std::path::Path;

    fn picture(value: impl Fn(usize, usize) -> f32) -> Planes {
        let values = (0..3 * 32 * 32).map(|i| value(i / 32 % 32, i % 32)).collect();
        Planes::from_vec(3, 32, 32, values).expect("a picture")
    }

    #[test]
    fn of_a_teacher_the_detail_alone_is_taken_if_asked() {
        let checks = |y: usize, x: usize| if (x + y).is_multiple_of(2) { 0.1 } else { -0.1 };
        let sharp = picture(|_, x| x as f32 / 64.0);
        // Too bright, and with a texture of its own.
        let taught = picture(|y, x| x as f32 / 64.0 + 0.2 + checks(y, x));
        let want = picture(|y, x| x as f32 / 64.0 + checks(y, x));
        let teacher =
            |share, detail_only| TeacherConfig { weights: "none".into(), share, detail_only, sharpen: None };
        let found = led_by(sharp.clone(), &taught, &teacher(1.0, true)).expect("a target");
        let away = |a: &Planes, b: &Planes| {
            a.data().iter().zip(b.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(away(&found, &want) < 0.01, "{}", away(&found, &want));
        assert!(
            away(&led_by(sharp.clone(), &taught, &teacher(1.0, false)).expect("a target"), &taught) < 1e-6
        );
        assert!(away(&led_by(sharp.clone(), &taught, &teacher(0.0, true)).expect("a target"), &sharp) < 1e-6);
        // Sharpened is what the same comes out as without, sharpened.
        let how = SharpenConfig { weight: 1.0, kernel: 7, sigma: 0.8, threshold: 0.0 };
        let with = TeacherConfig { sharpen: Some(how), ..teacher(1.0, true) };
        let sharper = led_by(sharp.clone(), &taught, &with).expect("a target");
        assert!(away(&sharper, &found) > 0.05, "checks of 0.1 grow");
        assert!(away(&sharper, &sharpen(&found, &how).expect("sharpened")) < 1e-6);
    }

    /// Sixteen pairs of one photograph, under `root`.
    fn some_pairs(root: &Path) -> Pairs {
        let photos = root.join("photos");
        std::fs::create_dir_all(&photos).expect("room");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/dogs.jpg");
        std::fs::copy(source, photos.join("a.jpg")).expect("room");
        let photos = PhotosConfig { folders: vec!["photos".into()], crop: 32, candidates: 1 };
        let bicubic = DegradationConfig::preset("bicubic", 4).expect("a preset");
        let degradations = Degradations::new(vec![(1.0, bicubic)]);
        let list = Photos::list(&photos, root, Split::Training).expect("a photograph");
        let config = PairsConfig { seed: 1, photos: &photos, degradations: &degradations, scale: 4 };
        let folder = pairs_folder(&root.join("cache"), &config, &list).expect("room");
        open_or_make(&folder, &config, &list, None, (16, 1 << 20), &Silent, &|| false).expect("pairs")
    }

    #[test]
    fn a_share_of_the_inputs_has_the_size_of_the_result() {
        let root = tempfile::tempdir().expect("a folder");
        let enlarged = some_pairs(root.path());
        let with = |share, preset: &str| {
            let config = SameSizeConfig { share, preset: Presets::One(preset.to_owned()) };
            let mut pairs = some_pairs(root.path());
            pairs.same_size = Some(Arc::new(config.with_seed(3).expect("a preset")));
            pairs
        };
        let device = Device::flex();
        let picks: Vec<Pick> = (0..16).map(|pair| Pick { pair, turn: pair % 8 }).collect();
        let teacher = TeacherConfig { weights: "none".into(), share: 1.0, detail_only: true, sharpen: None };
        let one = |pairs: &Pairs, pick| pairs.enlarged(&[pick], &device).expect("pairs").into_data();
        let sharp = |pick| enlarged.sharp(&[pick], &device).expect("pairs").into_data();
        // What is not gone bad at its own size is to stay as it is, whatever a teacher would say.
        let (all, half) = (with(1.0, "bicubic"), with(0.5, "bicubic"));
        let mut kept = 0;
        for &pick in &picks {
            one(&all, pick).assert_approx_eq(&sharp(pick), Tolerance::<f32>::absolute(1e-6));
            let target = all.targets(&[pick], Some(&teacher), &device).expect("pairs").into_data();
            assert_eq!(target, sharp(pick));
            let is_kept = one(&half, pick) != one(&enlarged, pick);
            assert_eq!(is_kept, half.same_size.as_ref().expect("given").has(pick.pair));
            kept += usize::from(is_kept);
        }
        assert!((4..=12).contains(&kept), "{kept}");
        let noisy = with(1.0, "mild");
        assert!(picks.iter().all(|&pick| one(&noisy, pick) != sharp(pick)));
        assert_eq!(one(&noisy, picks[3]), one(&with(1.0, "mild"), picks[3]));
    }

    #[test]
    fn batches_made_ahead_are_those_asked_for() {
        let root = tempfile::tempdir().expect("a folder");
        let (ahead, plain) = (some_pairs(root.path()), some_pairs(root.path()));
        let device = Device::flex();
        let values = |batch: Result<Tensor<4>>| batch.expect("pairs").into_data();
        for step in 0..5 {
            let picks = picks(7, step, 6, &ahead);
            // Five batches a step, known from the step before; in the making for this step and the next.
            assert_eq!(ahead.ahead().made.len(), 5 * (step as usize).min(2));
            for picks in picks.chunks(3) {
                assert_eq!(values(ahead.enlarged(picks, &device)), values(plain.enlarged(picks, &device)));
                assert_eq!(values(ahead.sharp(picks, &device)), values(plain.sharp(picks, &device)));
            }
            // A second time, as losses on pictures do.
            let first = &picks[..3];
            assert_eq!(values(ahead.sharp(first, &device)), values(plain.sharp(first, &device)));
        }
        // A step that comes out of turn finds nothing ready.
        let picks = picks(7, 40, 6, &ahead);
        assert_eq!(values(ahead.sharp(&picks, &device)), values(plain.sharp(&picks, &device)));
    }
}
