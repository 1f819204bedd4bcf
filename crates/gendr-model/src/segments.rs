//! Networks cut into parts, so that training can hold the graph of one part at a time and run the others again.

use burn::tensor::Tensor;

/// What a part does with the states that skip the middle of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Nothing.
    None,
    /// Its output is kept, too.
    Push,
    /// It takes the newest that is kept.
    Pop,
}

/// What is known of a part before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What it does with skipped states.
    pub skip: Skip,
    /// What observers call its output, if they see it.
    pub name: Option<String>,
}

impl Segment {
    pub(crate) fn new(skip: Skip) -> Self {
        Self { skip, name: None }
    }

    pub(crate) fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }
}

/// A network as a row of parts, each from one tensor to the next. All of them in order are the network.
pub trait Segmented {
    /// The parts.
    fn segments(&self) -> Vec<Segment>;

    /// Runs one part. `skipped` is what a part that pops takes, `below` the height and width of the skipped state that the next
    /// part to pop will take.
    fn forward_segment(
        &self,
        index: usize,
        x: Tensor<4>,
        skipped: Option<Tensor<4>>,
        below: Option<[usize; 2]>,
    ) -> Tensor<4>;
}
