//! Rates of the convolutions that restoration networks consist of, in GF/s of the plain sum.
//!
//! `cargo bench -p gendr-kernels --bench convolution [-- NAME]`; `GENDR_SIMD` forces a level, `RAYON_NUM_THREADS` the threads.
#![allow(clippy::print_stdout)]

use gendr_kernels::{Activation, ConvShape, Level, conv2d, conv2d_backward_input, conv2d_backward_weight};
use std::{hint::black_box, time::Instant};

/// Seconds that the threads of this process have computed, waiting not counted; where the system does not tell, the clock.
fn processor_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() * 1e-9
}

/// Median seconds of a few runs after a warm-up: by the clock, and of processor time.
fn median(mut work: impl FnMut()) -> [f64; 2] {
    work();
    let once = Instant::now();
    work();
    let runs = (0.3 / once.elapsed().as_secs_f64()).clamp(3.0, 200.0) as usize;
    let (mut seconds, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (start, before) = (Instant::now(), processor_seconds());
        work();
        seconds.push(start.elapsed().as_secs_f64());
        processor.push(processor_seconds() - before);
    }
    [seconds, processor].map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[runs / 2]
    })
}

fn main() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    println!("level {}", Level::current().name());
    println!("GF/s of the plain sum, by the clock and (in brackets) a second of processor time");
    println!("{:<26}{:>14}{:>14}{:>16}", "shape", "forward", "to the input", "to the weights");
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
        shape(1, (48, 48), 256, 3),
        shape(1, (16, 16), 256, 3),
        shape(1, (64, 64), 128, 3),
    ];
    for shape in shapes {
        let name = format!(
            "{}x{}>{} k{}s{} @{}",
            shape.batch, shape.in_channels, shape.out_channels, shape.kernel, shape.stride, shape.height
        );
        if !name.contains(&filter) {
            continue;
        }
        let fill =
            |len: usize| (0..len).map(|i| (i * 7919 % 1009) as f32 / 504.0 - 1.0).collect::<Vec<f32>>();
        let (mut input, mut weight) = (fill(shape.input_len()), fill(shape.weight_len()));
        let mut output = vec![0.0; shape.output_len()];
        let rate = |seconds: [f64; 2]| {
            let [clock, processor] = seconds.map(|seconds| shape.flops() as f64 / seconds * 1e-9);
            format!("{clock:.0} ({processor:.0})")
        };
        let forward = median(|| {
            conv2d(&shape, black_box(&input), &weight, None, Activation::None, black_box(&mut output))
        });
        let to_input =
            median(|| conv2d_backward_input(&shape, black_box(&output), &weight, black_box(&mut input)));
        let to_weight =
            median(|| conv2d_backward_weight(&shape, black_box(&input), &output, black_box(&mut weight)));
        println!("{name:<26}{:>14}{:>14}{:>16}", rate(forward), rate(to_input), rate(to_weight));
    }
}
