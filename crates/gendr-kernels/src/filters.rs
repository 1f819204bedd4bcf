//! Convolution kernels in memory, as stored or turned round for the gradient of the input.

/// Kernels by output channel, input channel and position.
#[derive(Clone, Copy)]
pub(crate) struct Filters<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) out_channels: usize,
    pub(crate) in_channels: usize,
    /// Rows and columns of a kernel.
    pub(crate) size: usize,
    /// Exchanges input with output channels and turns each kernel by 180 degrees.
    pub(crate) turned: bool,
}

impl<'a> Filters<'a> {
    /// Kernels `[out_channels, in_channels, size, size]`.
    pub(crate) fn stored(data: &'a [f32], out_channels: usize, in_channels: usize, size: usize) -> Self {
        Self { data, out_channels, in_channels, size, turned: false }
    }

    /// The kernels whose convolution gives the gradient of the input.
    pub(crate) fn turned(self) -> Self {
        Self { out_channels: self.in_channels, in_channels: self.out_channels, turned: !self.turned, ..self }
    }

    /// Floats in one kernel.
    pub(crate) fn area(&self) -> usize {
        self.size * self.size
    }

    /// Floats from one output channel to the next.
    pub(crate) fn out_stride(&self) -> usize {
        if self.turned { self.area() } else { self.in_channels * self.area() }
    }

    /// Floats from one input channel to the next.
    pub(crate) fn in_stride(&self) -> usize {
        if self.turned { self.out_channels * self.area() } else { self.area() }
    }
}
