//! Records on disk, read ahead of their use by a thread of its own, within a limit of bytes.

use crate::{Error, Result, files};
use safetensors::tensor::Metadata;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

/// Longest header of a block.
const MAX_HEADER: u64 = 1 << 20;

/// A tensor that lies in blocks: its first axis counts the records of a block.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// The files of the blocks, in order.
    pub(crate) files: Vec<PathBuf>,
    /// Its name in each.
    pub(crate) tensor: &'static str,
    /// Bytes of one record.
    pub(crate) bytes: usize,
}

/// Where the records of a column lie.
#[derive(Debug)]
struct Place {
    file: PathBuf,
    start: u64,
}

/// Records of several columns, each the bytes of all columns one after the other.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Places of the blocks of every column, and bytes of one of its records.
    columns: Vec<(Vec<Place>, usize)>,
    block: usize,
    count: usize,
    /// How many records are kept at once.
    capacity: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    kept: BTreeMap<usize, Arc<[u8]>>,
    wanted: VecDeque<usize>,
    closed: bool,
}

impl ReadAhead {
    /// `count` records of `columns` in blocks of `block`, of which at most `limit` bytes are in memory (but at least one record).
    ///
    /// # Errors
    /// An I/O error, or an input error that names a damaged file.
    pub(crate) fn open(columns: &[Column], block: usize, count: usize, limit: u64) -> Result<Self> {
        let record: usize = columns.iter().map(|column| column.bytes).sum();
        let places = |column: &Column| {
            let place = |file: &PathBuf| {
                let start = find(file, column.tensor, block * column.bytes)?;
                Ok(Place { file: file.clone(), start })
            };
            Ok((column.files.iter().map(place).collect::<Result<Vec<_>>>()?, column.bytes))
        };
        let capacity = (limit / record.max(1) as u64).clamp(1, count.max(1) as u64) as usize;
        let shared = Arc::new(Shared {
            columns: columns.iter().map(places).collect::<Result<_>>()?,
            block,
            count,
            capacity,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let reader = std::thread::Builder::new().name("read-ahead".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.read_ahead()
        })?;
        Ok(Self { shared, reader: Some(reader) })
    }

    /// How many records are in memory at once.
    pub(crate) fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// The records that will be asked for next, in this order; others may be forgotten.
    pub(crate) fn want(&self, upcoming: &[usize]) {
        let upcoming = &upcoming[..upcoming.len().min(self.shared.capacity)];
        let mut state = self.shared.lock();
        if self.shared.capacity < self.shared.count {
            let named: BTreeSet<usize> = upcoming.iter().copied().collect();
            state.kept.retain(|record, _| named.contains(record));
        }
        state.wanted = upcoming.iter().copied().filter(|record| !state.kept.contains_key(record)).collect();
        drop(state);
        self.shared.changed.notify_all();
    }

    /// A record: at once where it was read ahead, else from the disk.
    ///
    /// # Errors
    /// An I/O error where its file can no longer be read.
    pub(crate) fn get(&self, record: usize) -> Result<Arc<[u8]>> {
        if let Some(kept) = self.shared.lock().kept.get(&record) {
            return Ok(kept.clone());
        }
        let bytes = self.shared.read(record)?;
        self.shared.keep(record, bytes.clone());
        Ok(bytes)
    }

    /// Where a column lies in a record.
    pub(crate) fn range(&self, column: usize) -> Range<usize> {
        let sizes = || self.shared.columns.iter().map(|(_, bytes)| bytes);
        let start = sizes().take(column).sum::<usize>();
        start..start + sizes().nth(column).copied().unwrap_or(0)
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(reader) = self.reader.take() {
            // It holds nothing that would have to be saved.
            let _ = reader.join();
        }
    }
}

impl Shared {
    /// Another thread's panic leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, record: usize, bytes: Arc<[u8]>) {
        let mut state = self.lock();
        if state.kept.len() < self.capacity {
            state.kept.insert(record, bytes);
        }
    }

    fn read_ahead(&self) {
        loop {
            let mut state = self.lock();
            while !state.closed && (state.wanted.is_empty() || state.kept.len() >= self.capacity) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed {
                return;
            }
            let Some(record) = state.wanted.pop_front() else { continue };
            let known = state.kept.contains_key(&record);
            drop(state);
            // Whoever asks for a record that cannot be read is told then.
            if let Some(bytes) = (!known).then(|| self.read(record)).and_then(Result::ok) {
                self.keep(record, bytes);
            }
        }
    }

    fn read(&self, record: usize) -> Result<Arc<[u8]>> {
        let mut bytes = Vec::new();
        for (places, size) in &self.columns {
            let place = places
                .get(record / self.block)
                .ok_or_else(|| Error::argument(format!("no block for record {record}")))?;
            let cannot = |error| files::with_path("cannot read", &place.file, error);
            let start = place.start + (record % self.block * size) as u64;
            let from = bytes.len();
            bytes.resize(from + size, 0);
            let mut file = File::open(&place.file).map_err(cannot)?;
            file.seek(SeekFrom::Start(start)).map_err(cannot)?;
            file.read_exact(&mut bytes[from..]).map_err(cannot)?;
        }
        Ok(bytes.into())
    }
}

/// Where the values of a tensor of `bytes` bytes start in a safetensors file.
fn find(path: &Path, tensor: &str, bytes: usize) -> Result<u64> {
    let damaged = |why: &str| {
        Error::input(format!("a damaged block of training pairs, {why}: {}", path.display()))
            .with_hint("delete it; it is made again")
    };
    let cannot = |error| files::with_path("cannot read", path, error);
    let mut file = File::open(path).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len();
    let mut header = vec![0; 8];
    if length < 8 {
        return Err(damaged("it is too short"));
    }
    file.read_exact(&mut header).map_err(cannot)?;
    let size = header.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if size > MAX_HEADER.min(length - 8) {
        return Err(damaged("its header is too long"));
    }
    header.resize(8 + size as usize, 0);
    file.read_exact(&mut header[8..]).map_err(cannot)?;
    let about: Metadata =
        serde_json::from_slice(&header[8..]).map_err(|_| damaged("its header is no header"))?;
    let info = about.info(tensor).ok_or_else(|| damaged(&format!("no tensor `{tensor}`")))?;
    let (start, end) = info.data_offsets;
    if end.checked_sub(start) != Some(bytes)
        || (8 + size).checked_add(end as u64).is_none_or(|end| end > length)
    {
        return Err(damaged(&format!("`{tensor}` has another size")));
    }
    Ok(8 + size + start as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::{Dtype, tensor::TensorView};

    const BLOCK: usize = 4;

    /// Records of three bytes in `a` and two in `b`.
    fn columns(folder: &Path, blocks: usize) -> [Column; 2] {
        let files: Vec<PathBuf> =
            (0..blocks).map(|block| folder.join(format!("{block}.safetensors"))).collect();
        for (block, file) in files.iter().enumerate() {
            let value = |i: usize, width: usize| (block * BLOCK + i / width) as u8;
            let a: Vec<u8> = (0..3 * BLOCK).map(|i| value(i, 3)).collect();
            let b: Vec<u8> = (0..2 * BLOCK).map(|i| value(i, 2) + 100).collect();
            let view =
                |bytes, width| TensorView::new(Dtype::U8, vec![BLOCK, width], bytes).expect("sizes fit");
            let bytes =
                safetensors::serialize([("a", view(&a, 3)), ("b", view(&b, 2))], None).expect("small");
            std::fs::write(file, bytes).expect("room");
        }
        [Column { files: files.clone(), tensor: "a", bytes: 3 }, Column { files, tensor: "b", bytes: 2 }]
    }

    fn wait_for(ahead: &ReadAhead, records: &[usize]) {
        for _ in 0..2000 {
            if records.iter().all(|record| ahead.shared.lock().kept.contains_key(record)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        panic!("{records:?} are not read ahead: {:?}", ahead.shared.lock().kept.keys());
    }

    #[test]
    fn records_are_read_ahead_within_the_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let ahead = ReadAhead::open(&columns(folder.path(), 5), BLOCK, 18, 4 * 5).expect("blocks");
        assert_eq!(ahead.capacity(), 4);
        for start in [0, 3, 11] {
            let upcoming: Vec<usize> = (start..start + 6).collect();
            ahead.want(&upcoming);
            wait_for(&ahead, &upcoming[..4]);
            assert_eq!(ahead.shared.lock().kept.len(), 4, "no more than the limit");
            for record in upcoming {
                let bytes = ahead.get(record).expect("there");
                assert_eq!(bytes[ahead.range(0)], [record as u8; 3]);
                assert_eq!(bytes[ahead.range(1)], [record as u8 + 100; 2]);
                assert!(ahead.shared.lock().kept.len() <= 4);
            }
        }
    }

    #[test]
    fn what_fits_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let ahead = ReadAhead::open(&columns(folder.path(), 2), BLOCK, 8, 1 << 20).expect("blocks");
        ahead.want(&[5, 6]);
        wait_for(&ahead, &[5, 6]);
        ahead.want(&[1]);
        wait_for(&ahead, &[1, 5, 6]);
        std::fs::remove_file(folder.path().join("0.safetensors")).expect("there");
        assert!(ahead.get(1).is_ok(), "in memory");
        assert_eq!(ahead.get(2).expect_err("no file").kind(), crate::ErrorKind::Io);
    }

    #[test]
    fn damaged_blocks_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let columns = columns(folder.path(), 1);
        let path = folder.path().join("0.safetensors");
        let whole = std::fs::read(&path).expect("readable");
        let mut long = whole.clone();
        long[7] = 1;
        for bytes in [&whole[..4], &whole[..20], &whole[..whole.len() - 1], &long] {
            std::fs::write(&path, bytes).expect("room");
            let error = ReadAhead::open(&columns, BLOCK, 4, 100).expect_err("damage");
            assert!(error.to_string().contains("0.safetensors") && error.hint().is_some(), "{error}");
        }
    }
}
