//! Multi-head attention.

use gendr_image::{Error, Result};
use gendr_kernels::{AttentionShape, attention};

use super::{
    layers::{Linear, Tokens},
    weights::Weights,
};

/// Multi-head attention with its four linear layers.
#[derive(Clone, Debug)]
pub(super) struct MultiHeadAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
}

impl MultiHeadAttention {
    /// With a layer for each of query, key, value and output.
    pub(super) fn read(weights: &Weights, names: [String; 4], width: usize, heads: usize) -> Result<Self> {
        let [query, key, value, output] = names;
        let read = |name: &str| Linear::read(weights, name, width)?.giving(width, name);
        check_heads(width, heads, &query)?;
        Ok(Self {
            query: read(&query)?,
            key: read(&key)?,
            value: read(&value)?,
            output: Linear::read(weights, &output, width)?,
            heads,
        })
    }

    /// With query, key and value in one layer, whose tensors have these full names.
    pub(super) fn packed(
        weights: &Weights,
        [weight, bias]: [String; 2],
        output: &str,
        width: usize,
        heads: usize,
    ) -> Result<Self> {
        check_heads(width, heads, &weight)?;
        let all = Linear::named(weights, &weight, weights.has(&bias).then_some(bias.as_str()), width)?;
        let all = all.giving(3 * width, &weight)?;
        let [query, key, value] = [0, 1, 2].map(|index| all.part(index, 3));
        Ok(Self {
            query,
            key,
            value,
            output: Linear::read(weights, output, width)?.giving(width, output)?,
            heads,
        })
    }

    /// As torch's `MultiheadAttention` stores it.
    pub(super) fn torch(weights: &Weights, name: &str, width: usize, heads: usize) -> Result<Self> {
        let names = ["in_proj_weight", "in_proj_bias"].map(|what| format!("{name}.{what}"));
        Self::packed(weights, names, &format!("{name}.out_proj"), width, heads)
    }

    /// Every token of `queries` asks all of `memory`.
    pub(super) fn forward(&self, queries: &Tokens, memory: &Tokens) -> Tokens {
        let (query, key) = (self.query.forward(queries), self.key.forward(memory));
        self.output.forward(&attend(&query, &key, &self.value.forward(memory), self.heads))
    }

    /// Every token asks all, with `bias`, `[heads, tokens, tokens]`, added to the scores.
    pub(super) fn biased(&self, tokens: &Tokens, bias: impl Fn(usize, usize, usize) -> f32) -> Tokens {
        let (query, key) = (self.query.forward(tokens), self.key.forward(tokens));
        self.output.forward(&attend_biased(&query, &key, &self.value.forward(tokens), self.heads, bias))
    }
}

fn check_heads(width: usize, heads: usize, name: &str) -> Result<()> {
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(Error::input(format!("{name}: {width} features are not {heads} heads")));
    }
    Ok(())
}

/// softmax(q k^T / sqrt(size of a head)) v.
pub(super) fn attend(query: &Tokens, key: &Tokens, value: &Tokens, heads: usize) -> Tokens {
    let head_size = query.width / heads;
    let shape = AttentionShape { batch: 1, heads, queries: query.count(), keys: key.count(), head_size };
    let mut data = vec![0.0; query.data.len()];
    attention(&shape, &query.data, &key.data, &value.data, &mut data, None);
    Tokens { width: query.width, data }
}

/// As [`attend`] with `bias(head, query, key)` added to the scores, for few tokens.
fn attend_biased(
    query: &Tokens,
    key: &Tokens,
    value: &Tokens,
    heads: usize,
    bias: impl Fn(usize, usize, usize) -> f32,
) -> Tokens {
    let (size, width) = (query.width / heads, query.width);
    let scale = 1.0 / (size as f32).sqrt();
    let mut output = Tokens { width, data: vec![0.0; query.data.len()] };
    let mut scores = vec![0.0; key.count()];
    for (row, target) in output.data.chunks_exact_mut(width).enumerate() {
        for (head, target) in target.chunks_exact_mut(size).enumerate() {
            let part = |tokens: &Tokens, index: usize| index * tokens.width + head * size;
            let asked = &query.data[part(query, row)..][..size];
            for (index, score) in scores.iter_mut().enumerate() {
                let key = &key.data[part(key, index)..][..size];
                let product: f32 = asked.iter().zip(key).map(|(a, b)| a * b).sum();
                *score = product * scale + bias(head, row, index);
            }
            softmax(&mut scores);
            for (index, score) in scores.iter().enumerate() {
                for (sum, value) in target.iter_mut().zip(&value.data[part(value, index)..][..size]) {
                    *sum += score * value;
                }
            }
        }
    }
    output
}

/// Exponentials that sum to one.
pub(super) fn softmax(values: &mut [f32]) {
    let greatest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = (*value - greatest).exp();
        sum += *value;
    }
    for value in values {
        *value /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_attending_agree() {
        let tokens = |shift: usize| Tokens {
            width: 8,
            data: (0..5 * 8).map(|index| ((index * 29 + shift) % 31) as f32 / 31.0 - 0.5).collect(),
        };
        let (query, key, value) = (tokens(1), tokens(7), tokens(13));
        let plain = attend(&query, &key, &value, 2);
        let biased = attend_biased(&query, &key, &value, 2, |_, _, _| 0.3);
        for (a, b) in plain.data.iter().zip(&biased.data) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        // A first token that sees itself alone gives its own value.
        let causal = |_, query, key| if key > query { f32::NEG_INFINITY } else { 0.0 };
        let alone = attend_biased(&query, &key, &value, 2, causal);
        for (a, b) in alone.token(0).iter().zip(value.token(0)) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
