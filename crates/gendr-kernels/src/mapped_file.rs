//! A file seen as a slice of memory.

use std::{fs::File, io, path::Path};

/// A read-only memory map of a whole file: its pages are read when they are first touched and shared with every other
/// process that maps the same file.
///
/// The file must not be changed while it is mapped: a file that is truncated meanwhile ends the program when a missing
/// page is touched, as everywhere where files are mapped. Replacing it by renaming another one over it is safe.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::InvalidInput`] when `path` is not a plain file (opening a pipe would
    /// wait for ever).
    pub fn open(path: &Path) -> io::Result<Self> {
        if !path.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
        }
        let file = File::open(path)?;
        // SAFETY: the map is read-only and private to this value, so the program itself cannot change the bytes behind
        // the slices it hands out. Another program could change the file: readers check what they take from the map as
        // they check any outside data, and the type's documentation names this condition.
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self(map))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_what_the_file_holds() {
        let path = std::env::temp_dir().join(format!("gendr-mapped-{}", std::process::id()));
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(MappedFile::open(&path).unwrap().as_ref(), b"abc");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(MappedFile::open(&path).unwrap().as_ref(), b"");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn refuses_what_is_no_plain_file() {
        let error = MappedFile::open(&std::env::temp_dir()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(MappedFile::open(Path::new("no/such/file")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
