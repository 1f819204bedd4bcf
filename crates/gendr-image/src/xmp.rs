//! Small edits to XMP packets that leave the rest of the text alone.

use crate::Metadata;

/// Longer packets are not edited: searching them could take quadratic time.
const MAX_EDITED: usize = 256 << 10;
/// Where a recipe is kept.
const RECIPE: &str = "gendr:Recipe";
const RECIPE_NAMESPACE: &str = "urn:gendr:recipe";
const END_OF_PROPERTIES: &str = "</rdf:RDF>";

impl Metadata {
    /// How the picture was made, as [`Metadata::set_recipe`] stored it.
    pub fn recipe(&self) -> Option<String> {
        let packet = std::str::from_utf8(self.xmp.as_deref()?).ok()?;
        let found = find(packet, RECIPE, 0)?;
        Some(unescape(&packet[found.value.0..found.value.1]))
    }

    /// Stores how the picture was made in its XMP packet, in place of what stood there. Returns false where there is a
    /// packet that is too long or so damaged that it has no place for it.
    pub fn set_recipe(&mut self, recipe: &str) -> bool {
        let mut packet = match self.xmp.take().map(String::from_utf8) {
            None => empty_packet(),
            Some(Ok(packet)) if packet.len() <= MAX_EDITED && packet.contains(END_OF_PROPERTIES) => packet,
            Some(Ok(packet)) => {
                self.xmp = Some(packet.into_bytes());
                return false;
            }
            Some(Err(error)) => {
                self.xmp = Some(error.into_bytes());
                return false;
            }
        };
        packet = without(&packet, RECIPE);
        let property = format!(
            "<rdf:Description rdf:about=\"\" xmlns:gendr=\"{RECIPE_NAMESPACE}\"><{RECIPE}>{}</{RECIPE}></rdf:Description>",
            escape(recipe)
        );
        // What held a former recipe is empty now.
        let empty =
            format!("<rdf:Description rdf:about=\"\" xmlns:gendr=\"{RECIPE_NAMESPACE}\"></rdf:Description>");
        packet = packet.replace(&empty, "");
        if let Some(place) = packet.rfind(END_OF_PROPERTIES) {
            packet.insert_str(place, &property);
        }
        self.xmp = Some(packet.into_bytes());
        true
    }
}

/// Sets a property where there is one and the packet can be edited.
pub(crate) fn set(packet: &mut Vec<u8>, name: &str, value: &str) -> bool {
    edit(packet, |text| {
        let mut from = 0;
        while let Some(found) =
            find(text, name, from).filter(|found| text[found.name.0..found.name.1] == *name)
        {
            text.replace_range(found.value.0..found.value.1, value);
            from = found.value.0 + value.len();
        }
    })
}

/// Removes every property whose name begins with `prefix`. Returns false where the packet cannot be edited.
#[must_use]
pub(crate) fn remove_all(packet: &mut Vec<u8>, prefix: &str) -> bool {
    edit(packet, |text| *text = without(text, prefix))
}

/// Packets that are long or in other encodings than UTF-8 stay as they are, and false is returned.
fn edit(packet: &mut Vec<u8>, change: impl FnOnce(&mut String)) -> bool {
    if packet.len() > MAX_EDITED {
        return false;
    }
    match String::from_utf8(std::mem::take(packet)) {
        Ok(mut text) => {
            change(&mut text);
            *packet = text.into_bytes();
            true
        }
        Err(error) => {
            *packet = error.into_bytes();
            false
        }
    }
}

fn without(text: &str, prefix: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(found) = find(text, prefix, from) {
        result.push_str(&text[from..found.whole.0]);
        from = found.whole.1;
    }
    result.push_str(&text[from..]);
    result
}

/// A property, as an attribute or an element: bytes from and to.
struct Found {
    whole: (usize, usize),
    name: (usize, usize),
    value: (usize, usize),
}

/// The first property from `from` on whose name begins with `prefix`.
fn find(text: &str, prefix: &str, from: usize) -> Option<Found> {
    let mut at = from;
    loop {
        at += text.get(at..)?.find(prefix)?;
        let length = text[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '_')?;
        let name = (at, at + length);
        let found = match text[..at].chars().next_back() {
            Some('<') => element(text, name),
            Some(before) if before.is_ascii_whitespace() => attribute(text, name),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
        at += prefix.len();
    }
}

/// ` name="value"`, with the space before it.
fn attribute(text: &str, name: (usize, usize)) -> Option<Found> {
    let rest = text[name.1..].trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let start = text.len() - rest.len() + 1;
    let end = start + text[start..].find(quote)?;
    Some(Found { whole: (name.0 - 1, end + 1), name, value: (start, end) })
}

/// `<name>value</name>`, `<name attributes>value</name>` or `<name/>`.
fn element(text: &str, name: (usize, usize)) -> Option<Found> {
    let start = name.1 + text[name.1..].find('>')? + 1;
    if text[..start].ends_with("/>") {
        return Some(Found { whole: (name.0 - 1, start), name, value: (start, start) });
    }
    let close = format!("</{}>", &text[name.0..name.1]);
    let end = start + text[start..].find(&close)?;
    Some(Found { whole: (name.0 - 1, end + close.len()), name, value: (start, end) })
}

fn empty_packet() -> String {
    "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?><x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
     <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"></rdf:RDF></x:xmpmeta><?xpacket end=\"w\"?>"
        .to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACKET: &str = "<x:xmpmeta><rdf:RDF><rdf:Description tiff:Orientation=\"6\" exif:GPSLatitude='52,30N' \
        dc:title=\"exif:GPS is no property here\"><exif:GPSLongitude>13,2E</exif:GPSLongitude><exif:GPSVersionID/>\
        <tiff:ImageWidth>4</tiff:ImageWidth></rdf:Description></rdf:RDF></x:xmpmeta>";

    #[test]
    fn properties_are_set_and_removed_in_either_form() {
        let mut packet = PACKET.as_bytes().to_vec();
        set(&mut packet, "tiff:Orientation", "1");
        set(&mut packet, "tiff:ImageWidth", "1600");
        set(&mut packet, "tiff:Image", "7");
        assert!(remove_all(&mut packet, "exif:GPS"));
        let want = "<x:xmpmeta><rdf:RDF><rdf:Description tiff:Orientation=\"1\" \
            dc:title=\"exif:GPS is no property here\"><tiff:ImageWidth>1600</tiff:ImageWidth></rdf:Description></rdf:RDF></x:xmpmeta>";
        assert_eq!(String::from_utf8(packet).unwrap(), want);
    }

    #[test]
    fn packets_that_cannot_be_edited_are_said_to_be() {
        for mut packet in [vec![b' '; MAX_EDITED + 1], vec![0xff]] {
            let before = packet.clone();
            assert!(!remove_all(&mut packet, "exif:GPS"));
            assert_eq!(packet, before);
        }
    }

    #[test]
    fn a_recipe_is_kept_beside_what_is_there_and_replaced() {
        let mut metadata = Metadata { xmp: Some(PACKET.as_bytes().to_vec()), ..Metadata::default() };
        assert_eq!(metadata.recipe(), None);
        assert!(metadata.set_recipe("{\"a\": \"<&>\"}"));
        assert!(metadata.set_recipe("{\"b\": \"<&amp;>\"}"));
        assert_eq!(metadata.recipe().unwrap(), "{\"b\": \"<&amp;>\"}");
        let packet = String::from_utf8(metadata.xmp.unwrap()).unwrap();
        assert!(packet.contains("dc:title") && packet.matches("gendr:Recipe").count() == 2);
        assert_eq!(packet.matches(RECIPE_NAMESPACE).count(), 1);
        let mut none = Metadata::default();
        assert!(none.set_recipe("{}") && none.recipe().unwrap() == "{}");
        for damaged in [&b"\xff\xfe<"[..], b"no packet"] {
            let mut metadata = Metadata { xmp: Some(damaged.to_vec()), ..Metadata::default() };
            assert!(!metadata.set_recipe("{}"));
            assert_eq!(metadata.xmp.unwrap(), damaged);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_or_hangs_on_damaged_packets(cut in 0..PACKET.len(), middle in "[<>\"'=/ :a-zé]{0,20}", rest in 0..PACKET.len()) {
            let text = format!("{}{middle}exif:GPS{}", &PACKET[..cut], &PACKET[rest..]);
            let mut packet = text.into_bytes();
            set(&mut packet, "tiff:Orientation", "1");
            prop_assert!(remove_all(&mut packet, "exif:GPS"));
            let mut metadata = Metadata { xmp: Some(packet), ..Metadata::default() };
            let stored = metadata.set_recipe("<recipe & more>");
            prop_assert!(!stored || metadata.recipe().is_some());
        }

        #[test]
        fn any_recipe_comes_back(recipe in "\\PC{0,200}") {
            let mut metadata = Metadata::default();
            prop_assert!(metadata.set_recipe(&recipe));
            prop_assert_eq!(metadata.recipe().unwrap(), recipe);
        }
    }
}
