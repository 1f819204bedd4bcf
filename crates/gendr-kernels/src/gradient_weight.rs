//! The gradients of a convolution's weights and bias.
//!
//! Both are sums over all output pixels. The pixels are cut into parts that depend on the shape alone, and the parts' sums are
//! added in order, so that the result is the same for any number of threads.

mod direct;
mod winograd;

use crate::{
    conv_shape::ConvShape,
    simd::{Kernel, Level, Simd},
};
use rayon::prelude::*;

/// The gradient of the weights of one convolution.
#[derive(Clone, Copy)]
pub(crate) struct WeightGradient<'a> {
    pub(crate) level: Level,
    pub(crate) shape: ConvShape,
    pub(crate) input: &'a [f32],
    pub(crate) output_gradient: &'a [f32],
}

impl WeightGradient<'_> {
    pub(crate) fn run(&self, weight_gradient: &mut [f32]) {
        if self.winograd_pays() { self.by_winograd(weight_gradient) } else { self.directly(weight_gradient) }
    }

    fn winograd_pays(&self) -> bool {
        let ConvShape { kernel, stride, in_channels, out_channels, batch, .. } = self.shape;
        let (height, width) = self.shape.output_size();
        let tiles = batch * height.div_ceil(4) * width.div_ceil(4);
        kernel == 3
            && stride == 1
            && in_channels.min(out_channels) >= 16
            && in_channels * out_channels <= 1 << 18
            && tiles >= 24
            && height * width * batch * 2 >= tiles * 16
    }
}

/// The sum of each output channel's gradient.
pub(crate) fn sum_channels(level: Level, shape: &ConvShape, output_gradient: &[f32], sums: &mut [f32]) {
    let plane = shape.out_height() * shape.out_width();
    sums.par_iter_mut().enumerate().for_each(|(channel, sum)| {
        let planes = (0..shape.batch)
            .map(|image| &output_gradient[(image * shape.out_channels + channel) * plane..][..plane]);
        *sum = planes.map(|plane| level.run(Sum(plane))).sum::<f64>() as f32;
    });
}

/// The sum of a slice: short runs in f32, the runs in f64.
struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let mut total = 0.0;
        for run in self.0.chunks(1024) {
            let mut sums = [s.zero(); 4];
            let whole = run.len() / (4 * S::LANES) * (4 * S::LANES);
            for at in (0..whole).step_by(4 * S::LANES) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: `at + 4 * LANES <= run.len()`.
                    *sum = s.add(*sum, unsafe { s.load(run.as_ptr().add(at + i * S::LANES)) });
                }
            }
            total += f64::from(s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]))));
            total += run[whole..].iter().map(|&x| f64::from(x)).sum::<f64>();
        }
        total
    }
}
