//! Pixels per length as fields of EXIF and TIFF.

use super::{Entry, Exif, FieldType, Order};
use crate::{Density, DensityUnit};

pub(crate) const X: u16 = 0x011a;
pub(crate) const Y: u16 = 0x011b;
pub(crate) const UNIT: u16 = 0x0128;

/// What the three fields come to; none where they say nothing.
pub(crate) fn of(
    x: Option<&Entry>,
    y: Option<&Entry>,
    unit: Option<&Entry>,
    order: Order,
) -> Option<Density> {
    let value = |entry: Option<&Entry>| entry?.rational(order).filter(|&value| value > 0.0);
    let unit = match unit.and_then(|entry| entry.number(order)) {
        Some(1) => DensityUnit::Ratio,
        Some(3) => DensityUnit::Centimetre,
        _ => DensityUnit::Inch,
    };
    let (x, y) = value(x).zip(value(y))?;
    (unit != DensityUnit::Ratio || x != y).then_some(Density { x, y, unit })
}

/// What a block says of it.
pub(crate) fn of_block(block: &[u8]) -> Option<Density> {
    let exif = Exif::read(block)?;
    let [x, y, unit] = [X, Y, UNIT].map(|tag| exif.main.find(tag));
    of(x, y, unit, exif.order)
}

/// The three fields.
pub(crate) fn fields(density: &Density, order: Order) -> Vec<Entry> {
    let (x, y, unit) = match (density.unit, density.per_inch()) {
        (DensityUnit::Centimetre, _) => (density.x, density.y, 3),
        (_, Some((x, y))) => (x, y, 2),
        (_, None) => (density.x, density.y, 1),
    };
    let rational = |tag, value: f64| {
        let (numerator, denominator): (u32, u32) = if value.fract() == 0.0 {
            (value as u32, 1)
        } else {
            ((value * 10_000.0).round() as u32, 10_000)
        };
        let value = [order.u32_bytes(numerator), order.u32_bytes(denominator)].concat();
        Entry { tag, kind: FieldType::Rational, count: 1, value }
    };
    vec![rational(X, x), rational(Y, y), Entry::shorts(UNIT, order, &[unit])]
}
