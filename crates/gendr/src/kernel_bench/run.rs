//! One case at a time, ours and Flex's.

use std::{hint::black_box, time::Instant};

use burn::tensor::{
    Device, Tensor, TensorData, activation, module,
    ops::{AttentionModuleOptions, ConvOptions},
};
use gendr_kernels::{
    Finish, attention, conv2d, copy, group_norm, layer_norm, linear, linear_geglu, overwritten,
};

use super::{
    KernelTime,
    cases::{KernelCase, Work},
};

/// Seconds that a case is measured for at least, and calls at most.
const SECONDS: f64 = 0.3;
const MOST_CALLS: usize = 50;

/// Bytes a second of copying 64 MiB.
pub(super) fn copy_rate() -> f64 {
    let from = values(16 << 20);
    let mut to = from.clone();
    (2 * 4 * from.len()) as f64 / median(&mut || copy(&from, &mut to))
}

pub(super) fn time(case: &KernelCase, with_flex: bool) -> KernelTime {
    KernelTime { seconds: ours(&case.work), flex_seconds: with_flex.then(|| flex(&case.work)) }
}

/// The median of a few calls after a first one.
fn median(call: &mut dyn FnMut()) -> f64 {
    call();
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || (start.elapsed().as_secs_f64() < SECONDS && times.len() < MOST_CALLS) {
        let start = Instant::now();
        call();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Numbers between -1 and 1.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1009) as f32 / 504.0 - 1.0).collect()
}

fn ours(work: &Work) -> f64 {
    match work {
        Work::Conv(shape) => {
            let (x, weight) = (values(shape.input_len()), values(shape.weight_len()));
            let bias = values(shape.out_channels);
            let finish = Finish::bias(&bias);
            median(&mut || {
                drop(overwritten(shape.output_len(), |y| conv2d(shape, black_box(&x), &weight, &finish, y)));
            })
        }
        Work::Linear(shape) => {
            let x = values(shape.rows * shape.in_features);
            let weight = values(shape.in_features * shape.out_features);
            let bias = values(shape.out_features);
            let len = shape.rows * shape.out_features;
            median(&mut || drop(overwritten(len, |y| linear(shape, black_box(&x), &weight, Some(&bias), y))))
        }
        Work::Geglu(shape) => {
            let x = values(shape.rows * shape.in_features);
            let weight = values(2 * shape.in_features * shape.out_features);
            let bias = values(2 * shape.out_features);
            let len = shape.rows * shape.out_features;
            median(&mut || {
                drop(overwritten(len, |y| linear_geglu(shape, black_box(&x), &weight, Some(&bias), y)));
            })
        }
        Work::Attention(shape) => {
            let (q, k, v) = (values(shape.query_len()), values(shape.key_len()), values(shape.key_len()));
            median(&mut || drop(overwritten(q.len(), |y| attention(shape, black_box(&q), &k, &v, y, None))))
        }
        Work::GroupNorm(shape) => {
            let (x, weight) = (values(shape.len()), values(shape.channels));
            median(&mut || {
                drop(overwritten(x.len(), |y| group_norm(shape, black_box(&x), &weight, &weight, y)));
            })
        }
        Work::LayerNorm(shape) => {
            let (x, weight) = (values(shape.rows * shape.features), values(shape.features));
            median(&mut || {
                drop(overwritten(x.len(), |y| layer_norm(shape, black_box(&x), &weight, &weight, y)));
            })
        }
    }
}

/// The same with Burn's own operations.
fn flex(work: &Work) -> f64 {
    match work {
        Work::Conv(shape) => {
            let (height, width) = shape.stored_size();
            let x = tensor([shape.batch, shape.in_channels, height, width]);
            let weight = tensor([shape.out_channels, shape.in_channels, shape.kernel, shape.kernel]);
            let bias = tensor([shape.out_channels]);
            let options = ConvOptions::new([shape.stride; 2], [shape.padding.top; 2], [1, 1], 1);
            median(&mut || {
                let mut x: Tensor<4> = x.clone();
                if shape.enlarged {
                    x = gendr_model::ops::upsample_nearest(x, [shape.height, shape.width]);
                }
                drop(module::conv2d(x, weight.clone(), Some(bias.clone()), options.clone()));
            })
        }
        Work::Linear(shape) => {
            let x: Tensor<2> = tensor([shape.rows, shape.in_features]);
            let weight: Tensor<2> = tensor([shape.in_features, shape.out_features]);
            let bias = tensor([shape.out_features]);
            median(&mut || drop(module::linear(x.clone(), weight.clone(), Some(bias.clone()))))
        }
        Work::Geglu(shape) => {
            let x: Tensor<2> = tensor([shape.rows, shape.in_features]);
            let weight: Tensor<2> = tensor([shape.in_features, 2 * shape.out_features]);
            let bias = tensor([2 * shape.out_features]);
            median(&mut || {
                let y = module::linear(x.clone(), weight.clone(), Some(bias.clone()));
                let [value, gate] = gendr_model::ops::halves(y, 1);
                drop(value * activation::gelu(gate));
            })
        }
        Work::Attention(shape) => {
            let of = |tokens| tensor([shape.batch, shape.heads, tokens, shape.head_size]);
            let (q, k, v): (Tensor<4>, Tensor<4>, Tensor<4>) =
                (of(shape.queries), of(shape.keys), of(shape.keys));
            let options = AttentionModuleOptions::default();
            median(&mut || drop(module::attention(q.clone(), k.clone(), v.clone(), None, None, options)))
        }
        Work::GroupNorm(shape) => {
            let size = [shape.batch, shape.groups, shape.channels / shape.groups * shape.pixels];
            let x: Tensor<3> = tensor(size);
            let weight: Tensor<3> = tensor([1, shape.channels, 1]);
            median(&mut || {
                let mean = x.clone().mean_dim(2);
                let centered = x.clone() - mean;
                let variance = centered.clone().square().mean_dim(2);
                let normed = centered / (variance + f64::from(shape.epsilon)).sqrt();
                let normed = normed.reshape([shape.batch, shape.channels, shape.pixels]);
                let y = normed * weight.clone() + weight.clone();
                drop(if shape.silu { activation::silu(y) } else { y });
            })
        }
        Work::LayerNorm(shape) => {
            let x: Tensor<2> = tensor([shape.rows, shape.features]);
            let weight: Tensor<1> = tensor([shape.features]);
            let epsilon = f64::from(shape.epsilon);
            median(&mut || drop(module::layer_norm(x.clone(), weight.clone(), Some(weight.clone()), epsilon)))
        }
    }
}

fn tensor<const D: usize>(size: [usize; D]) -> Tensor<D> {
    let data = TensorData::new(values(size.iter().product()), size);
    Tensor::from_data(data, &Device::flex())
}
