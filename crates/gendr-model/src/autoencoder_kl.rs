//! The autoencoder that takes pictures to latents and back (diffusers' AutoencoderKL).

mod blocks;
mod config;
mod segments;

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};

use self::blocks::{Decoder, Encoder};
use crate::{
    error::Result,
    layers::Conv2d,
    ops,
    parameters::{TensorSource, load_into},
    pass::Pass,
};

pub use self::{
    config::AutoencoderKlConfig,
    segments::{DecoderParts, EncoderParts},
};

/// An autoencoder with a normal distribution as its latent.
#[derive(Module, Debug)]
pub struct AutoencoderKl {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    #[module(skip)]
    latent: LatentScale,
}

/// From the autoencoder's latents to those the UNet sees.
#[derive(Clone, Debug)]
struct LatentScale {
    shift: f64,
    factor: f64,
    pixels: usize,
}

/// The distribution of a picture's latent, before shift and scaling.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// `[n, latent_channels, h, w]`.
    pub mean: Tensor<4>,
    /// The logarithm of the variance, clamped to [-30, 20]; `[n, latent_channels, h, w]`.
    pub log_variance: Tensor<4>,
}

impl Posterior {
    /// From mean and log-variance one after the other in the channels, `[n, 2 · latent_channels, h, w]`.
    pub fn from_moments(moments: Tensor<4>) -> Self {
        let [mean, log_variance] = ops::halves(moments, 1);
        Self { mean, log_variance: log_variance.clamp(-30.0, 20.0) }
    }

    /// exp(log-variance / 2).
    pub fn standard_deviation(&self) -> Tensor<4> {
        (self.log_variance.clone() * 0.5).exp()
    }

    /// mean + deviation · `noise`, for standard normal noise of the same shape.
    pub fn sample(&self, noise: Tensor<4>) -> Tensor<4> {
        self.mean.clone() + self.standard_deviation() * noise
    }
}

impl AutoencoderKlConfig {
    /// The network, without weights yet.
    ///
    /// # Errors
    /// All of [`AutoencoderKlConfig::validate`].
    pub fn init(&self, device: &Device) -> Result<AutoencoderKl> {
        self.validate()?;
        let point = |used: bool, channels| used.then(|| Conv2d::new(channels, channels, 1, device));
        Ok(AutoencoderKl {
            encoder: Encoder::new(self, device),
            decoder: Decoder::new(self, device),
            quant_conv: point(self.use_quant_conv, 2 * self.latent_channels),
            post_quant_conv: point(self.use_post_quant_conv, self.latent_channels),
            latent: LatentScale {
                shift: self.shift_factor.unwrap_or(0.0),
                factor: self.scaling_factor,
                pixels: self.factor(),
            },
        })
    }
}

impl AutoencoderKl {
    /// Mean then log-variance of the latent, `[n, 2 · latent_channels, h / f, w / f]` with `f` =
    /// [`AutoencoderKl::factor`], of pictures `[n, 3, h, w]` in [-1, 1]. Sides need at least `f` pixels.
    pub fn moments(&self, picture: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let x = self.encode_outer(picture, pass);
        self.encode_inner(x, pass)
    }

    /// The part of [`AutoencoderKl::moments`] above the size of the latent: what comes out is `[n, c, h / f, w / f]`.
    pub fn encode_outer(&self, picture: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        self.encoder.outer(picture, pass)
    }

    /// The rest of [`AutoencoderKl::moments`].
    pub fn encode_inner(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let x = self.encoder.inner(x, pass);
        match &self.quant_conv {
            Some(conv) => pass.conv(x, conv),
            None => x,
        }
    }

    /// The distribution of the latent of pictures `[n, 3, h, w]` in [-1, 1].
    pub fn encode(&self, picture: Tensor<4>, pass: &mut Pass) -> Posterior {
        Posterior::from_moments(self.moments(picture, pass))
    }

    /// Latents `[n, latent_channels, h, w]`, neither shifted nor scaled, to pictures `[n, 3, f·h, f·w]`, not clamped.
    pub fn decode(&self, latent: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let x = self.decode_inner(latent, pass);
        self.decode_outer(x, pass)
    }

    /// The part of [`AutoencoderKl::decode`] at the size of the latent: what comes out is `[n, c, h, w]`.
    pub fn decode_inner(&self, latent: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let z = match &self.post_quant_conv {
            Some(conv) => pass.conv(latent, conv),
            None => latent,
        };
        self.decoder.inner(z, pass)
    }

    /// The rest of [`AutoencoderKl::decode`].
    pub fn decode_outer(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        self.decoder.outer(x, pass)
    }

    /// A latent of this autoencoder as the UNet wants it: (z - shift) · scaling.
    pub fn scale(&self, latent: Tensor<4>) -> Tensor<4> {
        (latent - self.latent.shift) * self.latent.factor
    }

    /// The inverse of [`AutoencoderKl::scale`].
    pub fn unscale(&self, latent: Tensor<4>) -> Tensor<4> {
        latent / self.latent.factor + self.latent.shift
    }

    /// Pixels a side of one latent pixel.
    pub fn factor(&self) -> usize {
        self.latent.pixels
    }

    /// Multiply-adds to encode a picture of `height` x `width`.
    pub fn encode_multiply_adds(&self, height: usize, width: usize) -> u64 {
        let mut size = [height, width];
        let sum = self.encoder.multiply_adds(&mut size);
        sum + self.quant_conv.as_ref().map_or(0, |conv| conv.multiply_adds(size[0] * size[1]))
    }

    /// Multiply-adds to decode a picture of `height` x `width`.
    pub fn decode_multiply_adds(&self, height: usize, width: usize) -> u64 {
        let size = [height, width].map(|side| side / self.factor());
        let point = self.post_quant_conv.as_ref().map_or(0, |conv| conv.multiply_adds(size[0] * size[1]));
        point + self.decoder.multiply_adds(size)
    }

    /// Fills the network; the names of older files (`query`, `key`, `value`, `proj_attn`) are found too.
    ///
    /// # Errors
    /// As [`load_into`].
    pub fn load(self, source: &mut dyn TensorSource) -> Result<Self> {
        load_into(self, &mut OldAttentionNames(source))
    }
}

/// Asks for a tensor by its present name, then by the one it had in older files.
struct OldAttentionNames<'a>(&'a mut dyn TensorSource);

impl TensorSource for OldAttentionNames<'_> {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<TensorData> {
        let result = self.0.tensor(name, shape);
        match (result, old_attention_name(name)) {
            (Err(error), Some(old)) => self.0.tensor(&old, shape).map_err(|_| error),
            (result, _) => result,
        }
    }
}

/// The name an attention layer's tensor had before diffusers renamed it.
pub fn old_attention_name(name: &str) -> Option<String> {
    const RENAMED: [(&str, &str); 4] =
        [(".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn.")];
    let (new, old) = RENAMED.iter().find(|(new, _)| name.contains(new))?;
    Some(name.replace(new, old))
}
