//! Tiled and untiled results agree, and tiles leave no grid.

use gendr::{Planes, RestoreOptions, Restorer, Tiling, VaeTiling};

use crate::support::{
    built_in, latent_description, mean_difference, picture, plain, random, restore, short_sighted,
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

/// 512 pixels of result in tiles of 256 against all at once.
fn check(restorer: &Restorer, options: &RestoreOptions, bound: f64) {
    let picture = picture(128, 128);
    let tiled = RestoreOptions { tile: Tiling::Size(256), ..options.clone() };
    let whole = RestoreOptions { tile: Tiling::Off, ..options.clone() };
    let [tiled, whole] = [tiled, whole].map(|options| restore(restorer, &picture, &options));
    assert!(tiled.tiles > 1 && whole.tiles == 1);
    let mean = mean_difference(&tiled.picture.color, &whole.picture.color);
    assert!(mean < bound, "mean difference {mean}");
    // Tiles of 256 overlap by 64: they begin at 0, 192 and 256, and end at 256 and 448.
    let error = difference(&tiled.picture.color, &whole.picture.color);
    let (at, elsewhere) = steps(&error, &[192, 256, 448]);
    assert!(at <= 1.5 * elsewhere + 1e-6, "steps of {at} at the edges of tiles, {elsewhere} elsewhere");
}

#[test]
fn the_built_in_model_leaves_no_grid() {
    check(&built_in(), &plain(), BOUND);
}

#[test]
fn a_latent_model_leaves_no_grid() {
    let (_folder, restorer) = random(&short_sighted());
    check(&restorer, &plain(), BOUND);
}

/// A UNet that sees further than the overlap gives another result in every tile, of random weights all the more.
#[test]
fn a_model_that_sees_further_than_the_overlap_leaves_no_grid() {
    let (_folder, restorer) = random(&latent_description());
    check(&restorer, &plain(), 5.0 * BOUND);
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
    let largest = layers.data().iter().zip(whole.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
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
