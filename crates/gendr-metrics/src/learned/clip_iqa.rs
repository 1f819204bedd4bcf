//! CLIP-IQA: does the picture look more like good or like bad ones are called?

use gendr_image::{Error, Planes, Result};

use super::{
    CLIP,
    attention::{MultiHeadAttention, attend},
    check_size,
    layers::{LayerNorm, Linear, Mlp, Tokens, quick_gelu},
    residual::ResidualNetwork,
    weights::Weights,
};
use crate::levels::check_picture;

/// Features of a head.
const HEAD: usize = 64;
/// Layer normalisation's share of safety.
const EPSILON: f32 = 1e-5;

/// What CLIP's tokenizer makes of the words that are compared, good before bad; start and end are added.
const PROMPTS: [[&[usize]; 2]; 5] = [
    [GOOD_IMAGE, BAD_IMAGE],
    [SHARP_IMAGE, BLURRY_IMAGE],
    [SHARP_EDGES, BLURRY_EDGES],
    [HIGH_RESOLUTION_IMAGE, LOW_RESOLUTION_IMAGE],
    [NOISE_FREE_IMAGE, NOISY_IMAGE],
];
const GOOD_IMAGE: &[usize] = &[886, 2867];
const BAD_IMAGE: &[usize] = &[2103, 2867];
const SHARP_IMAGE: &[usize] = &[8157, 2867];
const BLURRY_IMAGE: &[usize] = &[21977, 2867];
const SHARP_EDGES: &[usize] = &[8157, 20938];
const BLURRY_EDGES: &[usize] = &[21977, 20938];
const HIGH_RESOLUTION_IMAGE: &[usize] = &[1400, 9977, 2867];
const LOW_RESOLUTION_IMAGE: &[usize] = &[1042, 9977, 2867];
const NOISE_FREE_IMAGE: &[usize] = &[9307, 268, 1139, 2867];
const NOISY_IMAGE: &[usize] = &[33495, 2867];
const START: usize = 49406;
const END: usize = 49407;

/// CLIP-IQA (Wang, Chan and Loy 2023) with CLIP's ResNet-50, a score without a reference.
///
/// From 0 to 1, higher is better: the mean, over five pairs of opposite words such as "Good image" and "bad image", of the share
/// of the good one in the softmax of both similarities to the picture. Positions are left out, so that pictures of any
/// size can be looked at. The words are those of pyiqa; the paper has one pair, "Good photo." and "Bad photo.".
#[derive(Clone, Debug)]
pub struct ClipIqa {
    network: ResidualNetwork,
    pool: AttentionPool,
    /// Good and bad of each pair, of length 1.
    words: Vec<[Vec<f32>; 2]>,
    /// Factor of the similarities.
    scale: f64,
}

impl ClipIqa {
    /// With the parameter names of OpenAI's CLIP.
    ///
    /// # Errors
    /// An input error that names the tensor that is missing or has the wrong shape.
    pub fn new(weights: &Weights) -> Result<Self> {
        let network = ResidualNetwork::of_clip(weights, "visual.")?;
        let channels = network.channels().last().copied().unwrap_or_default();
        let pool = AttentionPool::read(weights, channels)?;
        let text = TextEncoder::read(weights)?;
        if text.out_features() != pool.out_features() {
            return Err(Error::input("the pictures and the words of the weights differ in their features"));
        }
        let scale = weights.get(&["logit_scale".to_owned()], 0)?.data[0];
        let pair = |pair: &[&[usize]; 2]| [text.forward(pair[0]), text.forward(pair[1])];
        let words = PROMPTS.iter().map(pair).map(|[good, bad]| Ok([good?, bad?]));
        Ok(Self { network, pool, words: words.collect::<Result<_>>()?, scale: f64::from(scale).exp() })
    }

    /// Scores a picture.
    ///
    /// # Errors
    /// Where the picture is neither grey nor colour, holds values that are not finite, has a side under 32 pixels or more
    /// than 2^24 pixels.
    pub fn score(&self, picture: &Planes) -> Result<f64> {
        check_picture(picture)?;
        check_size(picture, 32, "CLIP-IQA")?;
        let maps = self.network.walk(&CLIP.input(picture))?;
        let seen = normalized(&self.pool.forward(&maps[maps.len() - 1]));
        let similarity = |word: &[f32]| -> f64 {
            let products = seen.iter().zip(word).map(|(a, b)| f64::from(*a) * f64::from(*b));
            products.sum::<f64>() * self.scale
        };
        let shares =
            self.words.iter().map(|[good, bad]| 1.0 / (1.0 + (similarity(bad) - similarity(good)).exp()));
        Ok(shares.sum::<f64>() / self.words.len() as f64)
    }
}

/// One question, the mean of the maps, to every pixel of the maps.
#[derive(Clone, Debug)]
struct AttentionPool {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
}

impl AttentionPool {
    fn read(weights: &Weights, width: usize) -> Result<Self> {
        if !width.is_multiple_of(HEAD) {
            return Err(Error::input(format!("{width} features of CLIP are not heads of {HEAD}")));
        }
        let read = |name: &str| -> Result<Linear> {
            let name = format!("visual.attnpool.{name}");
            Linear::read(weights, &name, width)?.giving(width, &name)
        };
        let output = Linear::read(weights, "visual.attnpool.c_proj", width)?;
        Ok(Self { query: read("q_proj")?, key: read("k_proj")?, value: read("v_proj")?, output })
    }

    fn out_features(&self) -> usize {
        self.output.out_features()
    }

    fn forward(&self, maps: &Planes) -> Vec<f32> {
        let pixels = Tokens::of_pixels(maps);
        let mean = pixels.mean();
        let mut all = mean.clone();
        all.data.extend(&pixels.data);
        let (query, key) = (self.query.forward(&mean), self.key.forward(&all));
        let heads = all.width / HEAD;
        self.output.forward(&attend(&query, &key, &self.value.forward(&all), heads)).data
    }
}

/// CLIP's transformer for words.
struct TextEncoder {
    embedding: Tokens,
    positions: Tokens,
    layers: Vec<TextLayer>,
    norm: LayerNorm,
    /// `[width, features]`.
    projection: Vec<f32>,
    features: usize,
}

impl TextEncoder {
    fn read(weights: &Weights) -> Result<Self> {
        let table = |name: &str| -> Result<Tokens> {
            let tensor = weights.get(&[name.to_owned()], 2)?;
            Ok(Tokens { width: tensor.shape[1], data: tensor.data })
        };
        let (embedding, positions) = (table("token_embedding.weight")?, table("positional_embedding")?);
        let (width, projection) = (embedding.width, table("text_projection")?);
        if width % HEAD != 0 || positions.width != width || projection.count() != width {
            return Err(Error::input("the text tables of the weights differ in their features"));
        }
        let name = |layer: usize| format!("transformer.resblocks.{layer}.");
        let count = weights.count(|layer| name(layer) + "ln_1.weight");
        let layers = (0..count).map(|layer| TextLayer::read(weights, &name(layer), width));
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            norm: LayerNorm::read(weights, "ln_final", width, EPSILON)?,
            features: projection.width,
            projection: projection.data,
            embedding,
            positions,
        })
    }

    fn out_features(&self) -> usize {
        self.features
    }

    /// The features of words, of length 1. No token sees those after it, so that what follows the end need not be there.
    fn forward(&self, words: &[usize]) -> Result<Vec<f32>> {
        let mut tokens = Tokens { width: self.embedding.width, data: Vec::new() };
        let all = std::iter::once(&START).chain(words).chain(std::iter::once(&END));
        for (place, &word) in all.enumerate() {
            if word >= self.embedding.count() || place >= self.positions.count() {
                return Err(Error::input("the text tables of the weights are too short"));
            }
            let values = self.embedding.token(word).iter().zip(self.positions.token(place));
            tokens.data.extend(values.map(|(value, position)| value + position));
        }
        for layer in &self.layers {
            tokens = layer.forward(tokens);
        }
        let last = Tokens { width: tokens.width, data: tokens.token(tokens.count() - 1).to_vec() };
        let last = self.norm.forward(&last).data;
        let mut features = vec![0.0; self.features];
        for (value, row) in last.iter().zip(self.projection.chunks_exact(self.features)) {
            for (sum, weight) in features.iter_mut().zip(row) {
                *sum += value * weight;
            }
        }
        Ok(normalized(&features))
    }
}

struct TextLayer {
    norms: [LayerNorm; 2],
    attention: MultiHeadAttention,
    mlp: Mlp,
}

impl TextLayer {
    fn read(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        let norm = |which: &str| LayerNorm::read(weights, &format!("{name}{which}"), width, EPSILON);
        let mlp = ["c_fc", "c_proj"].map(|layer| format!("{name}mlp.{layer}"));
        Ok(Self {
            norms: [norm("ln_1")?, norm("ln_2")?],
            attention: MultiHeadAttention::torch(weights, &format!("{name}attn"), width, width / HEAD)?,
            mlp: Mlp::read(weights, &mlp, width, quick_gelu)?,
        })
    }

    fn forward(&self, tokens: Tokens) -> Tokens {
        let earlier = |_, query, key| if key > query { f32::NEG_INFINITY } else { 0.0 };
        let tokens = {
            let normed = self.norms[0].forward(&tokens);
            tokens.plus(&self.attention.biased(&normed, earlier))
        };
        let changed = self.mlp.forward(&self.norms[1].forward(&tokens));
        tokens.plus(&changed)
    }
}

fn normalized(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    vector.iter().map(|&value| (f64::from(value) / length) as f32).collect()
}
