//! The members of a zip archive that lie in it as they are.
//!
//! `torch.save` stores its members uncompressed. Compressed ones are refused, so that nothing is ever inflated: no
//! archive can unpack to more than its own size, and tensors can be used where they lie.

use std::{collections::BTreeMap, ops::Range};

use crate::error::{Error, Result};
use crate::stored_tensor::shown;

const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const END64_LOCATOR: &[u8] = b"PK\x06\x07";
const END64_LOCATOR_SIZE: usize = 20;
const END64: &[u8] = b"PK\x06\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_SIZE: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_SIZE: usize = 30;

/// Most members read: a network of some thousand tensors has one for each.
const MAX_MEMBERS: u64 = 1 << 16;

/// How a zip archive starts.
pub(crate) fn is_zip(file: &[u8]) -> bool {
    file.starts_with(LOCAL)
}

/// The place of each member in `file`, by name.
pub(crate) fn members(file: &[u8]) -> Result<BTreeMap<String, Range<usize>>> {
    let directory = directory(file)?;
    if directory.count > MAX_MEMBERS {
        return Err(Error::limit(format!(
            "archive of {} members, at most {MAX_MEMBERS} are read",
            directory.count
        )));
    }
    let mut members = BTreeMap::new();
    let mut at = directory.start;
    for _ in 0..directory.count {
        let (entry, next) = Entry::read(file, at)?;
        at = next;
        if entry.is_code() {
            continue;
        }
        let place = entry.place(file)?;
        let name = shown(&entry.name);
        if members.insert(entry.name, place).is_some() {
            return Err(Error::input(format!("archive member {name} is there twice")));
        }
    }
    Ok(members)
}

struct Directory {
    start: usize,
    count: u64,
}

/// Finds the directory from the record at the end of the file, which a comment of up to 64 KiB may follow.
fn directory(file: &[u8]) -> Result<Directory> {
    let lowest = file.len().saturating_sub(END_SIZE + usize::from(u16::MAX));
    let end = (lowest..=file.len().saturating_sub(END_SIZE))
        .rev()
        .find(|&at| file[at..].starts_with(END))
        .ok_or_else(|| Error::input("truncated zip archive: no directory at its end"))?;
    let count = u64::from(u16_at(file, end + 10)?);
    let start = u32_at(file, end + 16)?;
    if count != u64::from(u16::MAX) && start != u32::MAX {
        return Ok(Directory { start: start as usize, count });
    }
    let locator = end.checked_sub(END64_LOCATOR_SIZE).ok_or_else(truncated)?;
    expect(file, locator, END64_LOCATOR)?;
    let end64 = offset(u64_at(file, locator + 8)?)?;
    expect(file, end64, END64)?;
    let start = offset(u64_at(file, add(end64, 48)?)?)?;
    Ok(Directory { start, count: u64_at(file, add(end64, 32)?)? })
}

struct Entry {
    name: String,
    stored: bool,
    size: u64,
    local: u64,
}

impl Entry {
    /// The entry at `at` and the place of the next one.
    fn read(file: &[u8], at: usize) -> Result<(Self, usize)> {
        expect(file, at, ENTRY)?;
        let flags = u16_at(file, at + 8)?;
        let method = u16_at(file, at + 10)?;
        let name_size = usize::from(u16_at(file, at + 28)?);
        let extra_size = usize::from(u16_at(file, at + 30)?);
        let comment_size = usize::from(u16_at(file, at + 32)?);
        let name = slice(file, at + ENTRY_SIZE, name_size)?;
        let name = std::str::from_utf8(name)
            .map_err(|error| Error::input("name of an archive member is not UTF-8").with_source(error))?;
        // Sizes and places too large for 32 bits stand in an extra field, only those, in this order.
        let mut wide = Zip64(slice(file, at + ENTRY_SIZE + name_size, extra_size)?).values()?;
        let mut number = |at| match u32_at(file, at)? {
            u32::MAX => wide.next().ok_or_else(truncated),
            number => Ok(u64::from(number)),
        };
        let size = number(at + 24)?;
        let packed = number(at + 20)?;
        let local = number(at + 42)?;
        let stored = method == 0 && flags & 1 == 0 && size == packed;
        let next = at + ENTRY_SIZE + name_size + extra_size + comment_size;
        Ok((Self { name: name.to_owned(), stored, size, local }, next))
    }

    /// Whether it belongs to the program of a TorchScript archive, which is compressed and not needed.
    fn is_code(&self) -> bool {
        !self.stored && self.name.split('/').nth(1) == Some("code")
    }

    /// Where the member's bytes lie: behind a local header that repeats the name.
    fn place(&self, file: &[u8]) -> Result<Range<usize>> {
        if !self.stored {
            let name = shown(&self.name);
            return Err(Error::unsupported(format!("archive member {name} is compressed or encrypted"))
                .with_hint("torch.save does neither: load and save the file with torch, or convert it to safetensors"));
        }
        let local = offset(self.local)?;
        expect(file, local, LOCAL)?;
        let name_size = usize::from(u16_at(file, local + 26)?);
        let extra_size = usize::from(u16_at(file, local + 28)?);
        let start = local + LOCAL_SIZE + name_size + extra_size;
        let end = add(start, offset(self.size)?)?;
        if end > file.len() {
            return Err(Error::input(format!(
                "truncated zip archive: member {} ends at byte {end} of {}",
                shown(&self.name),
                file.len()
            )));
        }
        Ok(start..end)
    }
}

/// The extra fields of an entry, searched for its 64-bit numbers.
struct Zip64<'a>(&'a [u8]);

impl<'a> Zip64<'a> {
    const ID: u16 = 1;

    fn values(self) -> Result<impl Iterator<Item = u64> + use<'a>> {
        let mut fields = self.0;
        let mut found: &[u8] = &[];
        while fields.len() >= 4 {
            let size = usize::from(u16_at(fields, 2)?);
            let value = slice(fields, 4, size)?;
            if u16_at(fields, 0)? == Self::ID {
                found = value;
                break;
            }
            fields = &fields[4 + size..];
        }
        Ok(found.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)))
    }
}

fn truncated() -> Error {
    Error::input("truncated zip archive")
}

fn offset(number: u64) -> Result<usize> {
    usize::try_from(number).map_err(|error| truncated().with_source(error))
}

fn add(a: usize, b: usize) -> Result<usize> {
    a.checked_add(b).ok_or_else(truncated)
}

fn slice(file: &[u8], at: usize, size: usize) -> Result<&[u8]> {
    file.get(at..add(at, size)?).ok_or_else(truncated)
}

fn expect(file: &[u8], at: usize, signature: &[u8]) -> Result<()> {
    if slice(file, at, signature.len())? == signature {
        Ok(())
    } else {
        Err(Error::input("damaged zip archive"))
    }
}

fn array<const SIZE: usize>(file: &[u8], at: usize) -> Result<[u8; SIZE]> {
    slice(file, at, SIZE)?.first_chunk().copied().ok_or_else(truncated)
}

fn u16_at(file: &[u8], at: usize) -> Result<u16> {
    array(file, at).map(u16::from_le_bytes)
}

fn u32_at(file: &[u8], at: usize) -> Result<u32> {
    array(file, at).map(u32::from_le_bytes)
}

fn u64_at(file: &[u8], at: usize) -> Result<u64> {
    array(file, at).map(u64::from_le_bytes)
}
