//! Activations fused into the kernels that come before them.

use crate::{math::sigmoid, simd::Simd};

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

/// What is done to the values of one output channel.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue {
    bias: f32,
    /// Slope below zero; 1 for none.
    slope: f32,
    silu: bool,
}

impl Epilogue {
    pub(crate) fn of_channel(bias: Option<&[f32]>, activation: Activation<'_>, channel: usize) -> Self {
        let slope = match activation {
            Activation::LeakyRelu(slope) => slope,
            Activation::PRelu(slopes) => slopes[channel],
            Activation::None | Activation::Silu => 1.0,
        };
        Self { bias: bias.map_or(0.0, |bias| bias[channel]), slope, silu: activation == Activation::Silu }
    }

    pub(crate) fn is_identity(self) -> bool {
        self.bias == 0.0 && self.slope == 1.0 && !self.silu
    }

    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, v: S::V) -> S::V {
        let v = s.add(v, s.splat(self.bias));
        if self.silu {
            s.mul(v, sigmoid(s, v))
        } else if self.slope != 1.0 {
            s.select(s.less(v, s.zero()), s.mul(v, s.splat(self.slope)), v)
        } else {
            v
        }
    }

    /// Applies it to `len` floats in place.
    ///
    /// # Safety
    /// They are readable and writable by this thread alone.
    #[inline(always)]
    pub(crate) unsafe fn apply_row<S: Simd>(self, s: S, row: *mut f32, len: usize) {
        if self.is_identity() {
            return;
        }
        let mut at = 0;
        // SAFETY: `at + LANES <= len` in the loop, the rest is masked.
        unsafe {
            while at + S::LANES <= len {
                s.store(row.add(at), self.apply(s, s.load(row.add(at))));
                at += S::LANES;
            }
            s.store_first(row.add(at), self.apply(s, s.load_first(row.add(at), len - at)), len - at);
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
