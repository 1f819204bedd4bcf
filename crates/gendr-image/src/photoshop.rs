//! Photoshop's image resources (`8BIM` blocks): IPTC records and what else JPEG and TIFF files carry in them.

/// Resource number of IPTC records.
const IPTC: u16 = 0x0404;
const SIGNATURE: &[u8] = b"8BIM";

/// Resources that tell of this very picture's pixels, or repeat what is kept elsewhere: guides, thumbnails, the profile,
/// slices, EXIF and XMP.
const LEFT_OUT: [u16; 8] = [0x0408, 0x0409, 0x040c, 0x040f, 0x041a, 0x0422, 0x0423, 0x0424];

/// A list of resources taken apart.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Resources {
    /// The records of IPTC-IIM.
    pub(crate) iptc: Option<Vec<u8>>,
    /// A list of the others that are worth keeping; none where there are none.
    pub(crate) others: Option<Vec<u8>>,
}

/// Takes a list of resources apart, as far as it is whole.
pub(crate) fn read(list: &[u8]) -> Resources {
    let (mut iptc, mut others) = (None, Vec::new());
    let mut rest = list;
    while let Some((number, data, next)) = first_resource(rest) {
        if number == IPTC {
            iptc.get_or_insert_with(|| data.to_vec());
        } else if !LEFT_OUT.contains(&number) {
            others.extend_from_slice(&rest[..rest.len() - next.len()]);
            if !others.len().is_multiple_of(2) {
                others.push(0);
            }
        }
        rest = next;
    }
    Resources { iptc, others: (!others.is_empty()).then_some(others) }
}

/// A list of resources with IPTC records first; none where there is nothing.
pub(crate) fn write(iptc: Option<&[u8]>, others: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut list = Vec::new();
    if let Some(records) = iptc {
        list.extend(SIGNATURE);
        list.extend(IPTC.to_be_bytes());
        // An empty name, padded.
        list.extend([0, 0]);
        list.extend((records.len() as u32).to_be_bytes());
        list.extend(records);
        if !records.len().is_multiple_of(2) {
            list.push(0);
        }
    }
    list.extend(others.unwrap_or_default());
    (!list.is_empty()).then_some(list)
}

/// Number and data of the first resource, and what follows it.
fn first_resource(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let rest = bytes.strip_prefix(b"8BIM")?;
    let (number, rest) = rest.split_first_chunk()?;
    let name = (1 + usize::from(*rest.first()?)).next_multiple_of(2);
    let (length, rest) = rest.get(name..)?.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    let next = rest.get(length.next_multiple_of(2)..).unwrap_or_default();
    Some((u16::from_be_bytes(*number), rest.get(..length)?, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: &[u8] = b"\x1c\x02\x05\0\x01x";

    #[test]
    fn lists_are_taken_apart_and_put_together() {
        let kept = b"8BIM\x03\xed\0\0\0\0\0\x03abc\0".to_vec();
        let thumbnail = b"8BIM\x04\x0c\0\0\0\0\0\x02ab".to_vec();
        let list = [thumbnail, kept.clone(), write(Some(RECORDS), None).unwrap()].concat();
        let resources = read(&list);
        assert_eq!(resources.iptc.as_deref(), Some(RECORDS));
        assert_eq!(resources.others.as_deref(), Some(&kept[..]));
        let again = write(resources.iptc.as_deref(), resources.others.as_deref()).unwrap();
        assert_eq!(read(&again), resources);
        assert_eq!(read(b"8BIM"), Resources::default());
        assert_eq!(write(None, None), None);
        for cut in 0..list.len() - 1 {
            assert_eq!(read(&list[..cut]).iptc, None);
        }
    }
}
