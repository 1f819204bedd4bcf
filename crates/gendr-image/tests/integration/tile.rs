//! Tile plans and padding hold for every size.

use gendr_image::{Planes, Rect, TileOptions, TilePlan, Window, pad_reflect, pad_reflect_to};
use proptest::prelude::*;

fn options() -> impl Strategy<Value = TileOptions> {
    (1..9usize, 1..20usize, 0.0..1.0f64, prop::bool::ANY).prop_map(|(multiple, tiles, share, gaussian)| {
        let window = if gaussian { Window::Gaussian } else { Window::RaisedCosine };
        let overlap = (share * tiles as f64) as usize;
        TileOptions { tile: tiles * multiple, overlap: overlap * multiple, multiple, window }
    })
}

proptest! {
    #[test]
    fn tiles_cover_the_picture_and_their_weights_sum_to_one(
        width in 1..300usize,
        height in 1..60usize,
        options in options(),
    ) {
        let plan = TilePlan::new(width, height, options).unwrap();
        let stride = options.tile - options.overlap;
        prop_assert!(plan.count() <= width.div_ceil(stride) * height.div_ceil(stride));
        let mut sum = Planes::filled(1, height, width, 0.0);
        for tile in plan.tiles() {
            let rect = tile.rect;
            prop_assert!(Rect::whole(width, height).contains(&rect));
            prop_assert!(rect.width <= options.tile && rect.height <= options.tile);
            prop_assert!(rect.width > 0 && rect.height > 0);
            prop_assert!(rect.x % options.multiple == 0 && rect.y % options.multiple == 0);
            let whole_tile = |side: usize, length: usize| {
                length == side || length == options.tile || length + options.multiple > options.tile
            };
            prop_assert!(whole_tile(width, rect.width) && whole_tile(height, rect.height));
            prop_assert!(tile.columns.iter().chain(&tile.rows).all(|&w| w > 0.0 && w <= 1.0));
            tile.add_to(&mut sum, (0, 0), &Planes::filled(1, rect.height, rect.width, 1.0)).unwrap();
        }
        for value in sum.data() {
            prop_assert!((value - 1.0).abs() < 1e-5, "{}", value);
        }
    }

    #[test]
    fn neighbours_overlap_by_what_was_asked(size in 1..500usize, options in options()) {
        let plan = TilePlan::new(size, 1, options).unwrap();
        for index in 1..plan.count() {
            let (left, right) = (plan.rect(index - 1), plan.rect(index));
            prop_assert!(right.x > left.x);
            prop_assert!(left.x + left.width >= right.x + options.overlap);
        }
        let last = plan.rect(plan.count() - 1);
        prop_assert_eq!(last.x + last.width, size);
    }

    #[test]
    fn any_numbers_give_a_plan_or_an_error(
        width: usize, height: usize, tile: usize, overlap: usize, multiple in 0..20usize,
    ) {
        let options = TileOptions { tile, overlap, multiple, window: Window::RaisedCosine };
        if let Ok(plan) = TilePlan::new(width, height, options) {
            let last = plan.rect(plan.count() - 1);
            prop_assert!(Rect::whole(width, height).contains(&last));
            prop_assert_eq!((last.x + last.width, last.y + last.height), (width, height));
        }
    }

    #[test]
    fn padding_reflects_and_crops_back(width in 1..20usize, height in 1..20usize, multiple in 1..40usize) {
        let data = (0..width * height).map(|i| i as f32).collect();
        let source = Planes::from_vec(1, height, width, data).unwrap();
        let padded = pad_reflect(&source, multiple).unwrap();
        prop_assert!(padded.width().is_multiple_of(multiple) && padded.height().is_multiple_of(multiple));
        prop_assert!(padded.width() < width + multiple && padded.height() < height + multiple);
        prop_assert_eq!(padded.crop(0, 0, width, height).unwrap(), source);
        if width > 1 && padded.width() > width {
            prop_assert_eq!(padded.row(0, 0)[width], padded.row(0, 0)[width - 2]);
        }
    }
}

#[test]
fn joined_tiles_give_the_picture_back_even_in_strips() {
    let (width, height) = (201, 77);
    let data = (0..width * height * 3).map(|i| ((i * 31) % 255) as f32 / 254.0).collect();
    let source = Planes::from_vec(3, height, width, data).unwrap();
    let options = TileOptions { tile: 64, overlap: 16, multiple: 8, window: Window::RaisedCosine };
    let plan = TilePlan::new(width, height, options).unwrap();
    for strip in [Rect::whole(width, height), Rect { x: 30, y: 41, width: 100, height: 20 }] {
        let mut canvas = Planes::filled(3, strip.height, strip.width, 0.0);
        for tile in plan.tiles() {
            let rect = tile.rect;
            let pixels = source.crop(rect.x, rect.y, rect.width, rect.height).unwrap();
            tile.add_to(&mut canvas, (strip.x, strip.y), &pixels).unwrap();
        }
        let want = source.crop(strip.x, strip.y, strip.width, strip.height).unwrap();
        for (got, want) in canvas.data().iter().zip(want.data()) {
            assert!((got - want).abs() < 1e-5, "{got}, not {want}");
        }
    }
}

#[test]
fn a_small_picture_is_one_tile() {
    let options = TileOptions { tile: 64, overlap: 16, multiple: 8, window: Window::Gaussian };
    for (width, height) in [(1, 1), (7, 3), (64, 64)] {
        let plan = TilePlan::new(width, height, options).unwrap();
        assert_eq!(plan.count(), 1);
        let tile = plan.tile(0);
        assert_eq!(tile.rect, Rect::whole(width, height));
        assert!(tile.columns.iter().chain(&tile.rows).all(|&weight| weight == 1.0));
    }
}

#[test]
fn huge_pictures_do_not_overflow() {
    let side = 1_000_000_000;
    let options = TileOptions { tile: 1 << 20, overlap: 1 << 10, multiple: 8, window: Window::RaisedCosine };
    let plan = TilePlan::new(side, side, options).unwrap();
    let last = plan.rect(plan.count() - 1);
    assert_eq!((last.x + last.width, last.y + last.height), (side, side));
    let small = TileOptions { tile: 64, overlap: 56, multiple: 8, window: Window::RaisedCosine };
    assert!(TilePlan::new(side, side, small).is_err());
    assert!(TilePlan::new(usize::MAX, usize::MAX, small).is_err());
}

#[test]
fn senseless_tiles_and_pads_are_refused() {
    let good = TileOptions { tile: 64, overlap: 16, multiple: 8, window: Window::RaisedCosine };
    for bad in [
        TileOptions { tile: 0, ..good },
        TileOptions { overlap: 64, ..good },
        TileOptions { overlap: 72, ..good },
        TileOptions { tile: 60, ..good },
        TileOptions { overlap: 4, ..good },
        TileOptions { multiple: 0, ..good },
    ] {
        assert!(TilePlan::new(100, 100, bad).is_err(), "{bad:?}");
    }
    assert!(TilePlan::new(0, 100, good).is_err());
    let one = Planes::filled(1, 1, 1, 0.5);
    assert!(pad_reflect(&one, 0).is_err());
    assert!(pad_reflect(&one, usize::MAX).is_err());
    assert!(pad_reflect_to(&one, 0, 1).is_err());
    assert_eq!(pad_reflect(&one, 8).unwrap(), Planes::filled(1, 8, 8, 0.5));
    let plan = TilePlan::new(100, 100, good).unwrap();
    let mut canvas = Planes::filled(1, 100, 100, 0.0);
    assert!(plan.tile(0).add_to(&mut canvas, (0, 0), &Planes::filled(1, 64, 63, 0.0)).is_err());
    assert!(plan.tile(0).add_to(&mut canvas, (0, 0), &Planes::filled(3, 64, 64, 0.0)).is_err());
}
