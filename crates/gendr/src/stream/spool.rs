//! A picture on the disk between two passes over it, gone when the program ends, however it ends.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use gendr_image::Planes;

use crate::{Error, Result};

/// Bands of planes in a file without a name, written once and read again from the start.
pub(super) struct Spool {
    file: File,
    /// Where the system keeps the name of an open file, it is removed at the end.
    named: Option<PathBuf>,
    about: PathBuf,
    /// Channels, rows and columns of each band.
    bands: Vec<[usize; 3]>,
    read: usize,
}

impl Spool {
    /// A spool on the disk where `result` will be.
    ///
    /// # Errors
    /// An I/O error where the folder cannot be written to.
    pub(super) fn beside(result: &Path) -> Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(result.file_name().unwrap_or_default());
        name.push(".spool.gendr-tmp");
        let path = result.with_file_name(name);
        let io = |error| Error::io(error, result);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).map_err(io)?;
        let named = if cfg!(unix) && fs::remove_file(&path).is_ok() { None } else { Some(path) };
        Ok(Self { file, named, about: result.to_owned(), bands: Vec::new(), read: 0 })
    }

    /// Appends a band.
    pub(super) fn write(&mut self, band: &Planes) -> Result<()> {
        let written = self.file.write_all(&bytes_of(band.data()));
        self.bands.push([band.channels(), band.height(), band.width()]);
        written.map_err(|error| Error::io(error, &self.about))
    }

    /// Goes back to the first band.
    pub(super) fn rewind(&mut self) -> Result<()> {
        self.read = 0;
        self.file.seek(SeekFrom::Start(0)).map(drop).map_err(|error| Error::io(error, &self.about))
    }

    /// The next band; none behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Planes>> {
        let Some(&[channels, height, width]) = self.bands.get(self.read) else { return Ok(None) };
        let mut bytes = vec![0; channels * height * width * size_of::<f32>()];
        self.file.read_exact(&mut bytes).map_err(|error| Error::io(error, &self.about))?;
        self.read += 1;
        let values = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect();
        Ok(Some(Planes::from_vec(channels, height, width, values)?))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(path) = &self.named {
            let _ = fs::remove_file(path);
        }
    }
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_come_back_as_often_as_wanted_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::beside(&folder.path().join("a.png")).unwrap();
        let bands = [Planes::filled(3, 2, 5, 0.25), Planes::filled(3, 1, 5, -7.5)];
        bands.iter().for_each(|band| spool.write(band).unwrap());
        for _ in 0..2 {
            spool.rewind().unwrap();
            for band in &bands {
                assert_eq!(spool.next().unwrap().as_ref(), Some(band));
            }
            assert_eq!(spool.next().unwrap(), None);
        }
        drop(spool);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
