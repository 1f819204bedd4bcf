//! Attention against plain f64 sums.

use super::*;
use crate::noise::{errors, noise, root_mean_square};
use proptest::prelude::*;

/// Result and gradients of query, key and value, and how large the terms are that each of their values is the sum of.
fn reference(shape: &AttentionShape, [q, k, v, g]: [&[f32]; 4]) -> ([Vec<f64>; 4], [Vec<f64>; 4]) {
    let width = shape.width();
    let mut want = [vec![0.0; q.len()], vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; k.len()]];
    let mut terms = want.clone();
    for (batch, head) in (0..shape.batch).flat_map(|b| (0..shape.heads).map(move |h| (b, h))) {
        let query_at = |i: usize| (batch * shape.queries + i) * width + head * shape.head_size;
        let key_at = |j: usize| (batch * shape.keys + j) * width + head * shape.head_size;
        let dot = |a: &[f32], b: &[f32]| {
            (0..shape.head_size).map(|d| f64::from(a[d]) * f64::from(b[d])).sum::<f64>()
        };
        let scale = 1.0 / (shape.head_size as f64).sqrt();
        for i in 0..shape.queries {
            let scores: Vec<_> =
                (0..shape.keys).map(|j| dot(&q[query_at(i)..], &k[key_at(j)..]) * scale).collect();
            let top = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|x| (x - top).exp()).sum();
            let p: Vec<_> = scores.iter().map(|x| (x - top).exp() / sum).collect();
            let p_gradient: Vec<_> =
                (0..shape.keys).map(|j| dot(&g[query_at(i)..], &v[key_at(j)..])).collect();
            let mean: f64 = p.iter().zip(&p_gradient).map(|(p, g)| p * g).sum();
            for j in 0..shape.keys {
                let s = p[j] * (p_gradient[j] - mean) * scale;
                let s_terms = p[j] * (p_gradient[j].abs() + mean.abs()) * scale;
                for d in 0..shape.head_size {
                    let (i, j_at) = (query_at(i) + d, key_at(j) + d);
                    let mut add = |of: usize, at: usize, factor: f64, size: f64, value: f32| {
                        want[of][at] += factor * f64::from(value);
                        terms[of][at] += size * f64::from(value).abs();
                    };
                    add(0, i, p[j], p[j], v[j_at]);
                    add(1, i, s, s_terms, k[j_at]);
                    add(2, j_at, s, s_terms, q[i]);
                    add(3, j_at, p[j], p[j], g[i]);
                }
            }
        }
    }
    (want, terms)
}

fn check(shape: &AttentionShape, seed: u64, sharpness: f32) {
    let q: Vec<f32> = noise(seed, shape.query_len()).iter().map(|x| x * sharpness).collect();
    let (k, v) = (noise(seed + 1, shape.key_len()), noise(seed + 2, shape.key_len()));
    let g = noise(seed + 3, shape.query_len());
    let (want, terms) = reference(shape, [&q, &k, &v, &g]);
    for level in Level::available() {
        let nan = |len| vec![f32::NAN; len];
        let [mut y, mut q_grad] = [nan(q.len()), nan(q.len())];
        let [mut k_grad, mut v_grad] = [nan(k.len()), nan(k.len())];
        let mut logarithms = nan(shape.logarithm_len());
        level.force(|| {
            attention(shape, &q, &k, &v, &mut y, Some(&mut logarithms));
            attention_backward(shape, &q, &k, &v, &y, &logarithms, &g, &mut q_grad, &mut k_grad, &mut v_grad);
        });
        for (i, (got, want)) in [y, q_grad, k_grad, v_grad].iter().zip(&want).enumerate() {
            // A sharp softmax leaves nearly nothing of a gradient: what is left are rounding errors of terms that cancel.
            let (rms, max) = errors(got, want, root_mean_square(&terms[i]));
            assert!(rms < 2e-5 && max < 3e-4, "{i} {level:?} {shape:?} {sharpness}: {rms:e} {max:e}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn agrees_with_plain_sums(
        batch in 1usize..3,
        heads in 1usize..4,
        queries in prop_oneof![1usize..10, 60usize..70, 190usize..200],
        keys in prop_oneof![1usize..10, 70usize..80, 190usize..200, Just(400)],
        head_size in prop_oneof![1usize..20, 60usize..68, Just(40)],
        sharpness in prop_oneof![Just(1.0f32), Just(30.0)],
        seed in 0u64..1000,
    ) {
        check(&AttentionShape { batch, heads, queries, keys, head_size }, seed, sharpness);
    }
}

#[test]
fn agrees_for_the_sizes_of_the_networks() {
    check(&AttentionShape { batch: 1, heads: 1, queries: 130, keys: 130, head_size: 512 }, 1, 1.0);
    check(&AttentionShape { batch: 1, heads: 5, queries: 256, keys: 77, head_size: 64 }, 2, 1.0);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let shape = AttentionShape { batch: 2, heads: 3, queries: 250, keys: 210, head_size: 24 };
    let (q, k, v) = (noise(1, shape.query_len()), noise(2, shape.key_len()), noise(3, shape.key_len()));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut logarithms = vec![0.0; shape.logarithm_len()];
            let [mut y, mut a] = [vec![0.0; q.len()], vec![0.0; q.len()]];
            let [mut b, mut c] = [vec![0.0; k.len()], vec![0.0; k.len()]];
            attention(&shape, &q, &k, &v, &mut y, Some(&mut logarithms));
            attention_backward(&shape, &q, &k, &v, &y, &logarithms, &q, &mut a, &mut b, &mut c);
            (y, a, b, c)
        })
    };
    let one = run(1);
    assert_eq!(one, run(4));
    // More threads than heads: the gradients take another way.
    assert_eq!(one, run(16));
}

#[test]
fn equal_and_huge_scores_are_fine() {
    let shape = AttentionShape { batch: 1, heads: 1, queries: 3, keys: 500, head_size: 4 };
    for size in [0.0, 1e3] {
        let (q, k, v) = (vec![size; 12], vec![size; 2000], vec![2.5; 2000]);
        let mut y = vec![0.0; 12];
        attention(&shape, &q, &k, &v, &mut y, None);
        assert!(y.iter().all(|y| (y - 2.5).abs() < 1e-5), "{y:?}");
    }
}

#[test]
fn without_queries_keys_and_values_have_no_gradient() {
    let shape = AttentionShape { batch: 2, heads: 1, queries: 0, keys: 3, head_size: 4 };
    let (key, value) = (noise(1, shape.key_len()), noise(2, shape.key_len()));
    let (mut of_key, mut of_value) = (vec![f32::NAN; key.len()], vec![f32::NAN; key.len()]);
    attention_backward(&shape, &[], &key, &value, &[], &[], &[], &mut [], &mut of_key, &mut of_value);
    assert!(of_key.iter().chain(&of_value).all(|&x| x == 0.0));
}
