//! The shape of a convolution.

use std::{error::Error as StdError, fmt};

/// A two-dimensional convolution of `[batch, in_channels, height, width]` with
/// `[out_channels, in_channels, kernel, kernel]` to `[batch, out_channels, out_height, out_width]`.
///
/// Sums are cross-correlations, as in every network: `out[y][x] = sum in[y * stride + i - top][x * stride + j - left] * w[i][j]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Pictures.
    pub batch: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Step between outputs, in input pixels.
    pub stride: usize,
    /// Zeros added at the top, bottom, left and right of the input.
    pub padding: Padding,
    /// The input is stored at half its height and width, rounded up, and enlarged by nearest neighbour as it is read. For
    /// [`conv2d`](crate::conv2d) with a stride of 1; there are no gradients of it.
    pub enlarged: bool,
}

/// Zeros added around a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns before.
    pub left: usize,
    /// Columns after.
    pub right: usize,
}

impl Padding {
    /// The same on all sides.
    pub const fn all(pixels: usize) -> Self {
        Self { top: pixels, bottom: pixels, left: pixels, right: pixels }
    }
}

/// A convolution that cannot be: a size of zero, a kernel larger than the padded input, or more floats than memory can address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeError(ConvShape);

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no such convolution: {:?}", self.0)
    }
}

impl StdError for ShapeError {}

impl ConvShape {
    /// A convolution of stride 1 and kernel `kernel` that keeps the picture's size.
    pub const fn same(
        batch: usize,
        in_channels: usize,
        out_channels: usize,
        height: usize,
        width: usize,
        kernel: usize,
    ) -> Self {
        let padding = Padding::all(kernel / 2);
        Self { batch, in_channels, out_channels, height, width, kernel, stride: 1, padding, enlarged: false }
    }

    /// Checks it.
    ///
    /// # Errors
    ///
    /// A size is zero, the kernel does not fit into the padded input, a tensor has more than 2^40 floats, or an enlarged input
    /// meets a stride other than 1.
    pub fn checked(self) -> Result<Self, ShapeError> {
        const LIMIT: usize = 1 << 40;
        let product = |sizes: [usize; 4]| {
            sizes
                .into_iter()
                .try_fold(1usize, usize::checked_mul)
                .filter(|&floats| floats > 0 && floats <= LIMIT)
        };
        let Padding { top, bottom, left, right } = self.padding;
        let error = ShapeError(self);
        if [top, bottom, left, right, self.kernel, self.stride].into_iter().any(|size| size > LIMIT)
            || self.stride == 0
            || self.kernel == 0
            || (self.enlarged && self.stride != 1)
        {
            return Err(error);
        }
        product([self.batch, self.in_channels, self.height, self.width]).ok_or(error)?;
        product([self.out_channels, self.in_channels, self.kernel, self.kernel]).ok_or(error)?;
        if self.height + top + bottom < self.kernel || self.width + left + right < self.kernel {
            return Err(error);
        }
        product([self.batch, self.out_channels, self.out_height(), self.out_width()]).ok_or(error)?;
        Ok(self)
    }

    /// Rows of the output.
    pub const fn out_height(&self) -> usize {
        (self.height + self.padding.top + self.padding.bottom - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub const fn out_width(&self) -> usize {
        (self.width + self.padding.left + self.padding.right - self.kernel) / self.stride + 1
    }

    /// `(out_height, out_width)`.
    pub const fn output_size(&self) -> (usize, usize) {
        (self.out_height(), self.out_width())
    }

    /// Height and width of the input as it is stored.
    pub const fn stored_size(&self) -> (usize, usize) {
        if self.enlarged {
            (self.height.div_ceil(2), self.width.div_ceil(2))
        } else {
            (self.height, self.width)
        }
    }

    /// Floats in the input.
    pub const fn input_len(&self) -> usize {
        let (height, width) = self.stored_size();
        self.batch * self.in_channels * height * width
    }

    /// Floats in the kernels.
    pub const fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * self.kernel * self.kernel
    }

    /// Floats in the output.
    pub const fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.out_height() * self.out_width()
    }

    /// Multiplications of the plain sum, twice: the work that rates in GF/s are given for.
    pub const fn flops(&self) -> usize {
        2 * self.output_len() * self.in_channels * self.kernel * self.kernel
    }

    /// # Panics
    /// The shape is impossible, or a slice has another length than it says.
    pub(crate) fn check(&self, input: usize, weight: usize, output: usize) {
        let shape = self.checked().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(input, shape.input_len(), "floats in the input of {shape:?}");
        assert_eq!(weight, shape.weight_len(), "floats in the weights of {shape:?}");
        assert_eq!(output, shape.output_len(), "floats in the output of {shape:?}");
    }

    /// # Panics
    /// As [`Self::check`], and for an enlarged input.
    pub(crate) fn check_gradients(&self, input: usize, weight: usize, output: usize) {
        assert!(!self.enlarged, "no gradients of an enlarged input: {self:?}");
        self.check(input, weight, output);
    }

    /// The same convolution with all pixels in one row where each output looks at one pixel alone.
    pub(crate) fn in_one_row(self) -> Self {
        let alone =
            self.kernel == 1 && self.stride == 1 && self.padding == Padding::default() && !self.enlarged;
        if alone { Self { height: 1, width: self.height * self.width, ..self } } else { self }
    }

    /// The convolution that gives the gradient of the input, for stride 1: padding what the kernel overhung.
    ///
    /// None where the padding is larger than that allows or the stride is not 1.
    pub(crate) fn gradient_shape(&self) -> Option<Self> {
        let rest = |padding: usize| (self.kernel - 1).checked_sub(padding);
        let Padding { top, bottom, left, right } = self.padding;
        let padding =
            Padding { top: rest(top)?, bottom: rest(bottom)?, left: rest(left)?, right: rest(right)? };
        (self.stride == 1).then_some(Self {
            in_channels: self.out_channels,
            out_channels: self.in_channels,
            height: self.out_height(),
            width: self.out_width(),
            padding,
            ..*self
        })
    }
}
