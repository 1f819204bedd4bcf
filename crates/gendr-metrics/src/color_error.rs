//! Colour difference after CIE DE2000.

use gendr_image::{Planes, Result};
use rayon::prelude::*;

use crate::levels::check_pair;

/// Side of the squares that [`block_color_error`] averages, in pixels.
pub const COLOR_BLOCK: usize = 16;

/// A colour in CIE L\*a\*b\*, white point D65.
type Lab = [f64; 3];

/// Mean colour difference CIEDE2000 over all pixels, of sRGB pictures (IEC 61966-2-1, D65).
///
/// From 0, lower is better; about 1 is just visible, 2.3 in flat areas is noticed at once. Source: Luo, Cui and Rigg 2001;
/// formulas as in Sharma, Wu and Dalal 2005. Values are clamped to `0..=1`; grey pictures count as neutral colours.
///
/// # Errors
/// Where the pictures differ in shape, are neither grey nor colour, or hold values that are not finite.
pub fn color_error(output: &Planes, reference: &Planes) -> Result<f64> {
    check_pair(output, reference)?;
    let rows: Vec<f64> = (0..output.height())
        .into_par_iter()
        .map(|y| {
            let [a, b] = [output, reference].map(|picture| linear_rows(picture, y));
            (0..output.width()).map(|x| ciede2000(lab(a.pixel(x)), lab(b.pixel(x)))).sum()
        })
        .collect();
    Ok(rows.iter().sum::<f64>() / (output.width() * output.height()) as f64)
}

/// Mean CIEDE2000 between the mean colours (in linear light) of squares of [`COLOR_BLOCK`] pixels: a drift of colour,
/// whatever the texture. Squares at the right and bottom edge may be smaller and count by their area.
///
/// From 0, lower is better. Source: this project, on CIEDE2000.
///
/// # Errors
/// As [`color_error`].
pub fn block_color_error(output: &Planes, reference: &Planes) -> Result<f64> {
    check_pair(output, reference)?;
    let bands: Vec<f64> = (0..output.height().div_ceil(COLOR_BLOCK))
        .into_par_iter()
        .map(|band| {
            let rows = band * COLOR_BLOCK..((band + 1) * COLOR_BLOCK).min(output.height());
            let [a, b] = [output, reference].map(|picture| block_sums(picture, rows.clone()));
            let widths = (0..a.len()).map(|block| COLOR_BLOCK.min(output.width() - block * COLOR_BLOCK));
            let weighted = a.iter().zip(&b).zip(widths).map(|((a, b), width)| {
                let area = (width * rows.len()) as f64;
                let [a, b] = [a, b].map(|sum| lab(sum.map(|value| value / area)));
                ciede2000(a, b) * area
            });
            weighted.sum()
        })
        .collect();
    Ok(bands.iter().sum::<f64>() / (output.width() * output.height()) as f64)
}

/// One row of a picture, still gamma-coded.
struct Row<'a>([&'a [f32]; 3]);

fn linear_rows(picture: &Planes, y: usize) -> Row<'_> {
    Row([0, 1, 2].map(|channel: usize| picture.row(channel.min(picture.channels() - 1), y)))
}

impl Row<'_> {
    /// Linear-light RGB of a pixel.
    fn pixel(&self, x: usize) -> [f64; 3] {
        self.0.map(|channel| linear(f64::from(channel[x]).clamp(0.0, 1.0)))
    }
}

/// Sums of linear RGB over each square of a band of rows.
fn block_sums(picture: &Planes, rows: std::ops::Range<usize>) -> Vec<[f64; 3]> {
    let mut sums = vec![[0.0; 3]; picture.width().div_ceil(COLOR_BLOCK)];
    for y in rows {
        let row = linear_rows(picture, y);
        for x in 0..picture.width() {
            for (sum, value) in sums[x / COLOR_BLOCK].iter_mut().zip(row.pixel(x)) {
                *sum += value;
            }
        }
    }
    sums
}

/// The sRGB transfer function, undone.
fn linear(value: f64) -> f64 {
    if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn lab([red, green, blue]: [f64; 3]) -> Lab {
    let root = |value: f64| {
        let epsilon = 216.0 / 24389.0;
        if value > epsilon { value.cbrt() } else { (value * 24389.0 / 27.0 + 16.0) / 116.0 }
    };
    // Each row is divided by its sum, the white point, so that grey is exactly neutral.
    let [x, y, z] = [
        [0.412_456_4, 0.357_576_1, 0.180_437_5],
        [0.212_672_9, 0.715_152_2, 0.072_175_0],
        [0.019_333_9, 0.119_192_0, 0.950_304_1],
    ]
    .map(|[r, g, b]: [f64; 3]| root((r * red + g * green + b * blue) / (r + g + b)));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Equations 2 to 22 of Sharma, Wu and Dalal, with all weights 1.
fn ciede2000([l1, a1, b1]: Lab, [l2, a2, b2]: Lab) -> f64 {
    let seventh = |chroma: f64| {
        let power = chroma.powi(7);
        (power / (power + 25_f64.powi(7))).sqrt()
    };
    let g = 0.5 * (1.0 - seventh((a1.hypot(b1) + a2.hypot(b2)) / 2.0));
    let polar = |a: f64, b: f64| {
        let a = a * (1.0 + g);
        (a.hypot(b), b.atan2(a).to_degrees().rem_euclid(360.0))
    };
    let ((c1, h1), (c2, h2)) = (polar(a1, b1), polar(a2, b2));
    let colored = c1 * c2 != 0.0;
    let turn = match h2 - h1 {
        _ if !colored => 0.0,
        turn if turn > 180.0 => turn - 360.0,
        turn if turn < -180.0 => turn + 360.0,
        turn => turn,
    };
    let delta_l = l2 - l1;
    let delta_c = c2 - c1;
    let delta_h = 2.0 * (c1 * c2).sqrt() * (turn / 2.0).to_radians().sin();
    let mean_l = (l1 + l2) / 2.0;
    let mean_c = (c1 + c2) / 2.0;
    let mean_h = match h1 + h2 {
        sum if !colored => sum,
        sum if (h1 - h2).abs() <= 180.0 => sum / 2.0,
        sum if sum < 360.0 => (sum + 360.0) / 2.0,
        sum => (sum - 360.0) / 2.0,
    };
    let cosine = |degrees: f64| degrees.to_radians().cos();
    let t =
        1.0 - 0.17 * cosine(mean_h - 30.0) + 0.24 * cosine(2.0 * mean_h) + 0.32 * cosine(3.0 * mean_h + 6.0)
            - 0.20 * cosine(4.0 * mean_h - 63.0);
    let lightness = (mean_l - 50.0) * (mean_l - 50.0);
    let s_l = 1.0 + 0.015 * lightness / (20.0 + lightness).sqrt();
    let s_c = 1.0 + 0.045 * mean_c;
    let s_h = 1.0 + 0.015 * mean_c * t;
    let rotation_angle = 60.0 * (-((mean_h - 275.0) / 25.0).powi(2)).exp();
    let rotation = -2.0 * seventh(mean_c) * rotation_angle.to_radians().sin();
    let (l, c, h) = (delta_l / s_l, delta_c / s_c, delta_h / s_h);
    (l * l + c * c + h * h + rotation * c * h).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_pairs_have_the_published_difference() {
        // A selection from the table of test data in Sharma, Wu and Dalal 2005.
        let pairs: [(Lab, Lab, f64); 18] = [
            ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
            ([50.0, 3.1571, -77.2803], [50.0, 0.0, -82.7485], 2.8615),
            ([50.0, 2.8361, -74.0200], [50.0, 0.0, -82.7485], 3.4412),
            ([50.0, -1.3802, -84.2814], [50.0, 0.0, -82.7485], 1.0),
            ([50.0, -1.1848, -84.8006], [50.0, 0.0, -82.7485], 1.0),
            ([50.0, -0.9009, -85.5211], [50.0, 0.0, -82.7485], 1.0),
            ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
            ([50.0, 2.49, -0.001], [50.0, -2.49, 0.0009], 7.1792),
            ([50.0, 2.49, -0.001], [50.0, -2.49, 0.0011], 7.2195),
            ([50.0, -0.001, 2.49], [50.0, 0.0009, -2.49], 4.8045),
            ([50.0, 2.5, 0.0], [50.0, 0.0, -2.5], 4.3065),
            ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
            ([50.0, 2.5, 0.0], [61.0, -5.0, 29.0], 22.8977),
            ([50.0, 2.5, 0.0], [56.0, -27.0, -3.0], 31.9030),
            ([50.0, 2.5, 0.0], [58.0, 24.0, 15.0], 19.4535),
            ([50.0, 2.5, 0.0], [50.0, 3.1736, 0.5854], 1.0),
            ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
            ([2.0776, 0.0795, -1.1350], [0.9033, -0.0636, -0.5514], 0.9082),
        ];
        for (a, b, wanted) in pairs {
            assert!((ciede2000(a, b) - wanted).abs() < 5e-5, "{a:?} {b:?}: {}", ciede2000(a, b));
            assert!((ciede2000(b, a) - wanted).abs() < 5e-5, "{b:?} {a:?}: {}", ciede2000(b, a));
        }
    }

    #[test]
    fn primaries_have_their_known_lab() {
        for (rgb, wanted) in [
            ([1.0, 0.0, 0.0], [53.2408, 80.0925, 67.2032]),
            ([0.0, 0.0, 1.0], [32.2970, 79.1875, -107.8602]),
            ([1.0, 1.0, 1.0], [100.0, 0.0, 0.0]),
        ] {
            for (got, wanted) in lab(rgb).into_iter().zip(wanted) {
                assert!((got - wanted).abs() < 0.01, "{rgb:?}: {got} {wanted}");
            }
        }
    }

    #[test]
    fn texture_of_the_same_mean_colour_drifts_little() {
        let noise = |index: usize| if (index / 3).is_multiple_of(2) { 0.55 } else { 0.45 };
        let textured = Planes::from_vec(3, 33, 47, (0..3 * 33 * 47).map(noise).collect()).unwrap();
        let flat = Planes::filled(3, 33, 47, 0.5);
        assert_eq!(color_error(&flat, &flat).unwrap(), 0.0);
        assert!(color_error(&textured, &flat).unwrap() > 3.0);
        assert!(block_color_error(&textured, &flat).unwrap() < 1.0);
        assert!(
            block_color_error(&Planes::filled(1, 1, 1, 0.2), &Planes::filled(1, 1, 1, 0.8)).unwrap() > 10.0
        );
    }
}
