//! The files inside a tar archive (WebDataset shards), found without reading them.

use crate::{Error, Result, files};
use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

const BLOCK: u64 = 512;
/// Longest name read from a header of its own.
const MAX_NAME: u64 = 1 << 16;

/// A file inside an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) archive: PathBuf,
    pub(crate) name: String,
    start: u64,
    pub(crate) length: u64,
}

impl Entry {
    /// The file's bytes, at most `limit` of them.
    pub(crate) fn read(&self, limit: u64) -> Result<Vec<u8>> {
        let cannot = |error| files::with_path("cannot read", &self.archive, error);
        if self.length > limit {
            let message = format!("{} in {} has {} bytes", self.name, self.archive.display(), self.length);
            return Err(Error::limit(message));
        }
        let mut file = File::open(&self.archive).map_err(cannot)?;
        file.seek(SeekFrom::Start(self.start)).map_err(cannot)?;
        let mut bytes = Vec::new();
        file.take(self.length).read_to_end(&mut bytes).map_err(cannot)?;
        if bytes.len() as u64 != self.length {
            return Err(damaged(&self.archive, "it ends too soon"));
        }
        Ok(bytes)
    }
}

/// Lists the plain files of an archive: ustar, with the long names of GNU and pax.
pub(crate) fn entries(archive: &Path) -> Result<Vec<Entry>> {
    let cannot = |error| files::with_path("cannot read", archive, error);
    let mut file = BufReader::new(File::open(archive).map_err(cannot)?);
    let end = file.seek(SeekFrom::End(0)).map_err(cannot)?;
    let (mut place, mut long_name, mut found) = (0, None, Vec::new());
    while place + BLOCK <= end {
        let mut header = [0; BLOCK as usize];
        file.seek(SeekFrom::Start(place)).map_err(cannot)?;
        file.read_exact(&mut header).map_err(cannot)?;
        if header.iter().all(|&byte| byte == 0) {
            break;
        }
        if !checksum_holds(&header) {
            return Err(damaged(archive, "a header's checksum is wrong"));
        }
        let length = number(&header[124..136]).ok_or_else(|| damaged(archive, "a size is no number"))?;
        let start = place + BLOCK;
        let after = length.checked_next_multiple_of(BLOCK).and_then(|padded| start.checked_add(padded));
        place = after.ok_or_else(|| damaged(archive, "a size is too large"))?;
        match header[156] {
            kind @ (b'L' | b'x') => {
                if length > MAX_NAME || start + length > end {
                    return Err(damaged(archive, "a name is too long"));
                }
                let mut bytes = vec![0; length as usize];
                file.read_exact(&mut bytes).map_err(cannot)?;
                let name = if kind == b'L' { Some(text(&bytes)) } else { pax_path(&bytes) };
                long_name = name.or(long_name);
            }
            b'0' | 0 => {
                if start + length > end {
                    return Err(damaged(archive, "it ends too soon"));
                }
                let name = long_name.take().unwrap_or_else(|| short_name(&header));
                found.push(Entry { archive: archive.to_owned(), name, start, length });
            }
            // Folders, links and what else there may be.
            _ => long_name = None,
        }
    }
    Ok(found)
}

/// What an archive ends with.
pub(crate) const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];

/// A plain file of an archive: its header, its bytes, and zeros up to a whole block. Names have at most 99 bytes.
pub(crate) fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0; BLOCK as usize];
    let mut put = |place: usize, text: &[u8]| header[place..place + text.len()].copy_from_slice(text);
    put(0, &name.as_bytes()[..name.len().min(99)]);
    put(100, b"0000644");
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{:011o}", bytes.len()).as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut all = header;
    all.extend(bytes);
    all.resize(all.len().next_multiple_of(BLOCK as usize), 0);
    all
}

/// The sum of the header's bytes, its own field taken as spaces.
fn checksum_holds(header: &[u8; BLOCK as usize]) -> bool {
    let sum: u64 = header
        .iter()
        .enumerate()
        .fold(0, |sum, (i, &byte)| sum + if (148..156).contains(&i) { 32 } else { u64::from(byte) });
    number(&header[148..156]) == Some(sum)
}

/// Octal digits, or GNU's binary form for large numbers.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let bytes = &field[field.len() - 8..];
        return Some(u64::from_be_bytes(bytes.try_into().ok()?)).filter(|size| size >> 62 == 0);
    }
    let digits = text(field);
    u64::from_str_radix(digits.trim(), 8).ok()
}

/// Up to the first zero.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn short_name(header: &[u8; BLOCK as usize]) -> String {
    let prefix = if &header[257..262] == b"ustar" { text(&header[345..500]) } else { String::new() };
    let name = text(&header[..100]);
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}

/// The path in pax records, each "LENGTH KEY=VALUE\n".
fn pax_path(records: &[u8]) -> Option<String> {
    let records = String::from_utf8_lossy(records).into_owned();
    let path = records.lines().find_map(|line| line.split_once(' ')?.1.strip_prefix("path="));
    path.map(str::to_owned)
}

fn damaged(archive: &Path, why: &str) -> Error {
    Error::input(format!("a damaged archive, {why}: {}", archive.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, length: usize, kind: u8) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{length:011o}").as_bytes());
        header[156] = kind;
        header[257..262].copy_from_slice(b"ustar");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        header[154] = 0;
        header
    }

    fn file(name: &str, kind: u8, bytes: &[u8]) -> Vec<u8> {
        let mut all = header(name, bytes.len(), kind);
        all.extend(bytes);
        all.resize(all.len().next_multiple_of(512), 0);
        all
    }

    fn write(parts: &[Vec<u8>]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), parts.concat()).expect("room");
        file
    }

    #[test]
    fn what_is_written_is_found() {
        let parts = [super::file("a.jpg", &[1; 512]), super::file("b.jpg", b"second"), END.to_vec()];
        let tar = write(&parts);
        let found = entries(tar.path()).expect("an archive");
        let names: Vec<_> = found.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a.jpg", "b.jpg"]);
        assert_eq!(found[1].read(100).expect("readable"), b"second");
    }

    #[test]
    fn files_are_found_by_their_short_and_long_names() {
        let long = "d/".repeat(80) + "b.png";
        let pax = format!("{} path=c.webp\n", 15);
        let tar = write(&[
            file("a.jpg", b'0', b"first"),
            file("folder/", b'5', b""),
            file("././@LongLink", b'L', long.as_bytes()),
            file("cut", b'0', &[7; 700]),
            file("pax", b'x', pax.as_bytes()),
            file("cut", b'0', b""),
            vec![0; 1024],
        ]);
        let found = entries(tar.path()).expect("an archive");
        let names: Vec<_> = found.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a.jpg", long.as_str(), "c.webp"]);
        assert_eq!(found[0].read(100).expect("readable"), b"first");
        assert_eq!(found[1].read(1000).expect("readable"), [7; 700]);
        assert_eq!(found[1].read(100).expect_err("a limit").kind(), crate::ErrorKind::Limit);
    }

    #[test]
    fn damage_is_an_input_error() {
        let whole = file("a.jpg", b'0', &[1; 600]);
        let mut wrong = whole.clone();
        wrong[3] ^= 1;
        let mut large = header("a.jpg", 0, b'0');
        large[124] = 0xff;
        for bytes in [whole[..700].to_vec(), wrong, large, vec![b'x'; 2000]] {
            let tar = write(&[bytes]);
            assert_eq!(entries(tar.path()).expect_err("damage").kind(), crate::ErrorKind::Input);
        }
    }
}
