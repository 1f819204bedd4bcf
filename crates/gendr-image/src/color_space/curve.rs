//! Tone curves: encoded values to light and back.

use std::sync::Arc;

use moxcms::ToneReprCurve;

/// A rising curve through 0 and 1, or nearly. Negative values are mirrored.
#[derive(Clone, Debug)]
pub(super) enum Curve {
    /// ICC's parametric curve of seven numbers: `(a x + b)^g + e` from `d` on, `c x + f` below.
    Parametric { g: f64, a: f64, b: f64, c: f64, d: f64, e: f64, f: f64 },
    /// Samples at equal distances over `[0, 1]`, joined by lines, never falling.
    Table(Arc<[f64]>),
}

impl Curve {
    pub(super) const SRGB: Self = Self::Parametric {
        g: 2.4,
        a: 1.0 / 1.055,
        b: 0.055 / 1.055,
        c: 1.0 / 12.92,
        d: 0.04045,
        e: 0.0,
        f: 0.0,
    };

    /// None where the numbers make no rising curve.
    pub(super) fn new(curve: &ToneReprCurve) -> Option<Self> {
        let curve = match curve {
            ToneReprCurve::Lut(table) if table.is_empty() => Self::power(1.0),
            ToneReprCurve::Lut(table) if table.len() == 1 => Self::power(f64::from(table[0]) / 256.0),
            ToneReprCurve::Lut(table) => {
                let mut most = 0.0f64;
                let rising = table.iter().map(|&entry| {
                    most = most.max(f64::from(entry) / 65535.0);
                    most
                });
                Self::Table(rising.collect())
            }
            ToneReprCurve::Parametric(numbers) => Self::parametric(numbers)?,
        };
        curve.is_sound().then_some(curve)
    }

    fn power(g: f64) -> Self {
        Self::Parametric { g, a: 1.0, b: 0.0, c: 0.0, d: 0.0, e: 0.0, f: 0.0 }
    }

    /// ICC's types 0 to 4 by the count of their numbers.
    fn parametric(numbers: &[f32]) -> Option<Self> {
        let numbers: Vec<f64> = numbers.iter().map(|&number| f64::from(number)).collect();
        Some(match numbers[..] {
            [g] => Self::power(g),
            [g, a, b] => Self::Parametric { g, a, b, c: 0.0, d: -b / a, e: 0.0, f: 0.0 },
            [g, a, b, c] => Self::Parametric { g, a, b, c: 0.0, d: -b / a, e: c, f: c },
            [g, a, b, c, d] => Self::Parametric { g, a, b, c, d, e: 0.0, f: 0.0 },
            [g, a, b, c, d, e, f] => Self::Parametric { g, a, b, c, d, e, f },
            _ => return None,
        })
    }

    /// Whether the curve rises over `[0, 1]` to about 1.
    fn is_sound(&self) -> bool {
        let values: Vec<f64> = (0..=16).map(|step| self.linear(f64::from(step) / 16.0)).collect();
        values.iter().all(|value| (-0.1..=1.1).contains(value))
            && values.windows(2).all(|pair| pair[0] <= pair[1])
            && values[16] - values[0] > 0.5
    }

    /// The light of an encoded value.
    pub(super) fn linear(&self, value: f64) -> f64 {
        let x = value.abs();
        let light = match self {
            &Self::Parametric { g, a, b, c, d, e, f } => {
                if x >= d {
                    (a * x + b).max(0.0).powf(g) + e
                } else {
                    c * x + f
                }
            }
            Self::Table(table) => {
                let last = table.len() - 1;
                let position = x.min(1.0) * last as f64;
                let index = (position as usize).min(last - 1);
                table[index] + (table[index + 1] - table[index]) * (position - index as f64)
            }
        };
        light.copysign(value)
    }

    /// The encoded value of a light.
    pub(super) fn encoded(&self, light: f64) -> f64 {
        let y = light.abs();
        let value = match self {
            &Self::Parametric { g, a, b, c, d, e, f } => {
                let joint = (a * d + b).max(0.0).powf(g) + e;
                if y >= joint {
                    ((y - e).max(0.0).powf(1.0 / g) - b) / a
                } else if c > 0.0 {
                    ((y - f) / c).max(0.0)
                } else {
                    d.max(0.0)
                }
            }
            Self::Table(table) => {
                let above = table.partition_point(|&entry| entry < y).clamp(1, table.len() - 1);
                let (low, high) = (table[above - 1], table[above]);
                let share = if high > low { ((y - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 };
                (above as f64 - 1.0 + share) / (table.len() - 1) as f64
            }
        };
        value.copysign(light)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(curve: &Curve) {
        for step in 0..=1000 {
            let value = f64::from(step) / 1000.0;
            let back = curve.encoded(curve.linear(value));
            assert!((back - value).abs() < 1e-9, "{curve:?}: {value} came back as {back}");
            assert!((curve.linear(-value) + curve.linear(value)).abs() < 1e-15);
        }
    }

    #[test]
    fn every_curve_is_undone_by_its_inverse() {
        round_trip(&Curve::SRGB);
        round_trip(&Curve::new(&ToneReprCurve::Lut(vec![])).unwrap());
        round_trip(&Curve::new(&ToneReprCurve::Lut(vec![0x0233])).unwrap());
        let table =
            (0..1024u32).map(|i| (f64::from(i) / 1023.0).powf(1.8).mul_add(65535.0, 0.5) as u16).collect();
        round_trip(&Curve::new(&ToneReprCurve::Lut(table)).unwrap());
        for numbers in [&[1.8f32][..], &[2.2, 1.0, 0.0], &[2.4, 0.9479, 0.0521, 0.0774, 0.0405]] {
            round_trip(&Curve::new(&ToneReprCurve::Parametric(numbers.to_vec())).unwrap());
        }
    }

    #[test]
    fn senseless_curves_are_refused() {
        for numbers in
            [&[][..], &[f32::NAN], &[0.0], &[-1.0], &[2.0, 0.0, 0.0], &[1.0, 5.0, 0.0], &[2.0, -1.0, 0.0]]
        {
            assert!(Curve::new(&ToneReprCurve::Parametric(numbers.to_vec())).is_none(), "{numbers:?}");
        }
        assert!(Curve::new(&ToneReprCurve::Lut(vec![0, 0, 0])).is_none());
    }
}
