//! Changes to an EXIF block that move nothing.

use super::{Directory, Entry, FieldType, Order, tag};

/// Bytes before the first directory may stand.
const HEADER: usize = 8;

/// A directory entry where it stands.
#[derive(Clone, Copy)]
struct Slot {
    /// Of its twelve bytes.
    at: usize,
    tag: u16,
    kind: u16,
    count: u32,
}

/// The orientation that the block gives.
pub(crate) fn orientation(block: &[u8]) -> Option<u16> {
    number(block, tag::ORIENTATION).and_then(|number| u16::try_from(number).ok())
}

/// Says that the pixels stand upright.
pub(crate) fn set_upright(block: &mut [u8]) {
    set_number(block, tag::ORIENTATION, 1);
}

/// The one SHORT or LONG of a field of the main directory.
pub(crate) fn number(block: &[u8], tag: u16) -> Option<u32> {
    let order = Order::of(block)?;
    read_number(block, order, find(block, order, main_directory(block, order)?, tag)?)
}

/// Overwrites the one SHORT or LONG of a field of the main directory, where there is one.
pub(crate) fn set_number(block: &mut [u8], tag: u16, value: u32) {
    if let Some(order) = Order::of(block)
        && let Some(main) = main_directory(block, order)
        && let Some(slot) = find(block, order, main, tag)
    {
        write_number(block, order, slot, value);
    }
}

/// Brings the tags of the picture's size up to date, where there are any.
pub(crate) fn set_dimensions(block: &mut [u8], width: u32, height: u32) {
    let Some(order) = Order::of(block) else { return };
    let Some(main) = main_directory(block, order) else { return };
    let places = [
        (Some(main), tag::IMAGE_WIDTH, width),
        (Some(main), tag::IMAGE_LENGTH, height),
        (sub_directory(block, order, main, tag::EXIF_DIRECTORY), tag::PIXEL_X_DIMENSION, width),
        (sub_directory(block, order, main, tag::EXIF_DIRECTORY), tag::PIXEL_Y_DIMENSION, height),
    ];
    for (directory, tag, value) in places {
        if let Some(slot) = directory.and_then(|directory| find(block, order, directory, tag)) {
            write_number(block, order, slot, value);
        }
    }
}

/// Removes the thumbnail, which shows another picture by now. Its bytes are cut off where they end the block and blanked
/// where not. Returns whether there was one.
pub(crate) fn remove_thumbnail(block: &mut Vec<u8>) -> bool {
    let Some((order, next_at)) = Order::of(block).and_then(|order| {
        let main = main_directory(block, order)?;
        Some((order, main + 2 + 12 * usize::from(order.u16(block, main)?)))
    }) else {
        return false;
    };
    let Some(second) = order.u32(block, next_at).filter(|&offset| offset != 0) else { return false };
    let number =
        |tag| find(block, order, second as usize, tag).and_then(|slot| read_number(block, order, slot));
    let data = number(tag::THUMBNAIL_OFFSET).zip(number(tag::THUMBNAIL_LENGTH));
    block[next_at..next_at + 4].fill(0);
    if let Some((offset, length)) = data {
        let start = (offset as usize).min(block.len());
        let end = start.saturating_add(length as usize).min(block.len());
        if end == block.len() && start > next_at + 4 {
            block.truncate(start);
        } else if start > next_at + 4 {
            block[start..end].fill(0);
        }
    }
    true
}

/// Removes the GPS directory and blanks its values. Returns whether there was one.
pub(crate) fn remove_gps(block: &mut [u8]) -> bool {
    let Some((order, main)) = Order::of(block).and_then(|order| Some((order, main_directory(block, order)?)))
    else {
        return false;
    };
    let Some(slot) = find(block, order, main, tag::GPS_DIRECTORY) else { return false };
    // Read before anything is blanked: in a damaged block the directories may overlap.
    let count = usize::from(order.u16(block, main).unwrap_or(1)).max(1);
    let end = (main + 2 + 12 * count).min(block.len()).max(slot.at + 12);
    let link: [u8; 4] = order.u32_bytes(order.u32(block, end).unwrap_or(0));
    if let Some(directory) = sub_directory(block, order, main, tag::GPS_DIRECTORY) {
        blank_directory(block, order, directory);
    }
    // The entries behind it move up; the freed place becomes the end of the directory, before the link to the next.
    block.copy_within(slot.at + 12..end, slot.at);
    block[end - 12..end].fill(0);
    block[end - 12..end - 8].copy_from_slice(&link);
    block[main..main + 2].copy_from_slice(&order.u16_bytes((count - 1) as u16));
    true
}

/// The main directory with all values left where they are: one of more than four bytes is its offset in the block. What
/// leads out of the block is left out.
pub(crate) fn main_in_place(block: &[u8]) -> Option<(Order, Directory)> {
    let order = Order::of(block)?;
    let below = [tag::EXIF_DIRECTORY, tag::GPS_DIRECTORY];
    let entry = |slot: Slot| -> Option<Entry> {
        let kind = FieldType::from_code(slot.kind)?;
        let value = block.get(slot.at + 8..slot.at + 12)?.to_vec();
        let length = if below.contains(&slot.tag) { 6 } else { kind.bytes(slot.count) };
        let end = (order.u32(block, slot.at + 8)? as usize).checked_add(length)?;
        (length <= 4 || end <= block.len()).then_some(Entry { tag: slot.tag, kind, count: slot.count, value })
    };
    let entries = slots(block, order, main_directory(block, order)?).filter_map(entry);
    Some((order, Directory(entries.collect())))
}

/// The block with fields added to its main directory, which moves to the end; nothing else moves. Fields that are there
/// already stay as they are.
pub(crate) fn with_fields(block: Option<Vec<u8>>, fields: impl FnOnce(Order) -> Vec<Entry>) -> Vec<u8> {
    let given = block.and_then(|block| main_in_place(&block).map(|(order, main)| (block, order, main)));
    let (mut block, order, mut main) = given.unwrap_or_else(|| {
        let header = Order::Little.header(0).to_vec();
        (header, Order::Little, Directory::default())
    });
    let mut added = fields(order);
    added.retain(|field| main.0.iter().all(|entry| entry.tag != field.tag));
    if added.is_empty() && block.len() > HEADER {
        return block;
    }
    main.0.append(&mut added);
    if !block.len().is_multiple_of(2) {
        block.push(0);
    }
    let start = block.len() as u32;
    block[4..8].copy_from_slice(&order.u32_bytes(start));
    main.append_to(&mut block, 0, order);
    block
}

fn blank_directory(block: &mut [u8], order: Order, directory: usize) {
    let slots: Vec<Slot> = slots(block, order, directory).collect();
    for slot in slots {
        let length = FieldType::from_code(slot.kind).map_or(0, |kind| kind.bytes(slot.count));
        if length > 4
            && let Some(offset) = order.u32(block, slot.at + 8)
            && let Some(value) = block.get_mut(offset as usize..(offset as usize).saturating_add(length))
        {
            value.fill(0);
        }
        block[slot.at..slot.at + 12].fill(0);
    }
}

fn main_directory(block: &[u8], order: Order) -> Option<usize> {
    order.u32(block, 4).map(|offset| offset as usize)
}

fn sub_directory(block: &[u8], order: Order, directory: usize, tag: u16) -> Option<usize> {
    let slot = find(block, order, directory, tag)?;
    order.u32(block, slot.at + 8).map(|offset| offset as usize)
}

fn find(block: &[u8], order: Order, directory: usize, tag: u16) -> Option<Slot> {
    slots(block, order, directory).find(|slot| slot.tag == tag)
}

/// The entries of a directory that lie wholly inside the block.
fn slots(block: &[u8], order: Order, directory: usize) -> impl Iterator<Item = Slot> {
    let count = usize::from(order.u16(block, directory).unwrap_or(0));
    (0..count).map_while(move |index| {
        let at = directory + 2 + 12 * index;
        block.get(at..at + 12)?;
        Some(Slot {
            at,
            tag: order.u16(block, at)?,
            kind: order.u16(block, at + 2)?,
            count: order.u32(block, at + 4)?,
        })
    })
}

/// The one SHORT or LONG of an entry.
fn read_number(block: &[u8], order: Order, slot: Slot) -> Option<u32> {
    match (FieldType::from_code(slot.kind)?, slot.count) {
        (FieldType::Short, 1) => order.u16(block, slot.at + 8).map(u32::from),
        (FieldType::Long, 1) => order.u32(block, slot.at + 8),
        _ => None,
    }
}

/// Overwrites the one SHORT or LONG of an entry; a SHORT too small for the value becomes a LONG, which fits in place.
fn write_number(block: &mut [u8], order: Order, slot: Slot, value: u32) {
    if read_number(block, order, slot).is_none() {
        return;
    }
    let (kind, bytes) = match u16::try_from(value) {
        Ok(short) if slot.kind == FieldType::Short as u16 => {
            let [a, b] = order.u16_bytes(short);
            (FieldType::Short, [a, b, 0, 0])
        }
        _ => (FieldType::Long, order.u32_bytes(value)),
    };
    block[slot.at + 2..slot.at + 4].copy_from_slice(&order.u16_bytes(kind as u16));
    block[slot.at + 8..slot.at + 12].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exif::{Directory, Entry, Exif};
    use proptest::prelude::*;

    fn sample(order: Order) -> Vec<u8> {
        let short = |tag, value| Entry::shorts(tag, order, &[value]);
        let rational = Entry { tag: 2, kind: FieldType::Rational, count: 3, value: vec![7; 24] };
        Exif {
            order,
            main: Directory(vec![short(tag::ORIENTATION, 6), Entry::ascii(0x010f, "A maker with a name")]),
            exif: Directory(vec![short(tag::PIXEL_X_DIMENSION, 40), short(tag::PIXEL_Y_DIMENSION, 30)]),
            gps: Directory(vec![rational]),
            interoperability: Directory(vec![]),
        }
        .to_bytes()
    }

    #[test]
    fn edits_change_what_they_say_and_nothing_else() {
        for order in [Order::Little, Order::Big] {
            let mut block = sample(order);
            let length = block.len();
            assert_eq!(orientation(&block), Some(6));
            set_upright(&mut block);
            assert_eq!(orientation(&block), Some(1));
            set_dimensions(&mut block, 100_000, 120);
            assert!(remove_gps(&mut block) && !remove_gps(&mut block));
            assert!(!remove_thumbnail(&mut block));
            let exif = Exif::read(&block).expect("still readable");
            assert_eq!(block.len(), length);
            assert_eq!(exif.main.find(0x010f), Exif::read(&sample(order)).unwrap().main.find(0x010f));
            let width = exif.exif.find(tag::PIXEL_X_DIMENSION).unwrap();
            assert_eq!((width.kind, &width.value[..]), (FieldType::Long, &order.u32_bytes(100_000)[..]));
            assert!(exif.gps.0.is_empty());
            assert!(!block.windows(8).any(|bytes| bytes == [7; 8]), "positions must not stay behind");
        }
    }

    #[test]
    fn fields_are_added_without_moving_what_is_there() {
        for order in [Order::Little, Order::Big] {
            let before = sample(order);
            let added = with_fields(Some(before.clone()), |order| {
                vec![Entry::shorts(0x0128, order, &[2]), Entry::shorts(tag::ORIENTATION, order, &[3])]
            });
            assert_eq!(added[8..before.len()], before[8..]);
            let (old, new) = (Exif::read(&before).unwrap(), Exif::read(&added).unwrap());
            assert_eq!((old.exif, old.gps), (new.exif, new.gps));
            assert_eq!(new.main.find(tag::ORIENTATION), old.main.find(tag::ORIENTATION));
            assert_eq!(new.main.find(0x0128).unwrap().number(order), Some(2));
        }
        let whole = sample(Order::Little);
        let same =
            with_fields(Some(whole.clone()), |order| vec![Entry::shorts(tag::ORIENTATION, order, &[3])]);
        assert_eq!(same, whole);
        let made = with_fields(None, |order| vec![Entry::shorts(0x0128, order, &[3])]);
        assert_eq!(number(&made, 0x0128), Some(3));
        assert_eq!(
            made,
            with_fields(Some(b"nothing".to_vec()), |order| vec![Entry::shorts(0x0128, order, &[3])])
        );
    }

    #[test]
    fn a_gps_directory_that_is_the_main_directory_is_removed_all_the_same() {
        for at in [0u32, 8, 10] {
            let mut block = Order::Little.header(8).to_vec();
            block.extend(b"\x01\0\x25\x88\x04\0\x01\0\0\0");
            block.extend(at.to_le_bytes());
            block.extend([0; 4]);
            assert!(remove_gps(&mut block));
            assert!(find(&block, Order::Little, 8, tag::GPS_DIRECTORY).is_none());
        }
    }

    #[test]
    fn a_thumbnail_at_the_end_is_cut_off() {
        let order = Order::Little;
        let mut block = sample(order);
        let second = block.len() as u32;
        let count = usize::from(order.u16(&block, 8).unwrap());
        block[8 + 2 + 12 * count..][..4].copy_from_slice(&order.u32_bytes(second));
        block.extend(order.u16_bytes(2));
        let data = second + 2 + 24 + 4;
        for (tag, value) in [(tag::THUMBNAIL_OFFSET, data), (tag::THUMBNAIL_LENGTH, 1000)] {
            block.extend(order.u16_bytes(tag));
            block.extend(order.u16_bytes(FieldType::Long as u16));
            block.extend(order.u32_bytes(1));
            block.extend(order.u32_bytes(value));
        }
        block.extend([0; 4]);
        block.extend([9; 1000]);
        assert!(remove_thumbnail(&mut block));
        assert_eq!(block.len(), data as usize);
        assert!(!remove_thumbnail(&mut block));
    }

    proptest! {
        #[test]
        fn nothing_panics_on_damaged_blocks(at in 0..200usize, value: u32, cut in 0..400usize) {
            let mut block = sample(Order::Big);
            if let Some(four) = block.get_mut(at..at + 4) {
                four.copy_from_slice(&value.to_be_bytes());
            }
            block.truncate(cut);
            set_upright(&mut block);
            set_dimensions(&mut block, 5, 5);
            remove_gps(&mut block);
            remove_thumbnail(&mut block);
            if let Some(exif) = Exif::read(&block) {
                exif.to_bytes();
            }
        }
    }
}
