//! Every route at every level against plain f64 sums.

use super::*;
use crate::{
    activation::Activation,
    conv_shape::Padding,
    noise::{errors, noise, typical_sum},
    scratch::with_scratch,
};
use proptest::prelude::*;

/// Calls `visit(output index, input index, weight index)` for each product of the convolution.
fn products(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (out_height, out_width) = shape.output_size();
    let k = shape.kernel;
    let ((height, width), step) = (shape.stored_size(), if shape.enlarged { 2 } else { 1 });
    for n in 0..shape.batch {
        for o in 0..shape.out_channels {
            for c in 0..shape.in_channels {
                for y in 0..out_height {
                    for x in 0..out_width {
                        for i in 0..k {
                            for j in 0..k {
                                let row = (y * shape.stride + i).wrapping_sub(shape.padding.top);
                                let column = (x * shape.stride + j).wrapping_sub(shape.padding.left);
                                if row < shape.height && column < shape.width {
                                    let (row, column) = (row / step, column / step);
                                    visit(
                                        ((n * shape.out_channels + o) * out_height + y) * out_width + x,
                                        ((n * shape.in_channels + c) * height + row) * width + column,
                                        ((o * shape.in_channels + c) * k + i) * k + j,
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn shapes() -> impl Strategy<Value = ConvShape> {
    let padding = (0usize..3, 0usize..3, 0usize..3, 0usize..3);
    let channels = prop_oneof![1usize..6, 14usize..20, 30usize..36];
    let sizes = prop_oneof![(1usize..8, 1usize..8), (5usize..24, 5usize..24), (1usize..6, 60usize..75)];
    (
        1usize..3,
        channels.clone(),
        channels,
        sizes,
        prop_oneof![4 => Just(3usize), 1 => Just(1usize), 1 => Just(5), 1 => Just(2)],
        1usize..3,
        padding,
    )
        .prop_map(
            |(
                batch,
                in_channels,
                out_channels,
                (height, width),
                kernel,
                stride,
                (top, bottom, left, right),
            )| {
                let padding = Padding { top, bottom, left, right };
                ConvShape {
                    batch,
                    in_channels,
                    out_channels,
                    height,
                    width,
                    kernel,
                    stride,
                    padding,
                    enlarged: false,
                }
            },
        )
        .prop_filter("kernel fits", |shape| shape.checked().is_ok())
}

fn routes(shape: &ConvShape) -> Vec<Route> {
    let winograd: &[Method] = match (shape.kernel, shape.stride) {
        (3, 1) => &[Method::F2, Method::F4],
        (3, 2) => &[Method::F2Strided],
        _ => &[],
    };
    std::iter::once(Route::Direct).chain(winograd.iter().map(|&method| Route::Winograd(method))).collect()
}

fn check_forward(shape: &ConvShape, seed: u64, rms_bound: f64, max_bound: f64) {
    let input = noise(seed, shape.input_len());
    let weight = noise(seed + 1, shape.weight_len());
    let bias = noise(seed + 2, shape.out_channels);
    let residual = noise(seed + 3, shape.output_len());
    let finish = Finish { residual: Some(&residual), scale: 0.5, ..Finish::bias(&bias) };
    let area = shape.out_height() * shape.out_width();
    let mut want: Vec<f64> =
        (0..shape.output_len()).map(|i| f64::from(bias[i / area % shape.out_channels])).collect();
    let mut terms = 0.0;
    products(shape, |o, i, w| {
        want[o] += f64::from(input[i]) * f64::from(weight[w]);
        terms += 1.0;
    });
    let typical = typical_sum(terms / want.len() as f64) * 0.5;
    want.iter_mut().zip(&residual).for_each(|(want, residual)| *want = *want * 0.5 + f64::from(*residual));
    for level in Level::available() {
        for route in routes(shape) {
            let filters = Filters::stored(&weight, shape.out_channels, shape.in_channels, shape.kernel);
            let mut got = vec![f32::NAN; shape.output_len()];
            convolve_by(route, level, shape, &input, filters, finish, &mut got);
            let (rms, max) = errors(&got, &want, typical);
            assert!(rms <= rms_bound && max <= max_bound, "{level:?} {route:?} {shape:?}: {rms:e} {max:e}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn forward_agrees_with_plain_sums(shape in shapes(), seed in 0u64..1000) {
        check_forward(&shape, seed, 1e-5, 1e-4);
    }

    #[test]
    fn enlarged_inputs_are_read_as_if_they_were_stored_so(shape in shapes(), seed in 0u64..1000) {
        check_forward(&ConvShape { enlarged: true, stride: 1, ..shape }, seed, 1e-5, 1e-4);
    }

    #[test]
    fn gradients_agree_with_plain_sums(shape in shapes(), seed in 0u64..1000) {
        let input = noise(seed, shape.input_len());
        let weight = noise(seed + 1, shape.weight_len());
        let gradient = noise(seed + 2, shape.output_len());
        let mut want_input = vec![0.0; shape.input_len()];
        let mut want_weight = vec![0.0; shape.weight_len()];
        let mut terms = 0.0;
        products(&shape, |o, i, w| {
            terms += 1.0;
            want_input[i] += f64::from(gradient[o]) * f64::from(weight[w]);
            want_weight[w] += f64::from(gradient[o]) * f64::from(input[i]);
        });
        let area = shape.out_height() * shape.out_width();
        let mut want_bias = vec![0.0; shape.out_channels];
        for (i, g) in gradient.iter().enumerate() {
            want_bias[i / area % shape.out_channels] += f64::from(*g);
        }
        for level in Level::available() {
            let check = |what: &str, got: &[f32], want: &[f64], terms: f64| {
                let (rms, max) = errors(got, want, typical_sum(terms / want.len() as f64));
                assert!(rms <= 1e-5 && max <= 1e-4, "{what} {level:?} {shape:?}: {rms:e} {max:e}");
            };
            level.force(|| {
                let mut got = vec![f32::NAN; shape.input_len()];
                conv2d_backward_input(&shape, &gradient, &weight, &mut got);
                check("input", &got, &want_input, terms);
                let mut got = vec![f32::NAN; shape.weight_len()];
                conv2d_backward_weight(&shape, &input, &gradient, &mut got);
                check("weight", &got, &want_weight, terms);
                let mut got = vec![f32::NAN; shape.out_channels];
                conv2d_backward_bias(&shape, &gradient, &mut got);
                check("bias", &got, &want_bias, gradient.len() as f64);
            });
        }
    }
}

#[test]
fn jobs_that_share_gathered_pixels_agree_with_plain_sums() {
    // Output channels enough for several jobs, weights of each enough for several passes.
    let strided = ConvShape { stride: 2, ..ConvShape::same(2, 34, 140, 9, 29, 3) };
    for shape in [strided, ConvShape::same(1, 300, 140, 5, 7, 1), ConvShape::same(1, 12, 70, 6, 5, 5)] {
        check_forward(&shape, 1, 1e-5, 1e-4);
    }
}

#[test]
fn rows_of_several_vectors_agree_with_plain_sums() {
    // Whole vectors at both edges of a row, and a part of one.
    for (width, padding) in [(128, 1), (192, 1), (135, 1), (140, 0), (129, 2)] {
        for stride in [1, 2] {
            let padding = Padding::all(padding);
            check_forward(
                &ConvShape { stride, padding, ..ConvShape::same(1, 2, 5, 6, width, 3) },
                1,
                1e-5,
                1e-4,
            );
        }
    }
}

#[test]
fn winograd_weight_gradient_agrees_with_plain_sums() {
    for shape in [ConvShape::same(2, 17, 50, 26, 33, 3), ConvShape::same(1, 32, 16, 40, 40, 3)] {
        let input = noise(1, shape.input_len());
        let gradient = noise(2, shape.output_len());
        let mut want = vec![0.0; shape.weight_len()];
        products(&shape, |o, i, w| want[w] += f64::from(gradient[o]) * f64::from(input[i]));
        for level in Level::available() {
            let mut got = vec![f32::NAN; shape.weight_len()];
            level.force(|| conv2d_backward_weight(&shape, &input, &gradient, &mut got));
            let (rms, max) = errors(&got, &want, 0.0);
            assert!(rms <= 1e-5 && max <= 1e-4, "{level:?} {shape:?}: {rms:e} {max:e}");
        }
    }
}

#[test]
fn rounding_stays_within_the_stated_bound() {
    for shape in [ConvShape::same(1, 300, 24, 17, 35, 3), ConvShape::same(1, 64, 70, 24, 24, 3)] {
        check_forward(&shape, 7, 4e-6, 6e-5);
    }
    let strided = ConvShape { stride: 2, ..ConvShape::same(1, 300, 24, 31, 47, 3) };
    check_forward(&strided, 7, 1e-6, 1e-5);
}

/// What becomes of a value in a channel.
type Rectifier<'a> = &'a dyn Fn(f32, usize) -> f32;

#[test]
fn activations_follow_the_bias() {
    let shape = ConvShape::same(1, 3, 5, 9, 9, 3);
    let (input, weight, bias) = (noise(1, shape.input_len()), noise(2, shape.weight_len()), noise(3, 5));
    let slopes = [0.1, 0.2, -0.3, 0.0, 1.5];
    let mut linear = vec![0.0; shape.output_len()];
    conv2d(&shape, &input, &weight, &Finish::bias(&bias), &mut linear);
    for level in Level::available() {
        for route in routes(&shape) {
            let cases: [(Activation<'_>, Rectifier<'_>); 3] = [
                (Activation::Silu, &|x, _| x / (1.0 + (-x).exp())),
                (Activation::LeakyRelu(0.2), &|x, _| if x < 0.0 { 0.2 * x } else { x }),
                (Activation::PRelu(&slopes), &|x, c| if x < 0.0 { slopes[c] * x } else { x }),
            ];
            for (activation, want) in cases {
                let filters = Filters::stored(&weight, 5, 3, 3);
                let mut got = vec![f32::NAN; shape.output_len()];
                let finish = Finish { activation, ..Finish::bias(&bias) };
                convolve_by(route, level, &shape, &input, filters, finish, &mut got);
                for (i, (got, &x)) in got.iter().zip(&linear).enumerate() {
                    assert!((got - want(x, i / 81)).abs() < 2e-5, "{level:?} {route:?} {activation:?} {i}");
                }
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let shape = ConvShape::same(2, 40, 24, 37, 29, 3);
    let (input, weight) = (noise(1, shape.input_len()), noise(2, shape.weight_len()));
    let gradient = noise(3, shape.output_len());
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut output = vec![0.0; shape.output_len()];
            let mut input_gradient = vec![0.0; shape.input_len()];
            let mut weight_gradient = vec![0.0; shape.weight_len()];
            conv2d(&shape, &input, &weight, &Finish::default(), &mut output);
            conv2d_backward_input(&shape, &gradient, &weight, &mut input_gradient);
            conv2d_backward_weight(&shape, &input, &gradient, &mut weight_gradient);
            (output, input_gradient, weight_gradient)
        })
    };
    assert_eq!(run(1), run(5));
}

#[test]
fn impossible_shapes_are_refused() {
    let good = ConvShape::same(1, 3, 5, 9, 9, 3);
    assert!(good.checked().is_ok());
    for bad in [
        ConvShape { batch: 0, ..good },
        ConvShape { stride: 0, ..good },
        ConvShape { stride: 2, enlarged: true, ..good },
        ConvShape { kernel: 12, ..good },
        ConvShape { height: usize::MAX, ..good },
        ConvShape { padding: Padding::all(usize::MAX), ..good },
    ] {
        assert!(bad.checked().is_err(), "{bad:?}");
    }
}

#[test]
fn results_too_large_for_a_cache_are_the_same() {
    // Wide enough for 8 Mi floats of output, so that they are written past the caches.
    let shape = ConvShape::same(1, 2, 16, 721, 728, 3);
    assert!(shape.output_len() >= crate::simd::UNCACHED);
    let (input, weight) = (noise(1, shape.input_len()), noise(2, shape.weight_len()));
    let filters = Filters::stored(&weight, shape.out_channels, shape.in_channels, 3);
    for level in Level::available() {
        let [direct, winograd] = [Route::Direct, Route::Winograd(Method::F4)].map(|route| {
            // Aligned, as only vectors that are can be written so.
            with_scratch(shape.output_len(), |output| {
                output.fill(f32::NAN);
                convolve_by(route, level, &shape, &input, filters, Finish::default(), output);
                output.to_vec()
            })
        });
        let furthest = direct.iter().zip(&winograd).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-4, "{}: {furthest}", level.name());
    }
}
