//! TOPIQ: from what is shown down to how it is distorted.

use gendr_image::{Error, Planes, Resampling, Result, resize};

use super::{
    IMAGENET,
    attention::{MultiHeadAttention, softmax},
    check_size,
    convolution::Convolution,
    layers::{LayerNorm, Linear, Mlp, Tokens, gelu, sigmoid},
    residual::ResidualNetwork,
    weights::Weights,
};
use crate::levels::{check_pair, check_picture};

const HEADS: usize = 4;
/// Layer normalisation's share of safety.
const EPSILON: f32 = 1e-5;

/// TOPIQ (Chen, Mo, Hou, Wu, Liao, Sun, Yan and Lin 2024) with a ResNet-50, without or with a reference.
///
/// About 0 to 1, higher is better. Maps of five depths of the network, gated by learned weights and shrunk to the size of the
/// deepest, become tokens; those of a deep level ask those of the next shallower one.
#[derive(Clone, Debug)]
pub struct Topiq {
    network: ResidualNetwork,
    gates: Vec<Gate>,
    reduce: Vec<Convolution>,
    own: Vec<Vec<Layer>>,
    across: Vec<Vec<CrossLayer>>,
    last: Layer,
    norms: [LayerNorm; 2],
    linear: [Linear; 3],
    /// `[width, side, side]`.
    positions: Planes,
}

impl Topiq {
    /// The metric without a reference, with the parameter names of pyiqa.
    ///
    /// # Errors
    /// An input error that names the tensor that is missing or has the wrong shape.
    pub fn without_reference(weights: &Weights) -> Result<Self> {
        Self::new(weights, false)
    }

    /// The metric with a reference.
    ///
    /// # Errors
    /// As [`Topiq::without_reference`].
    pub fn with_reference(weights: &Weights) -> Result<Self> {
        Self::new(weights, true)
    }

    fn new(weights: &Weights, paired: bool) -> Result<Self> {
        let network = ResidualNetwork::plain(weights, "semantic_model.")?;
        let channels = network.channels();
        let positions = positions(weights)?;
        let width = positions.channels();
        let gate = |(level, &channels): (usize, &usize)| Gate::read(weights, level, channels, paired);
        let gates: Vec<Gate> = channels.iter().enumerate().map(gate).collect::<Result<_>>()?;
        let reduce = |(level, gate): (usize, &Gate)| -> Result<Convolution> {
            let name = format!("dim_reduce.{level}.0");
            let layer = Convolution::read(weights, &name, gate.out_channels(), 1)?;
            if layer.out_channels() != width || layer.kernel() != Some(1) {
                return Err(Error::input(format!("{name} does not give {width} channels pixel by pixel")));
            }
            Ok(layer)
        };
        let reduce = gates.iter().enumerate().map(reduce).collect::<Result<_>>()?;
        let levels = channels.len();
        let own = (0..levels).map(|level| {
            stacked(weights, &format!("sa_attn_blks.{level}.layers."), |name| {
                Layer::read(weights, name, width)
            })
        });
        let across = (0..levels - 1).map(|level| {
            stacked(weights, &format!("attn_blks.{level}.layers."), |name| {
                CrossLayer::read(weights, name, width)
            })
        });
        let norm =
            |index: usize, width| LayerNorm::read(weights, &format!("score_linear.{index}"), width, EPSILON);
        let linear = |index: usize, width| Linear::read(weights, &format!("score_linear.{index}"), width);
        let (first, second) = (linear(1, width)?, linear(4, width)?);
        Ok(Self {
            own: own.collect::<Result<_>>()?,
            across: across.collect::<Result<_>>()?,
            last: Layer::read(weights, "attn_pool.", width)?,
            norms: [norm(0, width)?, norm(3, first.out_features())?],
            linear: [
                first.giving(width, "score_linear.1")?,
                second.giving(width, "score_linear.4")?,
                linear(6, width)?,
            ],
            network,
            gates,
            reduce,
            positions,
        })
    }

    /// Scores a picture.
    ///
    /// # Errors
    /// Where the weights are those for pictures with references, the picture is neither grey nor colour, holds values that
    /// are not finite, has a side under 32 pixels or more than 2^24 pixels.
    pub fn score(&self, picture: &Planes) -> Result<f64> {
        check_picture(picture)?;
        check_size(picture, 32, "TOPIQ")?;
        let maps = self.network.walk(&IMAGENET.input(picture))?;
        let gated = |(gate, maps): (&Gate, &Planes)| gate.alone(maps);
        self.judge(self.gates.iter().zip(&maps).map(gated).collect::<Result<_>>()?)
    }

    /// Scores a picture against its reference.
    ///
    /// # Errors
    /// As [`Topiq::score`], with weights for pictures without references, and where the pictures differ in shape.
    pub fn score_pair(&self, picture: &Planes, reference: &Planes) -> Result<f64> {
        check_pair(picture, reference)?;
        check_size(picture, 32, "TOPIQ")?;
        let walk = |picture: &Planes| self.network.walk(&IMAGENET.input(picture));
        let (seen, wanted) = (walk(picture)?, walk(reference)?);
        let levels = self.gates.iter().zip(seen.iter().zip(&wanted));
        self.judge(levels.map(|(gate, (a, b))| gate.paired(a, b)).collect::<Result<_>>()?)
    }

    /// The score from the gated maps of each level, the shallowest first.
    fn judge(&self, gated: Vec<Planes>) -> Result<f64> {
        let deepest = gated.last().map_or((1, 1), |maps| (maps.height(), maps.width()));
        let mut query: Option<Tokens> = None;
        for (level, maps) in gated.into_iter().enumerate().rev() {
            let (height, width) = deepest;
            let maps = if maps.height() > height && maps.width() > width {
                resize(&maps, width, height, Resampling::TORCH_AREA)?
            } else {
                maps
            };
            let places = resize(&self.positions, maps.width(), maps.height(), Resampling::TORCH_BICUBIC)?;
            let tokens = Tokens::of_pixels(&self.reduce[level].forward(&maps)?).mapped(gelu);
            let mut tokens = tokens.plus(&Tokens::of_pixels(&places));
            for layer in &self.own[level] {
                tokens = layer.forward(tokens);
            }
            query = Some(match query {
                None => tokens,
                // The first of these layers belongs to the deepest level but one.
                Some(query) => {
                    let layers = &self.across[self.own.len() - 2 - level];
                    layers.iter().fold(query, |query, layer| layer.forward(query, &tokens))
                }
            });
        }
        let Some(query) = query else { return Err(Error::argument("TOPIQ without levels")) };
        let mut tokens = self.last.forward(query).mean();
        for (norm, linear) in self.norms.iter().zip(&self.linear) {
            tokens = linear.forward(&norm.forward(&tokens)).mapped(gelu);
        }
        let mut scores = self.linear[2].forward(&tokens).data;
        if let [score] = scores[..] {
            return Ok(f64::from(score));
        }
        softmax(&mut scores);
        Ok((1..).zip(scores).map(|(grade, share)| f64::from(grade) * f64::from(share)).sum())
    }
}

/// The learned positions as maps: the first half of the channels tells the row, the second the column.
fn positions(weights: &Weights) -> Result<Planes> {
    let (rows, columns) = (weights.get(&["h_emb".to_owned()], 4)?, weights.get(&["w_emb".to_owned()], 4)?);
    let (height, width) = (rows.shape[2], columns.shape[3]);
    if rows.shape != [1, columns.shape[1], height, 1] || columns.shape != [1, rows.shape[1], 1, width] {
        return Err(Error::input(format!(
            "h_emb and w_emb of shapes {:?} and {:?}",
            rows.shape, columns.shape
        )));
    }
    let mut data = Vec::with_capacity(2 * rows.shape[1] * height * width);
    for channel in rows.data.chunks_exact(height) {
        data.extend(channel.iter().flat_map(|&value| std::iter::repeat_n(value, width)));
    }
    for channel in columns.data.chunks_exact(width) {
        data.extend(std::iter::repeat_n(channel, height).flatten());
    }
    Planes::from_vec(2 * rows.shape[1], height, width, data)
}

/// All layers that there are under a name.
fn stacked<T>(weights: &Weights, name: &str, read: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    let count = weights.count(|layer| format!("{name}{layer}.norm1.weight"));
    (0..count).map(|layer| read(&format!("{name}{layer}."))).collect()
}

/// Which places of the maps count.
#[derive(Clone, Debug)]
enum Gate {
    /// Without a reference.
    Alone { split: Convolution, weight: [Convolution; 3] },
    /// With a reference, by the difference.
    Paired { weight: [Convolution; 3], channels: usize },
}

impl Gate {
    fn read(weights: &Weights, level: usize, channels: usize, paired: bool) -> Result<Self> {
        let name = format!("weight_pool.{level}.");
        let weight = |name: &str, channels: usize| -> Result<[Convolution; 3]> {
            let layer = |index: usize, channels| -> Result<Convolution> {
                Ok(Convolution::read(weights, &format!("{name}{index}"), channels, 1)?.padded())
            };
            let first = layer(0, channels)?;
            let second = layer(2, first.out_channels())?;
            let third = layer(4, second.out_channels())?;
            if third.out_channels() != 1 {
                return Err(Error::input(format!("{name}4 gives more than one weight a pixel")));
            }
            Ok([first, second, third])
        };
        if paired {
            return Ok(Self::Paired { weight: weight(&name, channels)?, channels });
        }
        let split = Convolution::read(weights, &format!("{name}splitconv"), channels, 1)?;
        if split.out_channels() % 2 != 0 {
            return Err(Error::input(format!("{name}splitconv gives no two halves")));
        }
        let weight = weight(&format!("{name}weight_blk."), split.out_channels() / 2)?;
        Ok(Self::Alone { split, weight })
    }

    fn out_channels(&self) -> usize {
        match self {
            Self::Alone { split, .. } => split.out_channels() / 2,
            Self::Paired { channels, .. } => 3 * channels,
        }
    }

    fn alone(&self, maps: &Planes) -> Result<Planes> {
        let Self::Alone { split, weight } = self else {
            return Err(Error::argument("these weights of TOPIQ need a reference"));
        };
        let halves = split.forward(maps)?;
        let (channels, height, width) = (halves.channels() / 2, halves.height(), halves.width());
        let mut data = halves.into_vec();
        let second = Planes::from_vec(channels, height, width, data.split_off(channels * height * width))?;
        let mut first = Planes::from_vec(channels, height, width, data)?;
        first.map_in_place(gelu);
        weighted(first, &second, weight)
    }

    fn paired(&self, maps: &Planes, wanted: &Planes) -> Result<Planes> {
        let Self::Paired { weight, .. } = self else {
            return Err(Error::argument("these weights of TOPIQ take no reference"));
        };
        let distance = |(a, b): (&f32, &f32)| ((a - b) * (a - b) + 1e-12).sqrt();
        let difference: Vec<f32> = maps.data().iter().zip(wanted.data()).map(distance).collect();
        let all = [maps.data(), wanted.data(), &difference].concat();
        let (channels, height, width) = (maps.channels(), maps.height(), maps.width());
        let difference = Planes::from_vec(channels, height, width, difference)?;
        weighted(Planes::from_vec(3 * channels, height, width, all)?, &difference, weight)
    }
}

/// The maps times a weight for each pixel, which three convolutions make of other maps.
fn weighted(mut maps: Planes, other: &Planes, layers: &[Convolution; 3]) -> Result<Planes> {
    let [first, second, third] = layers;
    let mut weight = first.forward(other)?;
    weight.map_in_place(gelu);
    weight = second.forward(&weight)?;
    weight.map_in_place(gelu);
    weight = third.forward(&weight)?;
    weight.map_in_place(sigmoid);
    for channel in 0..maps.channels() {
        for (value, weight) in maps.plane_mut(channel).iter_mut().zip(weight.data()) {
            *value *= weight;
        }
    }
    Ok(maps)
}

/// Attention among tokens, then a perceptron.
#[derive(Clone, Debug)]
struct Layer {
    norms: [LayerNorm; 2],
    attention: MultiHeadAttention,
    mlp: Mlp,
}

impl Layer {
    fn read(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        let norm = |which: &str| LayerNorm::read(weights, &format!("{name}{which}"), width, EPSILON);
        Ok(Self {
            norms: [norm("norm1")?, norm("norm2")?],
            attention: MultiHeadAttention::torch(weights, &format!("{name}self_attn"), width, HEADS)?,
            mlp: mlp(weights, name, width)?,
        })
    }

    fn forward(&self, tokens: Tokens) -> Tokens {
        let normed = self.norms[0].forward(&tokens);
        let tokens = tokens.plus(&self.attention.forward(&normed, &normed));
        let changed = self.mlp.forward(&self.norms[1].forward(&tokens));
        tokens.plus(&changed)
    }
}

/// Attention to the tokens of another level, then a perceptron.
#[derive(Clone, Debug)]
struct CrossLayer {
    norms: [LayerNorm; 3],
    attention: MultiHeadAttention,
    mlp: Mlp,
}

impl CrossLayer {
    fn read(weights: &Weights, name: &str, width: usize) -> Result<Self> {
        let norm = |which: &str| LayerNorm::read(weights, &format!("{name}{which}"), width, EPSILON);
        Ok(Self {
            norms: [norm("norm1")?, norm("norm2")?, norm("norm3")?],
            attention: MultiHeadAttention::torch(weights, &format!("{name}multihead_attn"), width, HEADS)?,
            mlp: mlp(weights, name, width)?,
        })
    }

    fn forward(&self, tokens: Tokens, memory: &Tokens) -> Tokens {
        let (query, memory) = (self.norms[0].forward(&tokens), self.norms[1].forward(memory));
        let tokens = tokens.plus(&self.attention.forward(&query, &memory));
        let changed = self.mlp.forward(&self.norms[2].forward(&tokens));
        tokens.plus(&changed)
    }
}

fn mlp(weights: &Weights, name: &str, width: usize) -> Result<Mlp> {
    Mlp::read(weights, &["linear1", "linear2"].map(|layer| format!("{name}{layer}")), width, gelu)
}
