//! Activations fused into the kernels that come before them.

use crate::{
    math::sigmoid,
    simd::{Simd, load, store},
};

/// What a convolution or linear layer applies to its result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation<'a> {
    /// Nothing.
    #[default]
    None,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x` where positive, else this slope times `x`.
    LeakyRelu(f32),
    /// As `LeakyRelu`, with one learned slope a channel.
    PRelu(&'a [f32]),
}

/// What a convolution makes of its sums: `activation(sum + bias) * scale + residual`.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a> {
    /// One a channel.
    pub bias: Option<&'a [f32]>,
    /// Follows the bias.
    pub activation: Activation<'a>,
    /// Follows the activation.
    pub scale: f32,
    /// A tensor like the output that is added last.
    pub residual: Option<&'a [f32]>,
}

impl Default for Finish<'_> {
    fn default() -> Self {
        Self { bias: None, activation: Activation::None, scale: 1.0, residual: None }
    }
}

impl<'a> Finish<'a> {
    /// Only a bias.
    pub fn bias(bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..Self::default() }
    }

    /// # Panics
    /// Something has another length than an output of `len` floats in `channels` channels needs.
    pub(crate) fn check(&self, channels: usize, len: usize) {
        self.activation.check(channels);
        assert!(self.bias.is_none_or(|bias| bias.len() == channels), "floats in the bias: one a channel");
        assert!(self.residual.is_none_or(|residual| residual.len() == len), "floats in the residual");
    }

    /// What is done to one channel, the residual apart.
    pub(crate) fn epilogue(&self, channel: usize) -> Epilogue {
        let slope = match self.activation {
            Activation::LeakyRelu(slope) => slope,
            Activation::PRelu(slopes) => slopes[channel],
            Activation::None | Activation::Silu => 1.0,
        };
        Epilogue {
            bias: self.bias.map_or(0.0, |bias| bias[channel]),
            slope,
            silu: self.activation == Activation::Silu,
            scale: self.scale,
        }
    }

    /// The part of the residual for `len` outputs from `at` on.
    #[inline(always)]
    pub(crate) fn residual(&self, at: usize, len: usize) -> Option<&'a [f32]> {
        self.residual.map(|residual| &residual[at..at + len])
    }
}

/// What is done to the values of one output channel.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue {
    bias: f32,
    /// Slope below zero; 1 for none.
    slope: f32,
    silu: bool,
    scale: f32,
}

impl Epilogue {
    fn is_identity(self) -> bool {
        self.bias == 0.0 && self.slope == 1.0 && !self.silu && self.scale == 1.0
    }

    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, v: S::V) -> S::V {
        let mut v = s.add(v, s.splat(self.bias));
        if self.silu {
            v = s.mul(v, sigmoid(s, v));
        } else if self.slope != 1.0 {
            v = s.select(s.less(v, s.zero()), s.mul(v, s.splat(self.slope)), v);
        }
        if self.scale != 1.0 { s.mul(v, s.splat(self.scale)) } else { v }
    }

    /// Applies it to `len` floats in place and adds the residual.
    ///
    /// # Safety
    /// They are readable and writable by this thread alone; the residual has as many.
    #[inline(always)]
    pub(crate) unsafe fn apply_row<S: Simd>(self, s: S, row: *mut f32, len: usize, residual: Option<&[f32]>) {
        if self.is_identity() && residual.is_none() {
            return;
        }
        for at in (0..len).step_by(S::LANES) {
            let count = (len - at).min(S::LANES);
            // SAFETY: `count` floats from `at` on lie inside both rows.
            unsafe {
                let mut v = self.apply(s, load(s, row.add(at), count));
                if let Some(residual) = residual {
                    v = s.add(v, load(s, residual.as_ptr().add(at), count));
                }
                store(s, row.add(at), v, count);
            }
        }
    }
}

impl Activation<'_> {
    /// # Panics
    /// A `PRelu` holds another number of slopes than there are channels.
    pub(crate) fn check(self, channels: usize) {
        if let Self::PRelu(slopes) = self {
            assert_eq!(slopes.len(), channels, "slopes of PRelu: one a channel");
        }
    }
}
