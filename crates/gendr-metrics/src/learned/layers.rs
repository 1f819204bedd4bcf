//! Layers on tokens. Every size is checked when the weights are read.

use gendr_image::{Error, Planes, Result};
use gendr_kernels::{LayerNormShape, LinearShape, layer_norm, linear};
use rayon::prelude::*;

use super::weights::{Tensor, Weights};

/// Values that one task changes.
const CHUNK: usize = 1 << 14;

/// Vectors of equal length, one after another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tokens {
    pub(super) width: usize,
    pub(super) data: Vec<f32>,
}

impl Tokens {
    pub(super) fn count(&self) -> usize {
        self.data.len() / self.width
    }

    pub(super) fn token(&self, index: usize) -> &[f32] {
        &self.data[index * self.width..(index + 1) * self.width]
    }

    /// The pixels of maps row by row, each with the values of its channels.
    pub(super) fn of_pixels(maps: &Planes) -> Self {
        let pixels = maps.height() * maps.width();
        Self { width: maps.channels(), data: transposed(maps.data(), pixels) }
    }

    /// The tokens as maps of this size.
    pub(super) fn to_maps(&self, height: usize, width: usize) -> Result<Planes> {
        Planes::from_vec(self.width, height, width, transposed(&self.data, self.width))
    }

    /// Their mean.
    pub(super) fn mean(&self) -> Self {
        let mut sums = vec![0.0_f64; self.width];
        for token in self.data.chunks_exact(self.width) {
            for (sum, &value) in sums.iter_mut().zip(token) {
                *sum += f64::from(value);
            }
        }
        let count = self.count() as f64;
        Self { width: self.width, data: sums.iter().map(|sum| (sum / count) as f32).collect() }
    }

    /// Adds the values of others of the same shape.
    pub(super) fn plus(mut self, other: &Self) -> Self {
        for (value, other) in self.data.iter_mut().zip(&other.data) {
            *value += other;
        }
        self
    }

    pub(super) fn mapped(mut self, function: impl Fn(f32) -> f32 + Sync) -> Self {
        self.data.par_chunks_mut(CHUNK).for_each(|chunk| {
            for value in chunk {
                *value = function(*value);
            }
        });
        self
    }
}

/// Rows of `columns` values as columns.
pub(super) fn transposed(rows: &[f32], columns: usize) -> Vec<f32> {
    let count = rows.len() / columns;
    let mut output = vec![0.0; rows.len()];
    output.par_chunks_exact_mut(count.max(1)).enumerate().for_each(|(column, output)| {
        for (value, row) in output.iter_mut().zip(rows.chunks_exact(columns)) {
            *value = row[column];
        }
    });
    output
}

/// A linear layer.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    /// `[out, in]`.
    weight: Tensor,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// `NAME.weight` and, where it is there, `NAME.bias`.
    pub(super) fn read(weights: &Weights, name: &str, in_features: usize) -> Result<Self> {
        let bias = format!("{name}.bias");
        Self::named(
            weights,
            &format!("{name}.weight"),
            weights.has(&bias).then_some(bias.as_str()),
            in_features,
        )
    }

    /// By the full names of its tensors.
    pub(super) fn named(
        weights: &Weights,
        weight: &str,
        bias: Option<&str>,
        in_features: usize,
    ) -> Result<Self> {
        let stored = weights.get(&[weight.to_owned()], 2)?;
        if stored.shape[1] != in_features {
            return Err(Error::input(format!(
                "{weight} has the shape {:?}, not {in_features} input features",
                stored.shape
            )));
        }
        let bias = bias.map(|bias| weights.vector(bias, stored.shape[0])).transpose()?;
        Ok(Self { weight: stored, bias })
    }

    pub(super) fn out_features(&self) -> usize {
        self.weight.shape[0]
    }

    /// An error where the layer does not give this many values.
    pub(super) fn giving(self, out_features: usize, name: &str) -> Result<Self> {
        if self.out_features() == out_features {
            return Ok(self);
        }
        let message = format!("{name} gives {} values, not {out_features}", self.out_features());
        Err(Error::input(message))
    }

    /// The layer that gives one of `count` equal parts of this one's values.
    pub(super) fn part(&self, index: usize, count: usize) -> Self {
        let rows = self.out_features() / count;
        let part = |values: &[f32], size: usize| values[index * size..(index + 1) * size].to_vec();
        let (width, bias) = (self.weight.shape[1], self.bias.as_ref());
        Self {
            weight: Tensor { shape: vec![rows, width], data: part(&self.weight.data, rows * width) },
            bias: bias.map(|bias| part(bias, rows)),
        }
    }

    pub(super) fn forward(&self, input: &Tokens) -> Tokens {
        let (rows, out_features) = (input.count(), self.out_features());
        let shape = LinearShape { rows, in_features: input.width, out_features };
        let mut data = vec![0.0; rows * out_features];
        linear(&shape, &input.data, &self.weight.data, self.bias.as_deref(), &mut data);
        Tokens { width: out_features, data }
    }
}

/// Layer normalisation.
#[derive(Clone, Debug)]
pub(super) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    pub(super) fn read(weights: &Weights, name: &str, width: usize, epsilon: f32) -> Result<Self> {
        let read = |what: &str| weights.vector(&format!("{name}.{what}"), width);
        Ok(Self { weight: read("weight")?, bias: read("bias")?, epsilon })
    }

    pub(super) fn forward(&self, input: &Tokens) -> Tokens {
        let shape = LayerNormShape { rows: input.count(), features: input.width, epsilon: self.epsilon };
        let mut data = vec![0.0; input.data.len()];
        layer_norm(&shape, &input.data, &self.weight, &self.bias, &mut data);
        Tokens { width: input.width, data }
    }
}

/// Two linear layers with an activation between them.
#[derive(Clone, Debug)]
pub(super) struct Mlp {
    first: Linear,
    second: Linear,
    activation: fn(f32) -> f32,
}

impl Mlp {
    pub(super) fn read(
        weights: &Weights,
        names: &[String; 2],
        width: usize,
        activation: fn(f32) -> f32,
    ) -> Result<Self> {
        let first = Linear::read(weights, &names[0], width)?;
        let second = Linear::read(weights, &names[1], first.out_features())?.giving(width, &names[1])?;
        Ok(Self { first, second, activation })
    }

    pub(super) fn forward(&self, input: &Tokens) -> Tokens {
        self.second.forward(&self.first.forward(input).mapped(self.activation))
    }
}

/// `x` times the normal distribution up to `x` (Hendrycks and Gimpel 2016).
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// CLIP's cheaper form of [`gelu`].
pub(super) fn quick_gelu(x: f32) -> f32 {
    x * sigmoid(1.702 * x)
}

pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use gendr_weights::StoredTensor;

    use super::*;

    #[test]
    fn weights_of_other_sizes_are_refused() {
        let tensor = StoredTensor::from_f32(vec![0.5; 12], vec![4, 3]).unwrap();
        let weights = Weights::new([("l.weight".to_owned(), tensor)].into());
        assert!(Linear::read(&weights, "l", 4).is_err());
        assert!(Linear::read(&weights, "l", 3).unwrap().giving(3, "l").is_err());
    }

    #[test]
    fn maps_become_tokens_and_return() {
        let maps = Planes::from_vec(2, 2, 3, (0..12).map(|value| value as f32).collect()).unwrap();
        let tokens = Tokens::of_pixels(&maps);
        assert_eq!((tokens.count(), tokens.token(1)), (6, [1.0, 7.0].as_slice()));
        assert_eq!(tokens.to_maps(2, 3).unwrap(), maps);
        assert_eq!(tokens.mean().data, [2.5, 8.5]);
    }

    #[test]
    fn activations_have_their_known_values() {
        assert!((gelu(1.0) - 0.841_344_8).abs() < 1e-6 && gelu(0.0) == 0.0);
        assert!((quick_gelu(1.0) - 0.845_795_7).abs() < 1e-6);
    }
}
