//! Colours that a network does not know: outside sRGB, or brighter than white.

use crate::Planes;

impl Planes {
    /// Clamps all values to `[0, 1]` and gives what was cut off, `[channels, height, width]`; none where nothing was. Added
    /// again to a result of the same size (or resized with it), it brings back colours that sRGB has no place for.
    pub fn split_beyond(&mut self) -> Option<Self> {
        if self.data().iter().all(|value| (0.0..=1.0).contains(value)) {
            return None;
        }
        let mut beyond = self.clone();
        for (value, rest) in self.data_mut().iter_mut().zip(beyond.data_mut()) {
            *value = value.clamp(0.0, 1.0);
            *rest -= *value;
        }
        Some(beyond)
    }

    /// Adds another stack of planes of the same shape, as far as both reach.
    pub fn add(&mut self, other: &Self) {
        for (value, more) in self.data_mut().iter_mut().zip(other.data()) {
            *value += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_comes_back() {
        let values = vec![-0.25, 0.0, 0.5, 1.0, 1.75, 0.125];
        let mut planes = Planes::from_vec(1, 2, 3, values.clone()).unwrap();
        let beyond = planes.split_beyond().unwrap();
        assert_eq!(planes.data(), [0.0, 0.0, 0.5, 1.0, 1.0, 0.125]);
        assert!(planes.clone().split_beyond().is_none());
        planes.add(&beyond);
        assert_eq!(planes.data(), values);
    }
}
