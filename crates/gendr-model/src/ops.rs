//! The costly arithmetic of the networks, and the only place where it is done.
//!
//! Networks call these functions and never ask which device they are on. Weights may be stored in half precision;
//! they are widened to the type of the input where they are used. Activations are `[batch, channels, height, width]`
//! (NCHW) for pictures and `[batch, tokens, channels]` for sequences.

mod cpu;
// Burn means to drop LibTorch for its own GPU back ends; those lose most of their time to small operations today.
#[allow(deprecated)]
#[cfg(feature = "libtorch")]
mod libtorch;

use burn::{
    backend::Dispatch,
    tensor::{Tensor, activation, module, ops::ConvOptions},
};
use cpu::{
    AddedConvKernels, AddedLinearKernels, AttentionKernels, ConvKernels, ConvSettings, FusedConvKernels,
    FusedLinearKernels, GroupNormKernels, LayerNormKernels, LinearKernels, MomentKernels, Rearrangement,
    RearrangementKernels, RectifierKernels, WideningKernels,
};
pub use gendr_kernels::Padding;
use gendr_kernels::Rectifier;

/// Largest number of attention scores held at once: 64 MiB in f32.
const MAX_SCORES: usize = 1 << 24;

/// What follows a convolution.
#[derive(Clone, Copy, Debug)]
pub enum Activation<'a> {
    /// x for x > 0, else `slope` · x.
    LeakyRelu {
        /// Slope on the negative side.
        slope: f64,
    },
    /// x for x > 0, else `slopes[channel]` · x.
    PRelu {
        /// One slope a channel.
        slopes: &'a Tensor<1>,
    },
}

impl Activation<'_> {
    fn apply(self, y: Tensor<4>) -> Tensor<4> {
        match self {
            Self::LeakyRelu { slope } => activation::leaky_relu(y, slope),
            Self::PRelu { slopes } => {
                let slopes = widen(slopes.clone(), &y);
                activation::prelu(y, slopes)
            }
        }
    }
}

/// Convolution of `[n, in, h, w]` with `weight` `[out, in, kh, kw]`, zero padding, then the activation:
/// `[n, out, (h + top + bottom - kh) / stride + 1, (w + left + right - kw) / stride + 1]`.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: Padding,
    activation: Option<Activation<'_>>,
) -> Tensor<4> {
    let weight = widen(weight, &x);
    let bias = bias.map(|bias| widen(bias, &x));
    let square = weight.dims()[2] == weight.dims()[3];
    if let Some(activation) = activation.filter(|_| square && cpu::takes_fused(&x)) {
        let settings = ConvSettings { stride, padding, enlarged: None };
        return conv2d_rectified(x, weight, bias, activation, settings);
    }
    let y = if square && cpu::takes(&x) {
        let bias = bias_or_zeros(bias, &weight).into_dispatch();
        let [x, weight] = [x, weight].map(Tensor::into_dispatch);
        Tensor::from_dispatch(Dispatch::kernel_conv2d(x, weight, bias, stride, padding))
    } else {
        #[cfg(feature = "libtorch")]
        if libtorch::takes(&x) {
            let bias = bias_or_zeros(bias, &weight);
            return activated(libtorch::conv2d(x, weight, bias, stride, padding), activation);
        }
        let pads = [(padding.top, padding.bottom), (padding.left, padding.right)];
        module::conv2d(x, weight, bias, ConvOptions::new_with_padding([stride, stride], pads, [1, 1], 1))
    };
    activated(y, activation)
}

fn activated(y: Tensor<4>, activation: Option<Activation<'_>>) -> Tensor<4> {
    match activation {
        Some(activation) => activation.apply(y),
        None => y,
    }
}

/// The convolution of a CPU tensor without gradients, with its activation.
fn conv2d_rectified(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    activation: Activation<'_>,
    settings: ConvSettings,
) -> Tensor<4> {
    let slopes = match activation {
        Activation::LeakyRelu { slope } => Tensor::full([1], slope, &x.device()),
        Activation::PRelu { slopes } => widen(slopes.clone(), &x),
    };
    let bias = bias_or_zeros(bias, &weight).into_dispatch();
    let [x, weight] = [x, weight].map(Tensor::into_dispatch);
    let y = Dispatch::kernel_conv2d_rectified(x, weight, bias, slopes.into_dispatch(), settings);
    Tensor::from_dispatch(y)
}

/// A convolution of stride 1 that keeps the size (zero padding), times `scale`, plus `residual`.
pub fn conv2d_added(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    scale: f64,
    residual: Tensor<4>,
) -> Tensor<4> {
    let [_, _, kernel, columns] = weight.dims();
    let padding = Padding::all(kernel / 2);
    if kernel == columns && (cpu::takes_fused(&x) || cpu::takes(&x) && scale == 1.0) {
        let weight = widen(weight, &x);
        let bias = bias_or_zeros(bias.map(|bias| widen(bias, &x)), &weight).into_dispatch();
        let [x, weight, residual] = [x, weight, residual].map(Tensor::into_dispatch);
        let settings = ConvSettings { stride: 1, padding, enlarged: None };
        let y = Dispatch::kernel_conv2d_added(x, weight, bias, residual, scale as f32, settings);
        return Tensor::from_dispatch(y);
    }
    let y = conv2d(x, weight, bias, 1, padding, None);
    if scale == 1.0 { residual + y } else { residual + y.mul_scalar(scale) }
}

/// Nearest-neighbour enlargement of `[n, in, h, w]` to `size` (twice the height and width, or one less), then a 3x3
/// convolution with one row and column of zeros on each side, then the activation.
pub fn upsample_conv2d(
    x: Tensor<4>,
    size: [usize; 2],
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    activation: Option<Activation<'_>>,
) -> Tensor<4> {
    if cpu::takes_fused(&x) {
        let settings = ConvSettings { stride: 1, padding: Padding::all(1), enlarged: Some(size) };
        let (weight, bias) = (widen(weight, &x), bias.map(|bias| widen(bias, &x)));
        let activation = activation.unwrap_or(Activation::LeakyRelu { slope: 1.0 });
        return conv2d_rectified(x, weight, bias, activation, settings);
    }
    conv2d(upsample_nearest(x, size), weight, bias, 1, Padding::all(1), activation)
}

/// Features that each convolution of a dense block adds to: `[n, c, h, w]`.
#[derive(Clone, Debug)]
pub struct DenseFeatures {
    /// The first `channels` of its channels are filled.
    x: Tensor<4>,
    channels: usize,
    /// Whether `x` has room for all channels from the start.
    has_room: bool,
}

impl DenseFeatures {
    /// The features `x` of a block that will have `most` channels.
    pub fn new(x: Tensor<4>, most: usize) -> Self {
        let [n, channels, _, _] = x.dims();
        let has_room = n == 1 && cpu::takes_fused(&x);
        let x = match has_room {
            true => Tensor::from_dispatch(Dispatch::kernel_widen(x.into_dispatch(), most)),
            false => x,
        };
        Self { x, channels, has_room }
    }

    /// Appends the convolution of all features so far (stride 1, zero padding), rectified.
    #[must_use]
    pub fn grow(self, weight: Tensor<4>, bias: Tensor<1>, slope: f64) -> Self {
        let [out, channels, kernel, _] = weight.dims();
        if !self.has_room {
            let activation = Some(Activation::LeakyRelu { slope });
            let grown = conv2d(self.x.clone(), weight, Some(bias), 1, Padding::all(kernel / 2), activation);
            return Self {
                x: Tensor::cat(vec![self.x, grown], 1),
                channels: channels + out,
                has_room: false,
            };
        }
        let slopes = Tensor::<1>::full([1], slope, &self.x.device()).into_dispatch();
        let (weight, bias) = (widen(weight, &self.x).into_dispatch(), widen(bias, &self.x).into_dispatch());
        let x = Dispatch::kernel_conv2d_grown(self.x.into_dispatch(), weight, bias, slopes);
        Self { x: Tensor::from_dispatch(x), channels: channels + out, has_room: true }
    }

    /// All features.
    pub fn into_tensor(self) -> Tensor<4> {
        self.x.narrow(1, 0, self.channels)
    }
}

/// Nearest-neighbour enlargement of `[n, c, h, w]` to `size`, which is twice the height and width, or one less each
/// (the size a stride-2 convolution came from).
pub fn upsample_nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    if cpu::takes(&x) {
        return rearranged(x, Rearrangement::Enlarge(size));
    }
    let [n, c, h, w] = x.dims();
    let doubled = x.reshape([n, c, h, 1, w, 1]).expand([n, c, h, 2, w, 2]).reshape([n, c, 2 * h, 2 * w]);
    if size == [2 * h, 2 * w] { doubled } else { doubled.narrow(2, 0, size[0]).narrow(3, 0, size[1]) }
}

/// x · `weight`ᵀ + `bias` over the last axis; `weight` is `[out, in]`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let weight = widen(weight, &x);
    let bias = bias.map(|bias| widen(bias, &x));
    if cpu::takes(&x) {
        let bias = bias_or_zeros(bias, &weight).into_dispatch();
        return Tensor::from_dispatch(Dispatch::kernel_linear(
            x.into_dispatch(),
            weight.into_dispatch(),
            bias,
        ));
    }
    module::linear(x, weight.transpose(), bias)
}

/// [`linear`] plus `residual`.
pub fn linear_added<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    residual: Tensor<D>,
) -> Tensor<D> {
    if !cpu::takes(&x) {
        return residual + linear(x, weight, bias);
    }
    let weight = widen(weight, &x);
    let bias = bias_or_zeros(bias.map(|bias| widen(bias, &x)), &weight).into_dispatch();
    let [x, residual] = [x, residual].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::kernel_linear_added(x, weight.into_dispatch(), bias, residual))
}

/// A linear layer to twice `c` channels, then value · gelu(gate) of its two halves (GEGLU):
/// `[n, tokens, in]` to `[n, tokens, c]`.
pub fn geglu(x: Tensor<3>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<3> {
    if cpu::takes_fused(&x) {
        let weight = widen(weight, &x);
        let bias = bias_or_zeros(bias.map(|bias| widen(bias, &x)), &weight).into_dispatch();
        let y = Dispatch::kernel_linear_geglu(x.into_dispatch(), weight.into_dispatch(), bias);
        return Tensor::from_dispatch(y);
    }
    let y = linear(x, weight, bias);
    if cpu::takes(&y) {
        return Tensor::from_dispatch(Dispatch::kernel_geglu(y.into_dispatch()));
    }
    let [value, gate] = halves(y, 2);
    value * gelu_erf(gate)
}

/// Multi-head attention softmax(q·kᵀ/√d)·v, `d` = channels / heads: `[n, queries, c]` with keys and values
/// `[n, keys, c]` gives `[n, queries, c]`.
///
/// Queries go in chunks so that the scores stay small whatever the number of tokens.
pub fn attention(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, heads: usize) -> Tensor<3> {
    if cpu::takes(&query) {
        let [query, key, value] = [query, key, value].map(Tensor::into_dispatch);
        return Tensor::from_dispatch(Dispatch::kernel_attention(query, key, value, heads));
    }
    let [n, queries, c] = query.dims();
    let keys = key.dims()[1];
    let by_head = |x: Tensor<3>, tokens| x.reshape([n, tokens, heads, c / heads]).swap_dims(1, 2);
    let scale = 1.0 / ((c / heads) as f64).sqrt();
    let query = by_head(query.mul_scalar(scale), queries);
    let key = by_head(key, keys).swap_dims(2, 3);
    let value = by_head(value, keys);

    let chunk = (MAX_SCORES / (n * heads * keys).max(1)).clamp(1, queries);
    let mut parts = Vec::with_capacity(queries.div_ceil(chunk));
    for start in (0..queries).step_by(chunk) {
        let part = query.clone().narrow(2, start, chunk.min(queries - start));
        let scores = activation::softmax(part.matmul(key.clone()), 3);
        parts.push(scores.matmul(value.clone()));
    }
    Tensor::cat(parts, 2).swap_dims(1, 2).reshape([n, queries, c])
}

/// Mean and variance of each group of channels: what group normalisation divides out.
#[derive(Clone, Debug)]
pub struct Moments {
    /// `[n, groups]`.
    pub mean: Tensor<2>,
    /// `[n, groups]`, the mean of squared deviations.
    pub variance: Tensor<2>,
}

/// Mean and variance of each of the `groups` groups of channels of `[n, c, h, w]`.
pub fn group_moments(x: Tensor<4>, groups: usize) -> Moments {
    let n = x.dims()[0];
    if cpu::takes_fused(&x) {
        let both = Tensor::<3>::from_dispatch(Dispatch::kernel_group_moments(x.into_dispatch(), groups));
        let of = |which| both.clone().narrow(0, which, 1).reshape([n, groups]);
        return Moments { mean: of(0), variance: of(1) };
    }
    let x = x.reshape([n as i32, groups as i32, -1]);
    let mean = x.clone().mean_dim(2);
    let variance = (x - mean.clone()).square().mean_dim(2);
    Moments { mean: mean.reshape([n, groups]), variance: variance.reshape([n, groups]) }
}

/// Group normalisation of `[n, c, h, w]`, (x - mean) / √(variance + epsilon) · weight + bias, then SiLU if asked.
///
/// The moments are those of `x` unless they are given, as for a tile of a larger picture.
pub fn group_norm(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    groups: usize,
    epsilon: f64,
    moments: Option<&Moments>,
    with_silu: bool,
) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    if moments.is_none() && cpu::takes(&x) {
        let [weight, bias] = [weight, bias].map(|parameter| widen(parameter, &x).into_dispatch());
        let y = Dispatch::kernel_group_norm(x.into_dispatch(), weight, bias, groups, epsilon, with_silu);
        return Tensor::from_dispatch(y);
    }
    if let Some(moments) = moments.filter(|_| cpu::takes_fused(&x)) {
        let [weight, bias] = [weight, bias].map(|parameter| widen(parameter, &x).into_dispatch());
        let [mean, variance] =
            [&moments.mean, &moments.variance].map(|moment| moment.clone().into_dispatch());
        let x = x.into_dispatch();
        let y = Dispatch::kernel_group_norm_by(x, mean, variance, weight, bias, groups, epsilon, with_silu);
        return Tensor::from_dispatch(y);
    }
    #[cfg(feature = "libtorch")]
    if moments.is_none() && libtorch::takes(&x) {
        let [weight, bias] = [weight, bias].map(|parameter| widen(parameter, &x));
        return libtorch::group_norm(x, weight, bias, groups, epsilon, with_silu);
    }
    let own;
    let moments = match moments {
        Some(moments) => moments,
        None => {
            own = group_moments(x.clone(), groups);
            &own
        }
    };
    let scale = (moments.variance.clone() + epsilon).sqrt().recip().reshape([n, groups, 1]);
    let scale = scale * widen(weight, &x).reshape([1, groups, c / groups]);
    let shift = widen(bias, &x).reshape([1, groups, c / groups])
        - moments.mean.clone().reshape([n, groups, 1]) * scale.clone();
    let y = x.reshape([n, c, h * w]) * scale.reshape([n, c, 1]) + shift.reshape([n, c, 1]);
    let y = y.reshape([n, c, h, w]);
    if with_silu { silu(y) } else { y }
}

/// Layer normalisation over the last axis with biased variance.
pub fn layer_norm(x: Tensor<3>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<3> {
    let weight = widen(weight, &x);
    let bias = widen(bias, &x);
    if cpu::takes(&x) {
        let [weight, bias] = [weight, bias].map(Tensor::into_dispatch);
        return Tensor::from_dispatch(Dispatch::kernel_layer_norm(x.into_dispatch(), weight, bias, epsilon));
    }
    module::layer_norm(x, weight, Some(bias), epsilon)
}

/// x · sigmoid(x).
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if cpu::takes(&x) {
        return Tensor::from_dispatch(Dispatch::kernel_rectify(x.into_dispatch(), Rectifier::Silu));
    }
    #[cfg(feature = "libtorch")]
    if libtorch::takes(&x) {
        return libtorch::silu(x);
    }
    activation::silu(x)
}

/// x · Φ(x) with the exact normal distribution function.
pub fn gelu_erf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if cpu::takes(&x) {
        return Tensor::from_dispatch(Dispatch::kernel_rectify(x.into_dispatch(), Rectifier::Gelu));
    }
    activation::gelu(x)
}

/// Each square of `factor`² pixels becomes `factor`² channels: `[n, c, h, w]` to `[n, c·f², h/f, w/f]`, channel
/// `c·f² + row·f + column` as in PyTorch.
pub fn pixel_unshuffle(x: Tensor<4>, factor: usize) -> Tensor<4> {
    if cpu::takes(&x) {
        return rearranged(x, Rearrangement::PixelsToChannels(factor));
    }
    let [n, c, h, w] = x.dims();
    let (h, w) = (h / factor, w / factor);
    x.reshape([n, c, h, factor, w, factor]).permute([0, 1, 3, 5, 2, 4]).reshape([
        n,
        c * factor * factor,
        h,
        w,
    ])
}

/// The inverse of [`pixel_unshuffle`]: `[n, c·f², h, w]` to `[n, c, h·f, w·f]`.
pub fn pixel_shuffle(x: Tensor<4>, factor: usize) -> Tensor<4> {
    if cpu::takes(&x) {
        return rearranged(x, Rearrangement::ChannelsToPixels(factor));
    }
    let [n, c, h, w] = x.dims();
    let c = c / (factor * factor);
    x.reshape([n, c, factor, factor, h, w]).permute([0, 1, 4, 2, 5, 3]).reshape([
        n,
        c,
        h * factor,
        w * factor,
    ])
}

/// `[n, c, h, w]` to tokens, `[n, h · w, c]`.
pub fn tokens(x: Tensor<4>) -> Tensor<3> {
    let [n, c, h, w] = x.dims();
    if cpu::takes(&x) {
        return rearranged(x.reshape([n, 1, c, h * w]), Rearrangement::Transpose).reshape([n, h * w, c]);
    }
    x.reshape([n, c, h * w]).swap_dims(1, 2)
}

/// The inverse of [`tokens`]: `[n, h · w, c]` to `[n, c, h, w]`.
pub fn pixels_of_tokens(tokens: Tensor<3>, [h, w]: [usize; 2]) -> Tensor<4> {
    let [n, _, c] = tokens.dims();
    if cpu::takes(&tokens) {
        return rearranged(tokens.reshape([n, 1, h * w, c]), Rearrangement::Transpose).reshape([n, c, h, w]);
    }
    tokens.swap_dims(1, 2).reshape([n, c, h, w])
}

fn rearranged(x: Tensor<4>, rearrangement: Rearrangement) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::kernel_rearrange(x.into_dispatch(), rearrangement))
}

/// The two halves of `x` along `axis`.
pub fn halves<const D: usize>(x: Tensor<D>, axis: usize) -> [Tensor<D>; 2] {
    let half = x.dims()[axis] / 2;
    [x.clone().narrow(axis, 0, half), x.narrow(axis, half, half)]
}

/// `bias`, or zeros for as many outputs as `weight` has rows.
fn bias_or_zeros<const D: usize>(bias: Option<Tensor<1>>, weight: &Tensor<D>) -> Tensor<1> {
    bias.unwrap_or_else(|| Tensor::zeros([weight.dims()[0]], &weight.device()))
}

/// `parameter` in the number type of `like`.
pub(crate) fn widen<const D: usize, const E: usize>(parameter: Tensor<D>, like: &Tensor<E>) -> Tensor<D> {
    let dtype = like.dtype();
    if parameter.dtype() == dtype {
        parameter
    } else if cpu::takes_fused(like) {
        Tensor::from_dispatch(Dispatch::kernel_widen_values(parameter.into_dispatch()))
    } else {
        parameter.cast(dtype)
    }
}
