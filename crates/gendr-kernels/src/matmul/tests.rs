//! Products against plain f64 sums.

use super::*;
use crate::noise::{erf, errors, noise, typical_sum};
use proptest::prelude::*;

fn at(data: &[f32], transposed: bool, [rows, columns]: [usize; 2], row: usize, column: usize) -> f64 {
    f64::from(data[if transposed { column * rows + row } else { row * columns + column }])
}

fn reference(shape: &MatmulShape, left: &[f32], right: &[f32]) -> Vec<f64> {
    let &MatmulShape { batch, rows, columns, depth, left_transposed, right_transposed } = shape;
    let mut want = Vec::new();
    for n in 0..batch {
        let (left, right) = (&left[n * rows * depth..], &right[n * depth * columns..]);
        for row in 0..rows {
            for column in 0..columns {
                let product = |k| {
                    at(left, left_transposed, [rows, depth], row, k)
                        * at(right, right_transposed, [depth, columns], k, column)
                };
                want.push((0..depth).map(product).sum());
            }
        }
    }
    want
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 1usize..40, 1 => 60usize..100, 1 => Just(200)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_agree_with_plain_sums(
        batch in 1usize..3,
        rows in sizes(),
        columns in sizes(),
        depth in prop_oneof![4 => 1usize..50, 1 => Just(400)],
        left_transposed: bool,
        right_transposed: bool,
        seed in 0u64..1000,
    ) {
        let shape = MatmulShape { batch, rows, columns, depth, left_transposed, right_transposed };
        let (left, right) = (noise(seed, batch * rows * depth), noise(seed + 1, batch * depth * columns));
        let want = reference(&shape, &left, &right);
        for level in Level::available() {
            let mut got = vec![f32::NAN; want.len()];
            level.force(|| matmul(&shape, &left, &right, &mut got));
            let (rms, max) = errors(&got, &want, typical_sum(depth as f64));
            prop_assert!(rms < 2e-6 && max < 2e-5, "{level:?} {shape:?}: {rms:e} {max:e}");
        }
    }

    #[test]
    fn linear_layers_and_their_gradients_agree(rows in sizes(), inputs in sizes(), outputs in sizes(), seed in 0u64..1000) {
        let shape = LinearShape { rows, in_features: inputs, out_features: outputs };
        let (x, weight) = (noise(seed, rows * inputs), noise(seed + 1, outputs * inputs));
        let (bias, gradient) = (noise(seed + 2, outputs), noise(seed + 3, rows * outputs));
        let product = MatmulShape { right_transposed: true, ..MatmulShape::new(rows, outputs, inputs) };
        let mut want = reference(&product, &x, &weight);
        want.iter_mut().enumerate().for_each(|(i, want)| *want += f64::from(bias[i % outputs]));
        let want_input = reference(&MatmulShape::new(rows, inputs, outputs), &gradient, &weight);
        let product = MatmulShape { left_transposed: true, ..MatmulShape::new(outputs, inputs, rows) };
        let want_weight = reference(&product, &gradient, &x);
        let want_bias = reference(&MatmulShape::new(1, outputs, rows), &vec![1.0; rows], &gradient);
        for level in Level::available() {
            let check = |what: &str, got: &[f32], want: &[f64], terms: usize| {
                let (rms, max) = errors(got, want, typical_sum(terms as f64));
                assert!(rms < 2e-6 && max < 2e-5, "{what} {level:?} {shape:?}: {rms:e} {max:e}");
            };
            level.force(|| {
                let mut got = vec![f32::NAN; want.len()];
                linear(&shape, &x, &weight, Some(&bias), &mut got);
                check("forward", &got, &want, inputs);
                linear_added(&shape, &x, &weight, Some(&bias), Some(&gradient), &mut got);
                let added: Vec<f64> = want.iter().zip(&gradient).map(|(y, g)| y + f64::from(*g)).collect();
                check("added", &got, &added, inputs);
                let mut got = vec![f32::NAN; want_input.len()];
                linear_backward_input(&shape, &gradient, &weight, &mut got);
                check("input", &got, &want_input, outputs);
                let mut got = vec![f32::NAN; want_weight.len()];
                linear_backward_weight(&shape, &x, &gradient, &mut got);
                check("weight", &got, &want_weight, rows);
                let mut got = vec![f32::NAN; outputs];
                linear_backward_bias(&shape, &gradient, &mut got);
                check("bias", &got, &want_bias, rows);
            });
        }
    }

    #[test]
    fn gated_layers_agree(rows in sizes(), inputs in sizes(), outputs in sizes(), seed in 0u64..1000) {
        let shape = LinearShape { rows, in_features: inputs, out_features: outputs };
        let (x, weight, bias) = (noise(seed, rows * inputs), noise(seed + 1, 2 * outputs * inputs), noise(seed + 2, 2 * outputs));
        let mut halves = vec![0.0; rows * 2 * outputs];
        linear(&LinearShape { out_features: 2 * outputs, ..shape }, &x, &weight, Some(&bias), &mut halves);
        let gelu = |x: f64| 0.5 * x * (1.0 + erf(x / 2f64.sqrt()));
        let want: Vec<f64> = (0..rows * outputs)
            .map(|i| {
                let row = &halves[i / outputs * 2 * outputs..];
                f64::from(row[i % outputs]) * gelu(f64::from(row[outputs + i % outputs]))
            })
            .collect();
        for level in Level::available() {
            let mut got = vec![f32::NAN; want.len()];
            level.force(|| linear_geglu(&shape, &x, &weight, Some(&bias), &mut got));
            let (rms, max) = errors(&got, &want, 0.0);
            prop_assert!(rms < 4e-6 && max < 4e-5, "{level:?} {shape:?}: {rms:e} {max:e}");
        }
    }
}

#[test]
fn layers_of_few_and_of_many_tokens_agree() {
    // Sums of several passes and outputs of several jobs, for as many tokens as go each way.
    for rows in [1, 77, 300] {
        let shape = LinearShape { rows, in_features: 515, out_features: 133 };
        let (x, weight) = (noise(1, rows * 515), noise(2, 133 * 515));
        let (bias, residual) = (noise(3, 133), noise(4, rows * 133));
        let product = MatmulShape { right_transposed: true, ..MatmulShape::new(rows, 133, 515) };
        let mut want = reference(&product, &x, &weight);
        let added = |i: usize| f64::from(bias[i % 133]) + f64::from(residual[i]);
        want.iter_mut().enumerate().for_each(|(i, want)| *want += added(i));
        for level in Level::available() {
            let mut got = vec![f32::NAN; want.len()];
            level.force(|| linear_added(&shape, &x, &weight, Some(&bias), Some(&residual), &mut got));
            let (rms, max) = errors(&got, &want, typical_sum(515.0));
            assert!(rms < 2e-6 && max < 2e-5, "{level:?} {shape:?}: {rms:e} {max:e}");
        }
    }
}

#[test]
fn long_sums_are_shared_out() {
    // More terms than two parts have, more result rows than go by at once.
    let shape = LinearShape { rows: 1501, in_features: 37, out_features: 140 };
    let (x, gradient) = (noise(1, shape.rows * shape.in_features), noise(2, shape.rows * shape.out_features));
    let product = MatmulShape {
        left_transposed: true,
        ..MatmulShape::new(shape.out_features, shape.in_features, shape.rows)
    };
    let want = reference(&product, &gradient, &x);
    for level in Level::available() {
        let run = |threads: usize| {
            let mut got = vec![f32::NAN; want.len()];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| level.force(|| linear_backward_weight(&shape, &x, &gradient, &mut got)));
            got
        };
        let got = run(1);
        let (rms, max) = errors(&got, &want, typical_sum(shape.rows as f64));
        assert!(rms < 2e-6 && max < 2e-5, "{level:?}: {rms:e} {max:e}");
        assert_eq!(got, run(5), "{level:?}");
    }
}

#[test]
fn an_empty_sum_is_zero() {
    let mut got = [1.0; 6];
    matmul(&MatmulShape::new(2, 3, 0), &[], &[], &mut got);
    assert_eq!(got, [0.0; 6]);
}
