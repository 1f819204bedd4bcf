//! The adversarial losses on maps of logits, large where the discriminator believes the input real
//! (softplus, as in GenDR-Pix, arXiv 2602.10630, and SiDA).

use burn::tensor::{Tensor, activation::log_sigmoid};

/// What the discriminator minimises: mean softplus(-real) + mean softplus(fake).
pub fn discriminator_loss(real: Tensor<4>, fake: Tensor<4>) -> Tensor<1> {
    softplus(-real).mean() + softplus(fake).mean()
}

/// What the generator minimises: mean softplus(-fake).
pub fn generator_loss(fake: Tensor<4>) -> Tensor<1> {
    softplus(-fake).mean()
}

/// ln(1 + exp(x)) without overflow.
fn softplus(x: Tensor<4>) -> Tensor<4> {
    -log_sigmoid(-x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn undecided_and_extreme_logits_have_sound_gradients() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_floats([0.0, 200.0, -200.0], &device).reshape([3, 1, 1, 1]).require_grad();
        let gradients = generator_loss(x.clone()).backward();
        let gradient = x.grad(&gradients).expect("a gradient").into_data();
        gradient.assert_approx_eq::<f32>(
            &burn::tensor::TensorData::new(vec![-0.5f32 / 3.0, 0.0, -1.0 / 3.0], [3, 1, 1, 1]),
            burn::tensor::Tolerance::default(),
        );
    }
}
