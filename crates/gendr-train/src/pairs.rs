//! Pairs of a degraded crop and what it should become, made once and kept on disk.
//!
//! Pair `i` depends on the settings and on `i` alone, so that a set can grow. Pairs are stored in blocks; a block is two
//! files: `pairs-N` with the degraded (`low`) and the sharp (`high`) crops, and `teacher-N` with the teacher's results.

use crate::{
    Error, Result,
    batches::Ahead,
    degradations::Degradations,
    files,
    photos::{Photos, PhotosConfig},
    progress::{Event, Progress},
    read_ahead::{Column, ReadAhead},
    same_size::SameSize,
};
use gendr_degrade::Draws;
use gendr_image::Planes;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Pairs in a block.
pub(crate) const BLOCK: usize = 128;

/// What a photograph, a place in it and a degradation are drawn from, apart from each other.
const PICTURE_STREAM: u64 = 0x7069_6374;
const DEGRADATION_STREAM: u64 = 0x6465_6772;
/// What the choice among several degradations is drawn from.
const CHOICE_STREAM: u64 = 0x6d69_7865;

/// Turns a degraded crop into what the student should make of it: `[0, 1]` to `[0, 1]`, larger by the scale.
pub(crate) trait Teacher {
    /// The results for crops of equal size.
    fn restore(&self, low: &[Planes]) -> Result<Vec<Planes>>;
}

/// What fixes a set of pairs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PairsConfig<'a> {
    pub(crate) seed: u64,
    pub(crate) photos: &'a PhotosConfig,
    /// With their shares.
    pub(crate) degradations: &'a Degradations,
    pub(crate) scale: usize,
}

/// Pairs on disk, 8 bits a value, `[3, side, side]` each; those of the next steps are in memory. Clones share what is read.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    pub(crate) count: usize,
    pub(crate) low_side: usize,
    pub(crate) high_side: usize,
    /// Where they lie.
    pub(crate) folder: PathBuf,
    /// Those whose input is made from the sharp crop at its own size.
    pub(crate) same_size: Option<Arc<SameSize>>,
    records: Arc<ReadAhead>,
    ahead: Arc<Mutex<Ahead>>,
}

impl Pairs {
    /// How many pairs are in memory at once.
    pub(crate) fn in_memory(&self) -> usize {
        self.records.capacity()
    }

    /// The pairs that will be asked for next.
    pub(crate) fn want(&self, upcoming: &[usize]) {
        self.records.want(upcoming);
    }

    /// The batches of the next step. Another thread's panic leaves nothing half done there.
    pub(crate) fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The degraded crop of a pair.
    pub(crate) fn low(&self, pair: usize) -> Result<Planes> {
        self.crop(pair, 0, self.low_side)
    }

    /// The sharp crop of a pair.
    pub(crate) fn high(&self, pair: usize) -> Result<Planes> {
        self.crop(pair, 1, self.high_side)
    }

    /// The teacher's result for a pair.
    pub(crate) fn teacher(&self, pair: usize) -> Result<Planes> {
        self.crop(pair, 2, self.high_side)
    }

    fn crop(&self, pair: usize, column: usize, side: usize) -> Result<Planes> {
        to_planes(&self.records.get(pair)?[self.records.range(column)], side)
    }
}

/// The folder of a set of pairs: its name comes from all that fixes them.
pub(crate) fn pairs_folder(cache: &Path, config: &PairsConfig<'_>, photos: &Photos) -> Result<PathBuf> {
    let settings = serde_json::to_vec_pretty(&(config, photos.file_names()))
        .map_err(|error| Error::argument("settings that cannot be stored").with_source(error))?;
    let folder = cache.join(&blake3::hash(&settings).to_hex()[..16]);
    files::create_folder(&folder)?;
    let file = folder.join("settings.json");
    // Another run may be at work on the same pairs.
    if !file.exists() {
        files::write_atomically(&file, &settings)?;
    }
    Ok(folder)
}

/// Opens `count` pairs in `folder`, making those that are missing; at most `memory` bytes of them are in memory.
pub(crate) fn open_or_make(
    folder: &Path,
    config: &PairsConfig<'_>,
    photos: &Photos,
    teacher: Option<(&str, &dyn Teacher)>,
    (count, memory): (usize, u64),
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Pairs> {
    let high_side = config.photos.crop;
    let low_side = high_side / config.scale;
    let column = |tensor, side: usize| Column { files: Vec::new(), tensor, bytes: 3 * side * side };
    let mut columns = vec![column("low", low_side), column("high", high_side)];
    columns.extend(teacher.map(|_| column("teacher", high_side)));
    let mut skipped = BTreeSet::new();
    for block in 0..count.div_ceil(BLOCK) {
        let path = folder.join(format!("pairs-{block:05}.safetensors"));
        if !path.exists() {
            let (low, high) = make_block(config, photos, block, &mut skipped, progress)?;
            write_block(&path, &[("low", &low, low_side), ("high", &high, high_side)])?;
        }
        if let Some((name, teacher)) = teacher {
            let taught = folder.join(format!("teacher-{name}-{block:05}.safetensors"));
            if !taught.exists() {
                let low = take(&mut read_block(&path)?, "low", low_side, &path)?;
                let results = teach(teacher, &low, low_side)?;
                write_block(&taught, &[("teacher", &results, high_side)])?;
            }
            columns[2].files.push(taught);
        }
        columns[..2].iter_mut().for_each(|column| column.files.push(path.clone()));
        progress.report(Event::Pairs { done: ((block + 1) * BLOCK).min(count), total: count });
        if cancelled() {
            return Err(Error::cancelled());
        }
    }
    let records = Arc::new(ReadAhead::open(&columns, BLOCK, count, memory)?);
    Ok(Pairs {
        count,
        low_side,
        high_side,
        folder: folder.to_owned(),
        same_size: None,
        records,
        ahead: Arc::default(),
    })
}

/// The degraded and the sharp crops of one block, one after the other. Photographs that cannot be used are reported when they
/// come into `skipped`.
fn make_block(
    config: &PairsConfig<'_>,
    photos: &Photos,
    block: usize,
    skipped: &mut BTreeSet<usize>,
    progress: &dyn Progress,
) -> Result<(Vec<u8>, Vec<u8>)> {
    // Every photograph is read once a block.
    let mut by_photo: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in block * BLOCK..(block + 1) * BLOCK {
        by_photo
            .entry(photos.pick(&mut Draws::new(config.seed ^ PICTURE_STREAM, index as u64)))
            .or_default()
            .push(index);
    }
    let make = |photo: usize, indices: &[usize]| -> Result<Vec<(usize, Planes, Planes)>> {
        let picture = photos.read(photo)?;
        indices.iter().map(|&index| make_pair(config, photos, &picture, index)).collect()
    };
    let made: Vec<_> = by_photo.par_iter().map(|(&photo, indices)| (photo, make(photo, indices))).collect();
    let mut pairs = Vec::new();
    let mut last_error = None;
    for (photo, result) in made {
        match result {
            Ok(some) => pairs.extend(some),
            Err(error) => {
                let error = photos.named(photo, error);
                if skipped.insert(photo) {
                    progress.report(Event::Skipped(&error.to_string()));
                }
                last_error = Some(error);
            }
        }
    }
    if pairs.is_empty() {
        return Err(last_error.unwrap_or_else(|| Error::argument("no pairs")));
    }
    pairs.sort_by_key(|pair| pair.0);
    // Pairs of unreadable photographs are replaced by others of the block.
    let whole = pairs.iter().cycle().take(BLOCK);
    Ok(whole.fold((Vec::new(), Vec::new()), |(mut low, mut high), pair| {
        low.extend(to_bytes(&pair.1));
        high.extend(to_bytes(&pair.2));
        (low, high)
    }))
}

fn make_pair(
    config: &PairsConfig<'_>,
    photos: &Photos,
    photo: &Planes,
    index: usize,
) -> Result<(usize, Planes, Planes)> {
    let mut draws = Draws::new(config.seed ^ PICTURE_STREAM, index as u64);
    photos.pick(&mut draws);
    let high = photos.cut(photo, &mut draws)?;
    let seeds = [CHOICE_STREAM, DEGRADATION_STREAM].map(|stream| config.seed ^ stream);
    Ok((index, config.degradations.apply(&high, index, seeds)?, high))
}

fn teach(teacher: &dyn Teacher, low: &[u8], side: usize) -> Result<Vec<u8>> {
    let crops: Result<Vec<Planes>> =
        low.chunks_exact(3 * side * side).map(|crop| to_planes(crop, side)).collect();
    Ok(teacher.restore(&crops?)?.iter().flat_map(to_bytes).collect())
}

/// 8-bit values of a picture in `[0, 1]`.
pub(crate) fn to_bytes(picture: &Planes) -> Vec<u8> {
    picture.data().iter().map(|value| (value * 255.0).round_ties_even().clamp(0.0, 255.0) as u8).collect()
}

/// A square RGB picture in `[0, 1]`.
pub(crate) fn to_planes(bytes: &[u8], side: usize) -> Result<Planes> {
    Ok(Planes::from_vec(3, side, side, bytes.iter().map(|&level| f32::from(level) / 255.0).collect())?)
}

fn write_block(path: &Path, tensors: &[(&str, &[u8], usize)]) -> Result<()> {
    let tensors: Vec<_> = tensors
        .iter()
        .map(|&(name, bytes, side)| (name, bytes, vec![bytes.len() / (3 * side * side), 3, side, side]))
        .collect();
    write_tensors(path, Dtype::U8, &tensors)
}

/// Writes a block of tensors, whole or not at all.
pub(crate) fn write_tensors(path: &Path, dtype: Dtype, tensors: &[(&str, &[u8], Vec<usize>)]) -> Result<()> {
    let views = tensors
        .iter()
        .map(|(name, bytes, shape)| TensorView::new(dtype, shape.clone(), bytes).map(|view| (*name, view)));
    let damaged = |error| Error::argument("a block that cannot be stored").with_source(error);
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(damaged)?;
    files::write_atomically(path, &safetensors::serialize(views, None).map_err(damaged)?)
}

fn read_block(path: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let bytes = files::read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| {
        Error::input(format!("a damaged block of training pairs: {}", path.display()))
            .with_hint("delete it; it is made again")
            .with_source(error)
    })?;
    Ok(file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect())
}

fn take(stored: &mut BTreeMap<String, Vec<u8>>, name: &str, side: usize, path: &Path) -> Result<Vec<u8>> {
    let bytes = stored.remove(name).filter(|bytes| bytes.len() == BLOCK * 3 * side * side);
    bytes.ok_or_else(|| {
        Error::input(format!("a block of training pairs without {BLOCK} crops `{name}`: {}", path.display()))
            .with_hint("delete it; it is made again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photos::Split;
    use crate::progress::Silent;
    use gendr_degrade::DegradationConfig;
    use std::{cell::RefCell, fs};

    /// Keeps what was skipped.
    #[derive(Default)]
    struct Listener(RefCell<Vec<String>>);

    impl Progress for Listener {
        fn report(&self, event: Event<'_>) {
            if let Event::Skipped(reason) = event {
                self.0.borrow_mut().push(reason.to_owned());
            }
        }
    }

    /// Enlarges by repeating pixels and counts its calls.
    struct Repeat(std::cell::Cell<usize>);

    impl Teacher for Repeat {
        fn restore(&self, low: &[Planes]) -> Result<Vec<Planes>> {
            self.0.set(self.0.get() + 1);
            let enlarge = |crop: &Planes| {
                let size = (4 * crop.width(), 4 * crop.height());
                Ok(gendr_image::resize(crop, size.0, size.1, gendr_image::Resampling::TORCH_AREA)?)
            };
            low.iter().map(enlarge).collect()
        }
    }

    fn make(root: &Path, seed: u64, count: usize, teacher: &Repeat) -> Result<Pairs> {
        make_heard(root, seed, count, teacher, &Silent)
    }

    fn make_heard(
        root: &Path,
        seed: u64,
        count: usize,
        teacher: &Repeat,
        progress: &dyn Progress,
    ) -> Result<Pairs> {
        let photos_config = PhotosConfig { folders: vec!["photos".into()], crop: 32, candidates: 2 };
        let degradations = Degradations::new(vec![(1.0, DegradationConfig::preset("first-order", 4)?)]);
        let photos = Photos::list(&photos_config, root, Split::Training)?;
        let config = PairsConfig { seed, photos: &photos_config, degradations: &degradations, scale: 4 };
        let folder = pairs_folder(&root.join("cache"), &config, &photos)?;
        let repeat = Some(("repeat", teacher as &dyn Teacher));
        open_or_make(&folder, &config, &photos, repeat, (count, 1 << 30), progress, &|| false)
    }

    fn folder_of_photos(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        let photos = root.path().join("photos");
        fs::create_dir(&photos).expect("a new folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let mut jpegs: Vec<PathBuf> = fs::read_dir(source)
            .expect("example photographs")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "jpg"))
            .collect();
        jpegs.sort();
        for name in names {
            fs::copy(jpegs.first().expect("an example JPEG"), photos.join(name)).expect("room");
        }
        root
    }

    #[test]
    fn a_set_can_grow_and_is_made_once() {
        let root = folder_of_photos(&["a.jpg", "b.jpg"]);
        let teacher = Repeat(std::cell::Cell::new(0));
        let few = make(root.path(), 1, 20, &teacher).expect("photographs");
        let more = make(root.path(), 1, BLOCK + 5, &teacher).expect("photographs");
        assert_eq!(teacher.0.get(), 2, "one call a block, none for what is stored");
        assert_eq!((few.count, few.low_side, few.high_side), (20, 8, 32));
        let other = make(root.path(), 2, 20, &teacher).expect("photographs");
        let lows = |pairs: &Pairs| (0..20).map(|pair| pairs.low(pair).expect("there")).collect::<Vec<_>>();
        assert_eq!(lows(&few), lows(&more));
        assert_ne!(lows(&few), lows(&other));
        for pair in 0..20 {
            assert_eq!(few.high(pair).expect("there"), more.high(pair).expect("there"));
            assert_eq!(few.teacher(pair).expect("there"), more.teacher(pair).expect("there"));
        }
    }

    #[test]
    fn a_damaged_block_is_named_and_an_unreadable_photograph_skipped() {
        let root = folder_of_photos(&["a.jpg", "b.jpg"]);
        fs::write(root.path().join("photos/c.jpg"), vec![0; 300_000]).expect("room");
        let teacher = Repeat(std::cell::Cell::new(0));
        let listener = Listener::default();
        let pairs = make_heard(root.path(), 1, 2 * BLOCK, &teacher, &listener).expect("two good photographs");
        assert_eq!(pairs.count, 2 * BLOCK);
        let heard = listener.0.take();
        assert!(
            heard.len() == 1 && heard[0].ends_with("c.jpg"),
            "once, though two blocks lack it: {heard:?}"
        );
        let cache = fs::read_dir(root.path().join("cache"))
            .expect("made")
            .next()
            .expect("one set")
            .expect("readable");
        let block = cache.path().join("pairs-00000.safetensors");
        fs::write(&block, b"short").expect("room");
        let error = make(root.path(), 1, 9, &teacher).expect_err("a damaged block");
        assert!(error.to_string().ends_with("pairs-00000.safetensors") && error.hint().is_some(), "{error}");
    }

    #[test]
    fn folders_without_photographs_are_an_argument_error() {
        let root = folder_of_photos(&[]);
        let error = make(root.path(), 1, 1, &Repeat(std::cell::Cell::new(0))).expect_err("an empty folder");
        assert_eq!(error.kind(), crate::ErrorKind::Argument);
    }
}
