//! Convolutions and what comes with them. Every size is checked when the weights are read.

use gendr_image::{Error, Planes, Result};
use gendr_kernels::{
    Activation, ConvShape, Finish, GroupNormShape, MatmulShape, Padding, conv2d, group_norm, matmul,
};
use rayon::prelude::*;

use super::weights::{Tensor, Weights};

/// Convolution, with what is folded into it.
#[derive(Clone, Debug)]
pub(super) struct Convolution {
    /// `[out, in, height, width]`.
    weight: Tensor,
    bias: Option<Vec<f32>>,
    stride: usize,
    padding: Padding,
    rectified: bool,
}

impl Convolution {
    /// `NAME.weight` and, where it is there, `NAME.bias`; no padding.
    pub(super) fn read(weights: &Weights, name: &str, in_channels: usize, stride: usize) -> Result<Self> {
        let weight = weights.get(&[format!("{name}.weight")], 4)?;
        if weight.shape[1] != in_channels {
            return Err(Error::input(format!(
                "{name}.weight has the shape {:?}, not {in_channels} input channels",
                weight.shape
            )));
        }
        let bias = format!("{name}.bias");
        let bias = weights.has(&bias).then(|| weights.vector(&bias, weight.shape[0])).transpose()?;
        Ok(Self { weight, bias, stride, padding: Padding::default(), rectified: false })
    }

    /// With zeros around the picture, half a kernel on each side.
    pub(super) fn padded(self) -> Self {
        let (y, x) = (self.weight.shape[2] / 2, self.weight.shape[3] / 2);
        self.with_padding(Padding { top: y, bottom: y, left: x, right: x })
    }

    pub(super) fn with_padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// With a rectifier after it.
    pub(super) fn rectified(self) -> Self {
        Self { rectified: true, ..self }
    }

    /// With the batch normalisation `NAME` after it.
    pub(super) fn normalized(mut self, weights: &Weights, name: &str, epsilon: f64) -> Result<Self> {
        let channels = self.out_channels();
        let read = |what: &str| weights.vector(&format!("{name}.{what}"), channels);
        let (scale, shift) = (read("weight")?, read("bias")?);
        let (mean, variance) = (read("running_mean")?, read("running_var")?);
        if let Some(bad) = variance.iter().position(|&value| value < 0.0) {
            return Err(Error::input(format!("{name}.running_var is negative for channel {bad}")));
        }
        let factors: Vec<f64> = scale
            .iter()
            .zip(&variance)
            .map(|(&scale, &variance)| f64::from(scale) / (f64::from(variance) + epsilon).sqrt())
            .collect();
        let own = self.bias.unwrap_or_else(|| vec![0.0; channels]);
        let bias = (0..channels).map(|channel| {
            let value = f64::from(own[channel]) - f64::from(mean[channel]);
            (value * factors[channel] + f64::from(shift[channel])) as f32
        });
        self.bias = Some(bias.collect());
        let kernel = self.weight.data.len() / channels;
        for (kernel, factor) in self.weight.data.chunks_exact_mut(kernel).zip(factors) {
            for value in kernel {
                *value = (f64::from(*value) * factor) as f32;
            }
        }
        Ok(self)
    }

    /// With every kernel shifted and scaled to mean 0 and deviation 1 (Qiao et al. 2019).
    pub(super) fn standardized(mut self) -> Self {
        let kernel = self.weight.data.len() / self.out_channels();
        for kernel in self.weight.data.chunks_exact_mut(kernel) {
            let count = kernel.len() as f64;
            let mean = kernel.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
            let squares = kernel.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
            let deviation = (squares / (count - 1.0).max(1.0)).sqrt() + 1e-5;
            for value in kernel {
                *value = ((f64::from(*value) - mean) / deviation) as f32;
            }
        }
        self
    }

    pub(super) fn out_channels(&self) -> usize {
        self.weight.shape[0]
    }

    /// Side of the kernel, where it is square.
    pub(super) fn kernel(&self) -> Option<usize> {
        (self.weight.shape[2] == self.weight.shape[3]).then_some(self.weight.shape[2])
    }

    /// # Errors
    /// An unsupported-picture error where the maps are smaller than the kernel.
    pub(super) fn forward(&self, input: &Planes) -> Result<Planes> {
        let (rows, columns) = (self.weight.shape[2], self.weight.shape[3]);
        let Padding { top, bottom, left, right } = self.padding;
        let side = |length: usize, padding: usize, kernel: usize| {
            (length + padding).checked_sub(kernel).map(|rest| rest / self.stride + 1)
        };
        let (Some(height), Some(width)) =
            (side(input.height(), top + bottom, rows), side(input.width(), left + right, columns))
        else {
            return Err(Error::unsupported(format!(
                "the picture is too small for a network: {}x{} features under a kernel of {columns}x{rows}",
                input.width(),
                input.height()
            )));
        };
        let mut output = Planes::filled(self.out_channels(), height, width, 0.0);
        if rows == columns {
            self.square(input, output.data_mut())?;
        } else {
            self.by_columns(input, &mut output);
        }
        Ok(output)
    }

    fn square(&self, input: &Planes, output: &mut [f32]) -> Result<()> {
        let shape = ConvShape {
            batch: 1,
            in_channels: input.channels(),
            out_channels: self.out_channels(),
            height: input.height(),
            width: input.width(),
            kernel: self.weight.shape[2],
            stride: self.stride,
            padding: self.padding,
            enlarged: false,
        };
        let shape =
            shape.checked().map_err(|error| Error::unsupported(error.to_string()).with_source(error))?;
        let activation = if self.rectified { Activation::LeakyRelu(0.0) } else { Activation::None };
        let finish = Finish { bias: self.bias.as_deref(), activation, ..Finish::default() };
        conv2d(&shape, input.data(), &self.weight.data, &finish, output);
        Ok(())
    }

    /// As a matrix product, for kernels that are not square.
    fn by_columns(&self, input: &Planes, output: &mut Planes) {
        let (height, width) = (output.height(), output.width());
        let (rows, columns) = (self.weight.shape[2], self.weight.shape[3]);
        let depth = input.channels() * rows * columns;
        let mut patches = vec![0.0; depth * height * width];
        patches.par_chunks_exact_mut(height * width).enumerate().for_each(|(index, patch)| {
            let (channel, dy, dx) = (index / (rows * columns), index / columns % rows, index % columns);
            for (y, line) in patch.chunks_exact_mut(width).enumerate() {
                let Some(y) = (y * self.stride + dy).checked_sub(self.padding.top) else { continue };
                if y >= input.height() {
                    continue;
                }
                let source = input.row(channel, y);
                for (x, value) in line.iter_mut().enumerate() {
                    let x = (x * self.stride + dx).checked_sub(self.padding.left);
                    *value = x.and_then(|x| source.get(x)).copied().unwrap_or(0.0);
                }
            }
        });
        let shape = MatmulShape::new(self.out_channels(), height * width, depth);
        matmul(&shape, &self.weight.data, &patches, output.data_mut());
        for channel in 0..self.out_channels() {
            let bias = self.bias.as_ref().map_or(0.0, |bias| bias[channel]);
            let least = if self.rectified { 0.0 } else { f32::NEG_INFINITY };
            for value in output.plane_mut(channel) {
                *value = (*value + bias).max(least);
            }
        }
    }
}

/// Group normalisation.
#[derive(Clone, Debug)]
pub(super) struct GroupNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    groups: usize,
    epsilon: f32,
}

impl GroupNorm {
    pub(super) fn read(
        weights: &Weights,
        name: &str,
        channels: usize,
        groups: usize,
        epsilon: f32,
    ) -> Result<Self> {
        if !channels.is_multiple_of(groups) {
            return Err(Error::input(format!("{channels} channels of {name} are not {groups} groups")));
        }
        let read = |what: &str| weights.vector(&format!("{name}.{what}"), channels);
        Ok(Self { weight: read("weight")?, bias: read("bias")?, groups, epsilon })
    }

    pub(super) fn forward(&self, input: &Planes) -> Planes {
        let pixels = input.height() * input.width();
        let shape = GroupNormShape {
            batch: 1,
            channels: input.channels(),
            pixels,
            groups: self.groups,
            epsilon: self.epsilon,
            silu: false,
        };
        let mut output = Planes::filled(input.channels(), input.height(), input.width(), 0.0);
        group_norm(&shape, input.data(), &self.weight, &self.bias, output.data_mut());
        output
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gendr_weights::StoredTensor;

    use super::*;

    fn weights(tensors: &[(&str, &[usize])]) -> Weights {
        let tensor = |(name, shape): &(&str, &[usize])| {
            let count: usize = shape.iter().product();
            let values = (0..count).map(|index| ((index * 37 % 19) as f32 - 9.0) / 10.0).collect();
            ((*name).to_owned(), StoredTensor::from_f32(values, shape.to_vec()).unwrap())
        };
        Weights::new(tensors.iter().map(tensor).collect::<BTreeMap<_, _>>())
    }

    /// A kernel that is not square gives what the same kernel gives in a square of zeros.
    #[test]
    fn kernels_that_are_not_square_agree_with_square_ones() {
        let flat = Convolution::read(&weights(&[("c.weight", &[4, 3, 1, 7]), ("c.bias", &[4])]), "c", 3, 1);
        let flat = flat.unwrap().padded().rectified();
        let mut square = flat.clone();
        square.weight.shape[2] = 7;
        square.weight.data = flat
            .weight
            .data
            .chunks_exact(7)
            .flat_map(|row| (0..49).map(|index| if index / 7 == 3 { row[index % 7] } else { 0.0 }))
            .collect();
        let square = square.padded();
        let data = (0..3 * 9 * 11).map(|index| (index % 23) as f32 / 23.0 - 0.4).collect();
        let input = Planes::from_vec(3, 9, 11, data).unwrap();
        let (a, b) = (flat.forward(&input).unwrap(), square.forward(&input).unwrap());
        assert_eq!((a.height(), a.width()), (9, 11));
        for (a, b) in a.data().iter().zip(b.data()) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn weights_of_other_sizes_are_refused() {
        let weights = weights(&[("c.weight", &[4, 3, 3, 3]), ("c.bias", &[5])]);
        assert!(Convolution::read(&weights, "c", 3, 1).is_err());
        assert!(Convolution::read(&weights, "c", 2, 1).is_err());
    }
}
