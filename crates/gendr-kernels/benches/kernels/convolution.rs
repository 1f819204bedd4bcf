//! The convolutions that restoration networks consist of.

use crate::{filled, timing::Report};
use gendr_kernels::{ConvShape, Finish, conv2d, conv2d_backward_input, conv2d_backward_weight};
use std::hint::black_box;

pub(crate) fn measure(report: &Report) {
    println!("convolution: GF/s of the plain sum         forward, to the input, to the weights");
    let shape = |batch, channels: (usize, usize), size, kernel| {
        ConvShape::same(batch, channels.0, channels.1, size, size, kernel)
    };
    let square = |channels, size| shape(1, (channels, channels), size, 3);
    let stride2 = |channels, size| ConvShape { stride: 2, ..square(channels, size) };
    let shapes = [
        square(128, 512),
        square(256, 256),
        square(512, 128),
        square(512, 64),
        square(320, 64),
        square(640, 32),
        square(1280, 16),
        square(1280, 8),
        shape(1, (3, 128), 512, 3),
        shape(1, (128, 3), 512, 3),
        shape(1, (512, 16), 64, 3),
        shape(1, (960, 640), 32, 3),
        stride2(128, 512),
        stride2(320, 64),
        stride2(1280, 16),
        shape(1, (256, 128), 512, 1),
        shape(1, (1920, 1280), 16, 1),
        shape(8, (64, 64), 64, 3),
        shape(16, (48, 48), 40, 3),
        shape(16, (3, 48), 40, 3),
        shape(16, (48, 3), 40, 3),
        shape(16, (64, 64), 40, 3),
        shape(8, (128, 128), 32, 3),
        shape(8, (256, 256), 16, 3),
        shape(8, (192, 64), 32, 3),
        shape(8, (384, 128), 16, 3),
        shape(8, (256, 256), 8, 3),
        shape(8, (192, 64), 32, 1),
        shape(1, (48, 48), 256, 3),
        shape(1, (16, 16), 256, 3),
        shape(1, (64, 64), 128, 3),
    ];
    for shape in shapes {
        let ConvShape { batch, in_channels, out_channels, height, kernel, stride, .. } = shape;
        let name = format!("{batch}x{in_channels}>{out_channels} k{kernel}s{stride} @{height}");
        if !report.wants(&name) {
            continue;
        }
        let (mut input, mut weight) = (filled(shape.input_len()), filled(shape.weight_len()));
        let mut output = vec![0.0; shape.output_len()];
        let forward =
            || conv2d(&shape, black_box(&input), &weight, &Finish::default(), black_box(&mut output));
        report.line(&format!("{name} forward"), shape.flops(), forward);
        let gradient = filled(shape.output_len());
        let to_input = || conv2d_backward_input(&shape, black_box(&gradient), &weight, black_box(&mut input));
        report.line(&format!("{name} to input"), shape.flops(), to_input);
        let input = filled(shape.input_len());
        let to_weight =
            || conv2d_backward_weight(&shape, black_box(&input), &gradient, black_box(&mut weight));
        report.line(&format!("{name} to weights"), shape.flops(), to_weight);
    }
}
