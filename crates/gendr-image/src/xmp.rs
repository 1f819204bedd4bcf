//! Small edits to XMP packets that leave the rest of the text alone.

use std::ops::Range;

use crate::{Metadata, Text, decode::segments::EXTENSION_NAME};

/// Longer packets are not edited.
const MAX_EDITED: usize = 4 << 20;
/// Ends of elements looked for in vain before a packet counts as damaged: each costs a walk over the rest of it.
const MAX_FAILURES: usize = 64;
/// Where a recipe is kept.
const RECIPE: &str = "gendr:Recipe";
const RECIPE_NAMESPACE: &str = "urn:gendr:recipe";
/// Property with the name of an extension.
pub(crate) const EXTENSION: &str = "xmpNote:HasExtendedXMP";
const END_OF_PROPERTIES: &str = "</rdf:RDF>";

impl Metadata {
    /// How the picture was made, as [`Metadata::set_recipe`] stored it.
    pub fn recipe(&self) -> Option<String> {
        let in_packet = || {
            let packet = std::str::from_utf8(self.xmp.as_deref()?).ok()?;
            let found = Scanner::new(packet).find(|name| name == RECIPE)?;
            Some(unescape(&packet[found.value]))
        };
        let in_text = || self.texts.iter().find(|text| text.keyword == RECIPE).map(|text| text.value.clone());
        in_packet().or_else(in_text)
    }

    /// Stores how the picture was made in its XMP packet, in place of what stood there. Where there is a packet that is too
    /// long or so damaged that it has no place for it, false is returned, and the recipe becomes a text, which PNG holds.
    pub fn set_recipe(&mut self, recipe: &str) -> bool {
        self.texts.retain(|text| text.keyword != RECIPE);
        let stored = self.set_recipe_in_packet(recipe);
        if !stored {
            self.texts.push(Text { keyword: RECIPE.to_owned(), value: recipe.to_owned() });
        }
        stored
    }

    fn set_recipe_in_packet(&mut self, recipe: &str) -> bool {
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
        packet = without(&packet, |name| name == RECIPE).0;
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

/// Sets a property wherever it stands, where the packet can be edited.
pub(crate) fn set(packet: &mut Vec<u8>, name: &str, value: &str) -> bool {
    edit(packet, |text| {
        let mut result = String::with_capacity(text.len());
        let (mut scanner, mut from) = (Scanner::new(text), 0);
        while let Some(found) = scanner.find(|candidate| candidate == name) {
            result.push_str(&text[from..found.value.start]);
            result.push_str(value);
            from = found.value.end;
        }
        result.push_str(&text[from..]);
        (result, true)
    })
}

/// Removes a property wherever it stands. Returns false where the packet cannot be edited.
pub(crate) fn remove(packet: &mut Vec<u8>, name: &str) -> bool {
    edit(packet, |text| without(text, |candidate| candidate == name))
}

/// Removes all that says where the picture was taken: EXIF's properties and those of makers that are named alike. Returns
/// false where the packet cannot be edited or still speaks of a place.
#[must_use]
pub(crate) fn remove_place(packet: &mut Vec<u8>) -> bool {
    let is_place = |name: &str| name.split(':').next_back().is_some_and(is_about_gps);
    edit(packet, |text| without(text, is_place)) && !find_ignoring_case(packet, b":gps")
}

/// The name, of 32 bytes, under which JPEG keeps an extension of the packet.
pub(crate) fn extension_name(packet: &[u8]) -> Option<&str> {
    let packet = std::str::from_utf8(packet).ok()?;
    let found = Scanner::new(packet).find(|name| name == EXTENSION)?;
    Some(&packet[found.value]).filter(|name| name.len() == EXTENSION_NAME)
}

/// Whether a name begins with `gps`, in any case.
pub(crate) fn is_about_gps(name: &str) -> bool {
    name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("gps"))
}

fn find_ignoring_case(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}

/// Packets that are long, damaged or in other encodings than UTF-8 stay as they are, and false is returned.
fn edit(packet: &mut Vec<u8>, change: impl FnOnce(&str) -> (String, bool)) -> bool {
    if packet.len() > MAX_EDITED {
        return false;
    }
    let Ok(text) = std::str::from_utf8(packet) else { return false };
    let (changed, whole) = change(text);
    if whole {
        *packet = changed.into_bytes();
    }
    whole
}

/// The text without properties of some names, and whether it could be searched to its end.
fn without(text: &str, unwanted: impl Fn(&str) -> bool) -> (String, bool) {
    let mut result = String::with_capacity(text.len());
    let (mut scanner, mut from) = (Scanner::new(text), 0);
    while let Some(found) = scanner.find(&unwanted) {
        result.push_str(&text[from..found.whole.start]);
        from = found.whole.end;
    }
    result.push_str(&text[from..]);
    (result, scanner.failures <= MAX_FAILURES)
}

/// A property, as an attribute or an element.
struct Found {
    whole: Range<usize>,
    value: Range<usize>,
}

/// Walks over the properties of a packet.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    failures: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, failures: 0 }
    }

    /// The next property of a name that is wanted.
    fn find(&mut self, wanted: impl Fn(&str) -> bool) -> Option<Found> {
        let bytes = self.text.as_bytes();
        while self.failures <= MAX_FAILURES {
            self.at += bytes.get(self.at..)?.iter().position(|&b| b == b'<' || b.is_ascii_whitespace())?;
            let (before, start) = (bytes[self.at], self.at + 1);
            let length = bytes[start..].iter().position(|&byte| !is_name(byte))?;
            self.at = start + length;
            let name = &self.text[start..start + length];
            if length == 0 || !wanted(name) {
                continue;
            }
            let place = (start, start + length);
            let found = if before == b'<' { element(self.text, place) } else { attribute(self.text, place) };
            match found {
                Some(found) => {
                    self.at = found.whole.end;
                    return Some(found);
                }
                None => self.failures += 1,
            }
        }
        None
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-' | b'.')
}

/// ` name="value"`, with the space before it.
fn attribute(text: &str, name: (usize, usize)) -> Option<Found> {
    let rest = text[name.1..].trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let start = text.len() - rest.len() + 1;
    let end = start + text[start..].find(quote)?;
    Some(Found { whole: name.0 - 1..end + 1, value: start..end })
}

/// `<name>value</name>`, `<name attributes>value</name>` or `<name/>`.
fn element(text: &str, name: (usize, usize)) -> Option<Found> {
    let start = name.1 + text[name.1..].find('>')? + 1;
    if text[..start].ends_with("/>") {
        return Some(Found { whole: name.0 - 1..start, value: start..start });
    }
    let close = format!("</{}>", &text[name.0..name.1]);
    let end = start + text[start..].find(&close)?;
    Some(Found { whole: name.0 - 1..end + close.len(), value: start..end })
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
        drone-dji:GpsLatitude=\"52.5\" dc:title=\"GPS is no property here\"><exif:GPSLongitude>13,2E</exif:GPSLongitude><exif:GPSVersionID/>\
        <tiff:ImageWidth>4</tiff:ImageWidth></rdf:Description></rdf:RDF></x:xmpmeta>";

    #[test]
    fn properties_are_set_and_removed_in_either_form() {
        let mut packet = PACKET.as_bytes().to_vec();
        set(&mut packet, "tiff:Orientation", "1");
        set(&mut packet, "tiff:ImageWidth", "1600");
        set(&mut packet, "tiff:Image", "7");
        assert!(remove_place(&mut packet));
        let want = "<x:xmpmeta><rdf:RDF><rdf:Description tiff:Orientation=\"1\" \
            dc:title=\"GPS is no property here\"><tiff:ImageWidth>1600</tiff:ImageWidth></rdf:Description></rdf:RDF></x:xmpmeta>";
        assert_eq!(String::from_utf8(packet).unwrap(), want);
    }

    #[test]
    fn packets_that_cannot_be_edited_are_said_to_be() {
        for mut packet in [vec![b' '; MAX_EDITED + 1], vec![0xff]] {
            let before = packet.clone();
            assert!(!remove_place(&mut packet));
            assert_eq!(packet, before);
        }
    }

    #[test]
    fn a_place_that_cannot_be_removed_is_told() {
        for text in ["<exif:GPSLatitude>52", "<a exif:GPSLatitude = 52>", "title=\"x:GPS\""] {
            assert!(!remove_place(&mut text.as_bytes().to_vec()), "{text}");
        }
        // Would take hours if every end were looked for.
        let mut hostile = (0..100_000).map(|i| format!("<a:GPS{i}>")).collect::<String>().into_bytes();
        assert!(!remove_place(&mut hostile));
        assert!(!remove(&mut vec![0xff], "a:b"));
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
            assert!(!metadata.set_recipe("{}") && !metadata.set_recipe("{}"));
            assert_eq!(metadata.xmp.as_deref(), Some(damaged));
            assert_eq!((metadata.recipe().as_deref(), metadata.texts.len()), (Some("{}"), 1));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_or_hangs_on_damaged_packets(cut in 0..PACKET.len(), middle in "[<>\"'=/ :a-zé]{0,20}", rest in 0..PACKET.len()) {
            let text = format!("{}{middle}exif:GPS{}", &PACKET[..cut], &PACKET[rest..]);
            let mut packet = text.into_bytes();
            set(&mut packet, "tiff:Orientation", "1");
            let removed = remove_place(&mut packet);
            prop_assert!(!removed || !find_ignoring_case(&packet, b":gps"));
            let mut metadata = Metadata { xmp: Some(packet), ..Metadata::default() };
            metadata.set_recipe("<recipe & more>");
            prop_assert!(metadata.recipe().is_some());
        }

        #[test]
        fn any_recipe_comes_back(recipe in "\\PC{0,200}") {
            let mut metadata = Metadata::default();
            prop_assert!(metadata.set_recipe(&recipe));
            prop_assert_eq!(metadata.recipe().unwrap(), recipe);
        }
    }
}
