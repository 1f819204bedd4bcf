//! Kernels that memory limits: norms and rectifiers.

use crate::{filled, timing::Report};
use gendr_kernels::{
    GroupNormShape, LayerNormShape, Rectifier, group_norm, group_norm_backward, layer_norm,
    layer_norm_backward,
};
use std::hint::black_box;

pub(crate) fn measure(report: &Report) {
    println!(
        "norms and rectifiers: GB/s of what must be read and written once (forward 8, gradients 12 bytes a float)"
    );
    for (channels, size) in [(128, 512), (256, 256), (512, 64), (320, 64), (1280, 16), (64, 64)] {
        let name = format!("group_norm+silu {channels}@{size}");
        if !report.wants(&name) {
            continue;
        }
        let shape =
            GroupNormShape { batch: 1, channels, pixels: size * size, groups: 32, epsilon: 1e-5, silu: true };
        let (x, weight, bias) = (filled(shape.len()), filled(channels), filled(channels));
        let mut y = vec![0.0; shape.len()];
        report.line(&name, 8 * shape.len(), || group_norm(&shape, black_box(&x), &weight, &bias, &mut y));
        let (mut a, mut b, mut c) = (filled(shape.len()), filled(channels), filled(channels));
        let gradients =
            || group_norm_backward(&shape, black_box(&x), &weight, &bias, &y, &mut a, &mut b, &mut c);
        report.line(&format!("{name} gradients"), 12 * shape.len(), gradients);
    }
    for (rows, features) in [(4096, 320), (1024, 640), (256, 1280)] {
        let name = format!("layer_norm {rows}x{features}");
        if !report.wants(&name) {
            continue;
        }
        let shape = LayerNormShape { rows, features, epsilon: 1e-5 };
        let (x, weight, bias) = (filled(rows * features), filled(features), filled(features));
        let mut y = vec![0.0; x.len()];
        report.line(&name, 8 * x.len(), || layer_norm(&shape, black_box(&x), &weight, &bias, &mut y));
        let (mut a, mut b, mut c) = (x.clone(), weight.clone(), bias.clone());
        let gradients = || layer_norm_backward(&shape, black_box(&x), &weight, &y, &mut a, &mut b, &mut c);
        report.line(&format!("{name} gradients"), 12 * x.len(), gradients);
    }
    for rectifier in [Rectifier::Silu, Rectifier::Gelu] {
        let name = format!("{rectifier:?} 4M");
        if !report.wants(&name) {
            continue;
        }
        let x = filled(1 << 22);
        let (mut y, mut gradient) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        report.line(&name, 8 * x.len(), || rectifier.forward(black_box(&x), &mut y));
        let gradients = || rectifier.backward(black_box(&x), &y, &mut gradient);
        report.line(&format!("{name} gradients"), 12 * x.len(), gradients);
    }
}
