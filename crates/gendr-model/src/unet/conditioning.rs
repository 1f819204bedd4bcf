//! What a UNet makes of timestep and prompt, computed once and used for every tile and picture.

use burn::tensor::Tensor;

use super::transformer::{PromptKeys, Transformer2d};
use crate::{ops, resnet::ResnetBlock};

/// The time shift of each residual block and the prompt's keys and values of each cross-attention, in the order in
/// which the network takes them. Cloning is cheap. Made by [`Unet::condition`](super::Unet::condition).
#[derive(Clone, Debug)]
pub struct Conditioning {
    activated_embedding: Tensor<2>,
    prompt: Option<Tensor<3>>,
    time_shifts: Vec<Option<Tensor<4>>>,
    prompt_keys: Vec<PromptKeys>,
}

impl Conditioning {
    /// `embedding` is the time embedding `[1 or n, time channels]`, `prompt` `[1 or n, tokens, prompt channels]`.
    pub(super) fn new(embedding: Tensor<2>, prompt: Option<Tensor<3>>) -> Self {
        let activated_embedding = ops::silu(embedding);
        Self { activated_embedding, prompt, time_shifts: Vec::new(), prompt_keys: Vec::new() }
    }

    /// Adds what a residual block and its transformer need.
    pub(super) fn add(&mut self, resnet: &ResnetBlock, attention: Option<&Transformer2d>) {
        self.time_shifts.push(resnet.time_shift(&self.activated_embedding));
        if let (Some(attention), Some(prompt)) = (attention, &self.prompt) {
            self.prompt_keys.extend(attention.prompt_keys(prompt));
        }
    }

    /// Whether the network looks at more than the surroundings of a place.
    pub fn has_attention(&self) -> bool {
        !self.prompt_keys.is_empty()
    }

    pub(super) fn iter(&self) -> Conditions<'_> {
        Conditions { time_shifts: self.time_shifts.iter(), prompt: self.prompt_keys.iter() }
    }
}

/// Goes through a [`Conditioning`] beside a forward pass.
pub(super) struct Conditions<'a> {
    time_shifts: std::slice::Iter<'a, Option<Tensor<4>>>,
    pub(super) prompt: std::slice::Iter<'a, PromptKeys>,
}

impl<'a> Conditions<'a> {
    pub(super) fn next_time_shift(&mut self) -> Option<&'a Tensor<4>> {
        self.time_shifts.next().and_then(Option::as_ref)
    }
}
