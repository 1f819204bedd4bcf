//! What is not colour: fidelity, opacity, grey, depth, memory.

use gendr::{CancelFlag, Depth, ErrorKind, Picture, Planes, RestoreOptions, Silent, TargetSize};
use gendr_image::upscale;

use crate::support::{built_in, latent_description, mean_difference, picture, random, restore};

fn psnr(a: &Planes, b: &Planes) -> f64 {
    let error: f64 = a.data().iter().zip(b.data()).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    -10.0 * (error / a.data().len() as f64).max(1e-12).log10()
}

#[test]
fn fidelity_leads_monotonously_to_the_enlarged_input() {
    let restorer = built_in();
    let picture = picture(40, 32);
    let mut enlarged = upscale(&picture.color, 160, 128).unwrap();
    enlarged.map_in_place(|value| value.clamp(0.0, 1.0));
    let scores: Vec<f64> = [0.0, 0.25, 0.5, 0.75, 1.0]
        .map(|fidelity| {
            let options = RestoreOptions { fidelity, ..RestoreOptions::default() };
            psnr(&restore(&restorer, &picture, &options).picture.color, &enlarged)
        })
        .into();
    assert!(scores.windows(2).all(|pair| pair[0] < pair[1]), "{scores:?}");
    assert!(scores[4] > 100.0, "at 1 the enlarged input itself: {scores:?}");
}

#[test]
fn opacity_is_enlarged_on_its_own() {
    let restorer = built_in();
    let opaque = picture(24, 20);
    let mut alpha = Planes::filled(1, 20, 24, 1.0);
    alpha.plane_mut(0)[..24 * 10].fill(0.0);
    let transparent = Picture { alpha: Some(alpha), ..opaque.clone() };
    let result = restore(&restorer, &transparent, &RestoreOptions::default()).picture;
    let alpha = result.alpha.unwrap();
    assert_eq!((alpha.width(), alpha.height()), (96, 80));
    assert!(alpha.data().iter().all(|value| (0.0..=1.0).contains(value)));
    assert!(alpha.row(0, 0)[5] == 0.0 && alpha.row(0, 79)[5] > 1.0 - 1e-6);
    assert!(restore(&restorer, &opaque, &RestoreOptions::default()).picture.alpha.is_none());
}

#[test]
fn colour_under_full_transparency_does_not_bleed() {
    let restorer = built_in();
    let hidden = |value: f32| {
        let mut color = Planes::filled(3, 20, 24, 0.5);
        for channel in 0..3 {
            color.plane_mut(channel)[..24 * 10].fill(value);
        }
        let mut alpha = Planes::filled(1, 20, 24, 1.0);
        alpha.plane_mut(0)[..24 * 10].fill(0.0);
        Picture { alpha: Some(alpha), ..Picture::from_color(color) }
    };
    let [black, white] =
        [0.0, 1.0].map(|value| restore(&restorer, &hidden(value), &RestoreOptions::default()).picture.color);
    assert!(mean_difference(&black, &white) < 1e-6);
}

#[test]
fn grey_stays_grey_and_depth_is_kept() {
    let restorer = built_in();
    let grey =
        Picture { grey: true, depth: Depth::Sixteen, ..Picture::from_color(Planes::filled(3, 12, 12, 0.3)) };
    let result = restore(&restorer, &grey, &RestoreOptions::default()).picture;
    assert!(result.grey);
    assert_eq!(result.depth, Depth::Sixteen);
    assert_eq!(result.color.plane(0), result.color.plane(1));
    assert_eq!(result.color.plane(0), result.color.plane(2));
}

#[test]
fn little_memory_is_refused_with_the_amount_needed_or_answered_with_smaller_tiles() {
    let restorer = built_in();
    let picture = picture(200, 200);
    let refused = RestoreOptions { memory: Some(1 << 20), ..RestoreOptions::default() };
    let error = restorer.restore(&picture, &refused, &Silent, &CancelFlag::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("MiB"), "{error}");
    let scarce = RestoreOptions { memory: Some(300 << 20), ..RestoreOptions::default() };
    assert!(restore(&restorer, &picture, &scarce).tiles >= 1);
}

#[test]
fn a_result_that_no_memory_holds_is_refused() {
    let restorer = built_in();
    let options = RestoreOptions { size: TargetSize::Width(900_000), ..RestoreOptions::default() };
    let error = restorer.restore(&picture(50, 50), &options, &Silent, &CancelFlag::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[test]
fn guidance_needs_a_negative_prompt() {
    let guided = RestoreOptions { guidance: 2.0, ..RestoreOptions::default() };
    let error =
        built_in().restore(&picture(8, 8), &guided, &Silent, &CancelFlag::new()).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Argument);
    let (_folder, latent) = random(&latent_description());
    let [plain, guided] = [&RestoreOptions::default(), &guided]
        .map(|options| restore(&latent, &picture(16, 16), options).picture.color);
    assert!(mean_difference(&plain, &guided) > 1e-4);
}
