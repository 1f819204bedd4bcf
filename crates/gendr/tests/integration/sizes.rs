//! The size of a result is exactly the size asked for.

use gendr::{RestoreOptions, TargetSize};
use gendr_image::{Planes, Resampling, resize};
use gendr_model::{CompactConfig, Description, Family};

use crate::support::{built_in, latent_description, picture, random, restore, scaled};

fn size(restorer: &gendr::Restorer, input: (usize, usize), options: &RestoreOptions) -> (usize, usize) {
    let result = restore(restorer, &picture(input.0, input.1), options).picture;
    assert!(result.color.data().iter().all(|value| (0.0..=1.0).contains(value)));
    (result.width(), result.height())
}

#[test]
fn every_scale_gives_the_rounded_size() {
    let restorer = built_in();
    for (width, height) in [(1, 1), (7, 3), (16, 9), (33, 20)] {
        for scale in [0.3, 1.0, 1.5, 2.0, 3.7, 4.0, 6.0] {
            let wanted = |side: usize| ((side as f64 * scale).round() as usize).max(1);
            assert_eq!(
                size(&restorer, (width, height), &scaled(scale)),
                (wanted(width), wanted(height)),
                "{width}x{height} times {scale}"
            );
        }
    }
}

#[test]
fn less_than_the_least_scale_of_a_model_is_resized_from_that() {
    let (restorer, input) = (built_in(), picture(24, 18));
    let four = restore(&restorer, &input, &scaled(4.0)).picture.color;
    let away = |a: &Planes, b: &Planes| {
        let differences = a.data().iter().zip(b.data()).map(|(a, b)| (a - b).abs());
        differences.sum::<f32>() / a.data().len() as f32
    };
    for (scale, [width, height]) in [(0.5, [12, 9]), (1.0, [24, 18]), (2.0, [48, 36]), (3.0, [72, 54])] {
        let resized = resize(&four, width, height, Resampling::PILLOW_BICUBIC).unwrap();
        let result = restore(&restorer, &input, &scaled(scale)).picture.color;
        // What is above white or below black is cut off after resizing.
        assert!(away(&result, &resized) < 5e-4, "times {scale}: {}", away(&result, &resized));
    }
    // A sharp picture stays nearly as it is at its own size, and with full fidelity as it is.
    let same = restore(&restorer, &input, &scaled(1.0)).picture.color;
    assert!(away(&same, &input.color) < 0.02, "{}", away(&same, &input.color));
    let faithful = RestoreOptions { fidelity: 1.0, ..scaled(1.0) };
    assert!(away(&restore(&restorer, &input, &faithful).picture.color, &input.color) < 1e-6);
}

#[test]
fn a_named_side_is_exact() {
    let restorer = built_in();
    let named = |size| RestoreOptions { size, ..RestoreOptions::default() };
    assert_eq!(size(&restorer, (20, 10), &named(TargetSize::Width(77))), (77, 39));
    assert_eq!(size(&restorer, (20, 10), &named(TargetSize::Height(31))), (62, 31));
    assert_eq!(size(&restorer, (20, 10), &named(TargetSize::LongSide(5))), (5, 3));
}

#[test]
fn long_and_narrow_pictures_are_restored_in_tiles() {
    assert_eq!(size(&built_in(), (3, 20_000), &RestoreOptions::default()), (12, 80_000));
}

#[test]
fn latent_models_take_any_size() {
    let (_folder, restorer) = random(&latent_description());
    for input in [(1, 1), (7, 3), (25, 31)] {
        assert_eq!(size(&restorer, input, &RestoreOptions::default()), (4 * input.0, 4 * input.1));
    }
    assert_eq!(size(&restorer, (20, 12), &scaled(1.3)), (26, 16));
}

#[test]
fn networks_with_a_scale_of_their_own_give_other_scales_too() {
    let compact = CompactConfig { features: 8, convolutions: 2, scale: 4 };
    let (_folder, restorer) =
        random(&Description { compact: Some(compact), ..Description::new(Family::Compact) });
    for scale in [1.0, 2.5, 4.0, 8.0] {
        let wanted = |side: usize| (side as f64 * scale).round() as usize;
        assert_eq!(size(&restorer, (13, 9), &scaled(scale)), (wanted(13), wanted(9)));
    }
}
