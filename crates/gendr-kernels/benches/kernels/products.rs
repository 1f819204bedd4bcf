//! Linear layers and attention.

use crate::{filled, timing::Report};
use gendr_kernels::{
    AttentionShape, LinearShape, attention, attention_backward, linear, linear_backward_input,
    linear_backward_weight, linear_geglu,
};
use std::hint::black_box;

pub(crate) fn measure(report: &Report) {
    println!("linear layers: GF/s                     forward, to the input, to the weights");
    for (rows, in_features, out_features) in [
        (4096, 320, 320),
        (4096, 320, 2560),
        (4096, 1280, 320),
        (1024, 640, 640),
        (1024, 640, 5120),
        (256, 1280, 1280),
        (256, 1280, 10240),
        (256, 5120, 1280),
        (64, 1280, 1280),
        (77, 1024, 320),
        (2048, 2048, 2048),
        // Training a small UNet, eight pictures at once.
        (8192, 64, 64),
        (8192, 64, 512),
        (8192, 256, 64),
        (2048, 128, 128),
        (2048, 128, 1024),
        (512, 256, 256),
    ] {
        let name = format!("linear {rows}x{in_features}>{out_features}");
        if !report.wants(&name) {
            continue;
        }
        let shape = LinearShape { rows, in_features, out_features };
        let (mut x, mut weight) = (filled(rows * in_features), filled(in_features * out_features));
        let mut y = vec![0.0; rows * out_features];
        let flops = 2 * rows * in_features * out_features;
        report.line(&name, flops, || linear(&shape, black_box(&x), &weight, None, black_box(&mut y)));
        report.line(&format!("{name} to input"), flops, || {
            linear_backward_input(&shape, black_box(&y), &weight, black_box(&mut x));
        });
        report.line(&format!("{name} to weights"), flops, || {
            linear_backward_weight(&shape, black_box(&x), &y, black_box(&mut weight));
        });
        if out_features == 8 * in_features {
            let half = LinearShape { out_features: out_features / 2, ..shape };
            let y = &mut y[..rows * half.out_features];
            report.line(&format!("{name} geglu"), flops, || {
                linear_geglu(&half, black_box(&x), &weight, None, black_box(y));
            });
        }
    }
    println!("attention: GF/s of two (gradients: five) products");
    for (heads, queries, keys, head_size) in [
        (5, 4096, 4096, 64),
        (10, 1024, 1024, 64),
        (20, 256, 256, 64),
        (20, 64, 64, 64),
        (5, 4096, 77, 64),
        (20, 256, 77, 64),
        (1, 4096, 4096, 512),
        (8, 1024, 1024, 64),
        (16, 256, 256, 64),
        (8, 1024, 77, 64),
    ] {
        let name = format!("attention {heads}x{queries}x{keys}x{head_size}");
        if !report.wants(&name) {
            continue;
        }
        let shape = AttentionShape { batch: 1, heads, queries, keys, head_size };
        let (q, k, v) = (filled(shape.query_len()), filled(shape.key_len()), filled(shape.key_len()));
        let mut y = vec![0.0; q.len()];
        let mut logarithms = vec![0.0; shape.logarithm_len()];
        report.line(&name, shape.flops(), || {
            attention(&shape, black_box(&q), &k, &v, &mut y, Some(&mut logarithms));
        });
        let (mut a, mut b, mut c) = (q.clone(), k.clone(), v.clone());
        report.line(&format!("{name} gradients"), shape.flops() / 2 * 5, || {
            attention_backward(&shape, black_box(&q), &k, &v, &y, &logarithms, &q, &mut a, &mut b, &mut c);
        });
    }
}
