//! A part of a batch, the same on every machine.

use std::{fmt, str::FromStr};

use super::Job;
use crate::{Error, Result};

/// Part `index` of `count`, counted from 1. A picture belongs to the part that its result's name says, so that it stays
/// there whatever other pictures come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Part `index` of `count`.
    ///
    /// # Errors
    /// An argument error unless `1 <= index <= count`.
    pub fn new(index: u32, count: u32) -> Result<Self> {
        if index == 0 || index > count {
            return Err(Error::argument(format!("there is no part {index} of {count}"))
                .with_hint("parts are counted from 1: `1/4` to `4/4`"));
        }
        Ok(Self { index, count })
    }

    /// Whether the picture belongs to the part.
    pub fn holds(self, job: &Job) -> bool {
        self.holds_name(&job.name())
    }

    fn holds_name(self, name: &str) -> bool {
        let hash = blake3::hash(name.as_bytes());
        let number = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default());
        number % u64::from(self.count) == u64::from(self.index - 1)
    }
}

impl FromStr for Shard {
    type Err = Error;

    /// `I/N`.
    fn from_str(text: &str) -> Result<Self> {
        let numbers =
            text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        let (index, count) = numbers.ok_or_else(|| {
            Error::argument(format!("`{text}` is no part of a batch"))
                .with_hint("give it as I/N, such as `1/4`")
        })?;
        Self::new(index, count)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_belongs_to_exactly_one_part_and_parts_are_alike_in_size() {
        let parts: Vec<Shard> = (1..=4).map(|index| Shard::new(index, 4).unwrap()).collect();
        let mut sizes = [0; 4];
        for number in 0..1000 {
            let name = format!("folder/picture {number}.png");
            let holders: Vec<usize> = (0..4).filter(|&part| parts[part].holds_name(&name)).collect();
            assert_eq!(holders.len(), 1);
            sizes[holders[0]] += 1;
        }
        assert!(sizes.iter().all(|size| (200..300).contains(size)), "{sizes:?}");
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in ["", "1", "0/4", "5/4", "1/0", "a/b", "-1/4", "1/4/2"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!("3/4".parse::<Shard>().unwrap(), Shard::new(3, 4).unwrap());
    }
}
