//! IPTC records inside Photoshop's image resources.

/// Resource number of IPTC records.
const IPTC: u16 = 0x0404;

/// The IPTC records in a list of image resources (`8BIM` blocks).
pub(crate) fn from_resources(resources: &[u8]) -> Option<Vec<u8>> {
    let mut rest = resources;
    while let Some((number, data, next)) = first_resource(rest) {
        if number == IPTC {
            return Some(data.to_vec());
        }
        rest = next;
    }
    None
}

/// IPTC records as a list of one image resource.
pub(crate) fn to_resources(records: &[u8]) -> Vec<u8> {
    let mut resources = b"8BIM".to_vec();
    resources.extend(IPTC.to_be_bytes());
    // An empty name, padded.
    resources.extend([0, 0]);
    resources.extend((records.len() as u32).to_be_bytes());
    resources.extend(records);
    if !records.len().is_multiple_of(2) {
        resources.push(0);
    }
    resources
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

    #[test]
    fn records_come_back_from_resources() {
        let mut resources = b"8BIM\x03\xed\0\0\0\0\0\x03abc\0".to_vec();
        resources.extend(to_resources(b"\x1c\x02\x05\0\x01x"));
        assert_eq!(from_resources(&resources).unwrap(), b"\x1c\x02\x05\0\x01x");
        for cut in 0..resources.len() - 1 {
            assert_eq!(from_resources(&resources[..cut]), None);
        }
    }
}
