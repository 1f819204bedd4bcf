//! Scores by metric, in the order of tables.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

/// Values by metric id, in the order they were added. A JSON object in files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores(Vec<(String, f64)>);

impl Scores {
    /// Adds a value.
    pub fn push(&mut self, id: &str, value: f64) {
        self.0.push((id.to_owned(), value));
    }

    /// The value of a metric.
    pub fn get(&self, id: &str) -> Option<f64> {
        self.iter().find(|(known, _)| *known == id).map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(id, value)| (id.as_str(), *value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<(&'a str, f64)> for Scores {
    fn from_iter<I: IntoIterator<Item = (&'a str, f64)>>(scores: I) -> Self {
        Self(scores.into_iter().map(|(id, value)| (id.to_owned(), value)).collect())
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (id, value) in &self.0 {
            map.serialize_entry(id, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> de::Visitor<'de> for Map {
            type Value = Scores;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of numbers")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Scores, A::Error> {
                let mut scores = Scores::default();
                while let Some(entry) = map.next_entry()? {
                    scores.0.push(entry);
                }
                Ok(scores)
            }
        }

        deserializer.deserialize_map(Map)
    }
}
