//! Tiled and untiled results agree, and tiles leave no grid.

use gendr::{Planes, RestoreOptions, Restorer, Tiling, VaeTiling};

use crate::support::{
    built_in, four_levels, latent_description, mean_difference, picture, pixels, plain, random, restore,
    short_sighted,
};

const BOUND: f64 = 1.0 / 255.0;

/// Mean absolute difference between neighbouring columns (rows) of the error, at the edges of tiles and elsewhere.
fn steps(error: &Planes, edges: &[usize]) -> (f64, f64) {
    let (mut at, mut elsewhere) = ((0.0, 0.0), (0.0, 0.0));
    for y in 1..error.height() {
        for x in 1..error.width() {
            let here = error.row(0, y)[x];
            let across = [(x, error.row(0, y)[x - 1]), (y, error.row(0, y - 1)[x])];
            for (place, before) in across {
                let step = f64::from((here - before).abs());
                let sum = if edges.contains(&place) { &mut at } else { &mut elsewhere };
                sum.0 += step;
                sum.1 += 1.0;
            }
        }
    }
    (at.0 / at.1, elsewhere.0 / elsewhere.1)
}

fn difference(a: &Planes, b: &Planes) -> Planes {
    let data = a.data().iter().zip(b.data()).map(|(a, b)| a - b).collect();
    Planes::from_vec(a.channels(), a.height(), a.width(), data).unwrap()
}

/// Tiled and untiled results of the same picture.
fn both(restorer: &Restorer, side: usize, options: &RestoreOptions) -> [Planes; 2] {
    let picture = picture(side, side);
    let whole = RestoreOptions { tile: Tiling::Off, overlap: None, ..options.clone() };
    let [tiled, whole] = [options, &whole].map(|options| restore(restorer, &picture, options));
    assert!(tiled.tiles > 1 && whole.tiles == 1);
    [tiled.picture.color, whole.picture.color]
}

fn largest(error: &Planes) -> f32 {
    error.data().iter().fold(0.0, |largest, value| value.abs().max(largest))
}

/// 512 pixels of result in tiles of 256 that go through layer after layer together: only rounding differs.
fn check_layers(restorer: &Restorer, options: &RestoreOptions) {
    let tiled = RestoreOptions { tile: Tiling::Size(256), ..options.clone() };
    let [tiled, whole] = both(restorer, 128, &tiled);
    let largest = largest(&difference(&tiled, &whole));
    assert!(largest < 1e-3, "largest difference {largest}");
}

/// The same with tiles that overlap and are joined.
fn check_joined(restorer: &Restorer, bound: f64) {
    let joined = RestoreOptions { tile: Tiling::Size(256), overlap: Some(64), ..plain() };
    let [tiled, whole] = both(restorer, 128, &joined);
    let mean = mean_difference(&tiled, &whole);
    assert!(mean < bound, "mean difference {mean}");
    // They begin at 0, 192 and 256, and end at 256 and 448.
    let (at, elsewhere) = steps(&difference(&tiled, &whole), &[192, 256, 448]);
    assert!(at <= 1.5 * elsewhere + 1e-6, "steps of {at} at the edges of tiles, {elsewhere} elsewhere");
}

#[test]
fn layers_in_tiles_see_the_whole_picture() {
    check_layers(&built_in(), &plain());
    let (_folder, two_levels) = random(&latent_description());
    check_layers(&two_levels, &plain());
    check_layers(&two_levels, &RestoreOptions { guidance: 2.0, ..plain() });
    let (_folder, four_levels) = random(&four_levels());
    check_layers(&four_levels, &plain());
    // The colours of random networks are brought back by a large factor.
    let tiled = RestoreOptions { tile: Tiling::Size(256), ..RestoreOptions::default() };
    let [tiled, whole] = both(&four_levels, 128, &tiled);
    let mean = mean_difference(&tiled, &whole);
    assert!(mean < BOUND, "mean difference {mean}");
}

/// At 1536 pixels attention looks at the surroundings only.
#[test]
fn attention_to_the_surroundings_leaves_no_grid() {
    let (_folder, restorer) = random(&latent_description());
    let fast = RestoreOptions { vae_tiling: VaeTiling::Fast, ..plain() };
    let [tiled, whole] = both(&restorer, 384, &RestoreOptions { tile: Tiling::Size(512), ..fast });
    let mean = mean_difference(&tiled, &whole);
    assert!(mean < BOUND, "mean difference {mean}");
    // Squares of 16 places, 128 pixels.
    let edges: Vec<usize> = (128..1536).step_by(128).collect();
    let [(at, _), (there, _)] = [&tiled, &whole].map(|result| steps(result, &edges));
    assert!(at <= 1.02 * there + 1e-6, "steps of {at} at the edges of squares, {there} without them");
}

#[test]
fn joined_tiles_of_the_built_in_model_leave_no_grid() {
    check_joined(&built_in(), BOUND);
}

#[test]
fn joined_tiles_of_a_latent_model_leave_no_grid() {
    let (_folder, restorer) = random(&short_sighted());
    check_joined(&restorer, BOUND);
}

/// A UNet that sees further than the overlap gives another result in every tile, of random weights all the more: such
/// tiles are joined only where the memory does not suffice for layers of the whole picture.
#[test]
fn joined_tiles_of_a_model_that_sees_further_than_the_overlap_leave_no_grid() {
    let (_folder, restorer) = random(&latent_description());
    check_joined(&restorer, 5.0 * BOUND);
}

/// Statistics of norms then come from four tiles, not from the picture; random weights show that (`docs/method.md`).
#[test]
fn little_memory_is_answered_with_joined_tiles() {
    let (_folder, restorer) = random(&pixels());
    let picture = picture(288, 288);
    let scarce = RestoreOptions { memory: Some(260 << 20), ..plain() };
    let [scarce, ample] = [&scarce, &plain()].map(|options| restore(&restorer, &picture, options));
    assert!(scarce.tiles > ample.tiles, "{} and {} tiles", scarce.tiles, ample.tiles);
    let mean = mean_difference(&scarce.picture.color, &ample.picture.color);
    assert!(mean > 0.0 && mean < 5.0 * BOUND, "mean difference {mean}");
}

#[test]
fn the_exact_autoencoder_agrees_with_the_whole_one() {
    let (_folder, restorer) = random(&latent_description());
    let picture = picture(100, 90);
    let exact = RestoreOptions { vae_tiling: VaeTiling::Exact, ..plain() };
    // Little memory makes the exact mode go layer by layer.
    let scarce = RestoreOptions { memory: Some(180 << 20), ..exact.clone() };
    let [layers, whole] =
        [&scarce, &exact].map(|options| restore(&restorer, &picture, options).picture.color);
    let largest = largest(&difference(&layers, &whole));
    assert!(largest < 1e-3, "largest difference {largest}");
}

/// 2048 pixels of result. What the autoencoder alone differs by is tested beside it; here a random UNet makes more of it.
#[test]
fn the_fast_autoencoder_leaves_no_grid() {
    let (_folder, restorer) = random(&short_sighted());
    let picture = picture(512, 512);
    let exact = RestoreOptions { vae_tiling: VaeTiling::Exact, tile: Tiling::Off, ..plain() };
    let fast = RestoreOptions { vae_tiling: VaeTiling::Fast, ..exact.clone() };
    let [fast, exact] = [&fast, &exact].map(|options| restore(&restorer, &picture, options).picture.color);
    let mean = mean_difference(&fast, &exact);
    assert!(mean < BOUND, "mean difference {mean}");
    // Tiles of 768 overlap by 192: they begin at 0, 576, 1152 and 1280, and end at 768, 1344 and 1920.
    let edges = [576, 768, 1152, 1280, 1344, 1920];
    let (at, elsewhere) = steps(&difference(&fast, &exact), &edges);
    assert!(at <= 1.5 * elsewhere + 1e-6, "steps of {at} at the edges of tiles, {elsewhere} elsewhere");
}
