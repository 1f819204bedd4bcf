//! Gradients with the graph of one part of a network at a time: inputs of the parts are kept, and each part runs again when the
//! gradient of its output is known (activation checkpointing, Chen et al. 2016).

use crate::{Error, Result};
use burn::tensor::{Gradients, Tensor};
use gendr_model::{Segmented, Skip};
use std::collections::BTreeMap;

/// Intermediate activations by name.
pub(crate) type Seen = BTreeMap<String, Tensor<4>>;

/// What a part was given.
struct Input {
    x: Tensor<4>,
    skipped: Option<Tensor<4>>,
    below: Option<[usize; 2]>,
}

/// What is held of the graph of a network that learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saving {
    /// All of it.
    Nothing,
    /// That of one part at a time.
    Parts,
    /// That of one part of one picture at a time, where the network is told the same of all pictures.
    PartsOfPictures,
}

impl Saving {
    /// Parts, if asked for.
    pub(crate) fn parts(saving: bool) -> Self {
        if saving { Self::Parts } else { Self::Nothing }
    }

    /// Parts of pictures, if asked for.
    pub(crate) fn parts_of_pictures(saving: bool) -> Self {
        if saving { Self::PartsOfPictures } else { Self::Nothing }
    }

    fn one_by_one(self) -> bool {
        self == Self::PartsOfPictures
    }
}

/// A run through a network.
pub(crate) struct Run {
    /// Whether the way back takes one picture at a time.
    one_by_one: bool,
    inputs: Vec<Input>,
    /// What came out.
    pub(crate) output: Tensor<4>,
    /// The activations that were asked for.
    pub(crate) seen: Seen,
}

/// How the parts are run.
#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    /// No further than to the last part that is observed.
    stop: bool,
    /// One picture at a time: for networks that are told the same of all.
    one_by_one: bool,
}

/// The pieces that a batch is taken in.
fn pieces(one_by_one: bool, x: Tensor<4>) -> Vec<Tensor<4>> {
    let pictures = if one_by_one { x.dims()[0] } else { 1 };
    x.chunk(pictures, 0)
}

/// Runs all parts and keeps what each was given.
pub(crate) fn run(network: &impl Segmented, x: Tensor<4>, observed: &[&str]) -> Run {
    kept(network, x, observed, Walk::default())
}

/// Runs the parts and keeps what each was given.
fn kept(network: &impl Segmented, x: Tensor<4>, observed: &[&str], how: Walk) -> Run {
    let mut inputs = Vec::new();
    let (output, seen) = walk(network, x, observed, how, &mut |input| inputs.push(input));
    Run { one_by_one: how.one_by_one, inputs, output, seen }
}

/// The output of the layer called `layer`, beyond which nothing is run; the network's where there is none of that name.
pub(crate) fn activation(saving: Saving, network: &impl Segmented, x: Tensor<4>, layer: &str) -> Tensor<4> {
    walk(network, x, &[layer], Walk { stop: true, one_by_one: saving.one_by_one() }, &mut |_| ()).0
}

/// The output of a network.
pub(crate) fn output(saving: Saving, network: &impl Segmented, x: Tensor<4>) -> Tensor<4> {
    walk(network, x, &[], Walk { stop: false, one_by_one: saving.one_by_one() }, &mut |_| ()).0
}

/// Runs the parts and hands over what each was given.
fn walk(
    network: &impl Segmented,
    mut x: Tensor<4>,
    observed: &[&str],
    how: Walk,
    keep: &mut dyn FnMut(Input),
) -> (Tensor<4>, Seen) {
    let (mut skips, mut seen) = (Vec::new(), Seen::new());
    for (index, segment) in network.segments().into_iter().enumerate() {
        let skipped = if segment.skip == Skip::Pop { skips.pop() } else { None };
        let below = skips.last().map(|skip: &Tensor<4>| [skip.dims()[2], skip.dims()[3]]);
        keep(Input { x: x.clone(), skipped: skipped.clone(), below });
        let mut skipped = skipped.map(|skipped| pieces(how.one_by_one, skipped).into_iter());
        let mut forward =
            |x| network.forward_segment(index, x, skipped.as_mut().and_then(Iterator::next), below);
        let outputs = pieces(how.one_by_one, x).into_iter().map(&mut forward).collect();
        x = Tensor::cat(outputs, 0);
        if segment.skip == Skip::Push {
            skips.push(x.clone());
        }
        if let Some(name) = segment.name.filter(|name| observed.contains(&name.as_str())) {
            seen.insert(name, x.clone());
            if how.stop && seen.len() == observed.len() {
                break;
            }
        }
    }
    (x, seen)
}

/// A loss on the output of the layer called `layer` (of the network where there is none) of a fixed network that is
/// told the same of all pictures. With `saving` its graph does not hold the network: the gradient at `x` is found at once.
pub(crate) fn loss_of_activation(
    saving: bool,
    network: &impl Segmented,
    x: Tensor<4>,
    layer: &str,
    loss: impl FnOnce(Tensor<4>) -> Tensor<1>,
) -> Result<Tensor<1>> {
    if !saving {
        return Ok(loss(activation(Saving::Nothing, network, x, layer)));
    }
    let how = Walk { stop: true, one_by_one: true };
    let run = kept(network, x.clone().detach(), &[layer], how);
    let seen = leaf(run.output.clone());
    let value = loss(seen.clone());
    let mut gradients = value.backward();
    let towards = seen.grad_remove(&mut gradients);
    let value = value.detach();
    Ok(match run.walk_back(network, towards, Seen::new(), &mut |_| Ok(()))? {
        Some(gradient) => {
            let slope = (x * gradient.autodiff()).sum();
            value - slope.clone().detach() + slope
        }
        None => value,
    })
}

impl Run {
    /// Walks back through `network`, the one that ran but with parameters that are tracked if their gradients are wanted, from the
    /// gradients of the output and of activations. `take` is handed the gradients of each part; the result is the gradient of the
    /// input, if anything depends on it.
    pub(crate) fn walk_back(
        self,
        network: &impl Segmented,
        output: Option<Tensor<4>>,
        mut seen: Seen,
        take: &mut dyn FnMut(&mut Gradients) -> Result<()>,
    ) -> Result<Option<Tensor<4>>> {
        let (mut gradient, mut skips) = (output, Vec::new());
        let parts = network.segments().into_iter().zip(self.inputs).enumerate().rev();
        for (index, (segment, input)) in parts {
            let here = segment.name.and_then(|name| seen.remove(&name));
            let kept = if segment.skip == Skip::Push { skips.pop().flatten() } else { None };
            gradient = [gradient, here, kept].into_iter().flatten().reduce(|a, b| a + b);
            let Some(towards) = gradient else {
                // Nothing depends on this part.
                gradient = None;
                if segment.skip == Skip::Pop {
                    skips.push(None);
                }
                continue;
            };
            let pieces = |x: Tensor<4>| pieces(self.one_by_one, x).into_iter();
            let mut skipped = input.skipped.map(pieces);
            let (mut of_x, mut of_skipped) = (Vec::new(), Vec::new());
            for (x, towards) in pieces(input.x).zip(pieces(towards)) {
                let x = leaf(x);
                let skipped = skipped.as_mut().and_then(Iterator::next).map(leaf);
                let y = network.forward_segment(index, x.clone(), skipped.clone(), input.below);
                let mut gradients = (y * towards).sum().backward();
                of_x.push(x.grad_remove(&mut gradients));
                of_skipped.push(skipped.and_then(|skipped| skipped.grad_remove(&mut gradients)));
                take(&mut gradients)?;
            }
            gradient = joined(of_x);
            if segment.skip == Skip::Pop {
                skips.push(joined(of_skipped));
            }
        }
        Ok(gradient)
    }
}

/// The gradient of a batch from those of its pictures.
fn joined(pictures: Vec<Option<Tensor<4>>>) -> Option<Tensor<4>> {
    let mut pictures: Vec<_> = pictures.into_iter().collect::<Option<_>>()?;
    if pictures.len() > 1 { Some(Tensor::cat(pictures, 0)) } else { pictures.pop() }
}

/// A value that gradients are taken at.
pub(crate) fn leaf(x: Tensor<4>) -> Tensor<4> {
    x.detach().require_grad()
}

/// Learns from `x`: `loss` gets the network's output and the activations that were asked for; `take` gets the gradients, perhaps
/// in several parts, of all that is tracked in `tracked` and in what `loss` used. `fixed` is the same network, not tracked.
pub(crate) fn learn<N: Segmented>(
    saving: Saving,
    [fixed, tracked]: [&N; 2],
    x: Tensor<4>,
    observed: &[&str],
    loss: impl FnOnce(Tensor<4>, Seen) -> Result<Tensor<1>>,
    take: &mut dyn FnMut(&mut Gradients) -> Result<()>,
) -> Result<()> {
    if saving == Saving::Nothing {
        let Run { output, seen, .. } = run(tracked, x, observed);
        return take(&mut loss(output, seen)?.backward());
    }
    let how = Walk { stop: false, one_by_one: saving.one_by_one() };
    let run = kept(fixed, x, observed, how);
    let output = leaf(run.output.clone());
    let seen: Seen = run.seen.iter().map(|(name, x)| (name.clone(), leaf(x.clone()))).collect();
    let mut gradients = loss(output.clone(), seen.clone())?.backward();
    let output = output.grad_remove(&mut gradients);
    let seen =
        seen.into_iter().filter_map(|(name, x)| Some((name, x.grad_remove(&mut gradients)?))).collect();
    take(&mut gradients)?;
    run.walk_back(tracked, output, seen, take).map(|_| ())
}

/// An activation that must have been seen.
pub(crate) fn found(seen: &mut Seen, name: &str) -> Result<Tensor<4>> {
    seen.remove(name).ok_or_else(|| Error::unsupported(format!("a network without `{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Part, parameters::gradients_of};
    use burn::{
        module::Module,
        tensor::{Device, TensorData},
    };
    use gendr_model::{
        AutoencoderKlConfig, DecoderParts, EncoderParts, PerLevel, UnetConfig, draw_parameter, initialize,
    };
    use serde_json::Map;

    fn unet_config() -> UnetConfig {
        let names = |plain: &str, attending: &str| vec![plain.to_owned(), attending.to_owned()];
        UnetConfig {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![8, 16],
            down_block_types: names("DownBlock2D", "CrossAttnDownBlock2D"),
            mid_block_type: Some("UNetMidBlock2DCrossAttn".to_owned()),
            up_block_types: vec!["CrossAttnUpBlock2D".to_owned(), "UpBlock2D".to_owned()],
            layers_per_block: PerLevel::All(2),
            transformer_layers_per_block: PerLevel::All(1),
            attention_head_dim: PerLevel::All(2),
            num_attention_heads: None,
            cross_attention_dim: 8,
            use_linear_projection: true,
            norm_num_groups: 4,
            norm_eps: 1e-5,
            flip_sin_to_cos: true,
            freq_shift: 0,
            other: Map::new(),
        }
    }

    fn picture(name: &str, shape: [usize; 4], device: &Device) -> Tensor<4> {
        let scale = (shape[1..].iter().product::<usize>() as f32).sqrt();
        let values: Vec<f32> = draw_parameter(5, name, &shape).into_iter().map(|v| v * scale).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_to_vec().expect("floats")
    }

    /// Fails where values differ by more than `share` of the largest.
    fn assert_close(a: &[f32], b: &[f32], share: f32) {
        let largest = a.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        assert!(a.len() == b.len() && largest > 0.0);
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= share * largest, "{a} and {b}, the largest is {largest}");
        }
    }

    /// Adds the gradients of all parameters of `module` to `sums`.
    fn add_gradients<M: Module>(
        sums: &mut Vec<Option<Vec<f32>>>,
        module: &M,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let found = gradients_of(module, gradients)?;
        sums.resize(found.len(), None);
        for (sum, found) in sums.iter_mut().zip(found) {
            match (sum, found) {
                (Some(sum), Some(found)) => sum.iter_mut().zip(found).for_each(|(a, b)| *a += b),
                (sum, Some(found)) => *sum = Some(found),
                (_, None) => (),
            }
        }
        Ok(())
    }

    /// The gradients of all parameters of `module` for a loss on the output and, if seen, on an activation.
    fn gradients<M: Module, N: Segmented>(
        saving: Saving,
        module: &M,
        [fixed, tracked]: [&N; 2],
        x: Tensor<4>,
        observed: &[&str],
    ) -> Vec<Vec<f32>> {
        let mut sums: Vec<Option<Vec<f32>>> = Vec::new();
        let loss = |output: Tensor<4>, mut seen: Seen| {
            let shape = output.dims();
            let device = output.device();
            let loss = (output * picture("towards", shape, &device)).powi_scalar(2).sum();
            Ok(observed
                .iter()
                .fold(loss, |loss, name| loss + found(&mut seen, name).expect("seen").powi_scalar(2).sum()))
        };
        let mut take = |gradients: &mut Gradients| add_gradients(&mut sums, module, gradients);
        learn(saving, [fixed, tracked], x, observed, loss, &mut take).expect("gradients");
        for ((name, _), sum) in gendr_model::names_and_shapes(module).iter().zip(&sums) {
            assert!(sum.is_some(), "nothing depends on {name}");
        }
        sums.into_iter().flatten().collect()
    }

    #[test]
    fn a_unet_part_by_part_has_the_output_and_the_gradients_of_the_whole() {
        let device = Device::flex().autodiff();
        let unet = initialize(unet_config().init(&device).expect("a network"), 3);
        let unet = Part::new("unet", &unet, crate::PartConfig::default()).and_then(|part| part.load(unet));
        let unet = unet.expect("the same network");
        let fixed = unet.clone().no_grad();
        let prompt = picture("prompt", [1, 1, 5, 8], &device).reshape([1, 5, 8]);
        let told = || Some(prompt.clone());
        let timesteps = [30.0, 700.0];
        // An odd side: the way up must find the sizes of the way down.
        let x = picture("x", [2, 4, 9, 12], &device);
        let parts = unet.parts(&timesteps, &told).expect("parts");
        let fixed_parts = fixed.parts(&timesteps, &told).expect("parts");
        let conditioning = fixed.condition(&timesteps, told()).expect("conditioning");
        let whole = floats(fixed.forward(x.clone(), &conditioning));
        assert_close(&whole, &floats(run(&fixed_parts, x.clone(), &[]).output), 1e-6);
        let observed = ["down_blocks.0", "mid_block"];
        let [plain, saving] = [Saving::Nothing, Saving::Parts]
            .map(|saving| gradients(saving, &unet, [&fixed_parts, &parts], x.clone(), &observed));
        for (plain, saving) in plain.iter().zip(&saving) {
            assert_close(plain, saving, 1e-4);
        }
    }

    #[test]
    fn what_nothing_depends_on_is_not_run_again() {
        let device = Device::flex().autodiff();
        let unet = initialize(unet_config().init(&device).expect("a network"), 3).no_grad();
        let prompt = picture("prompt", [1, 1, 5, 8], &device).reshape([1, 5, 8]);
        let told = || Some(prompt.clone());
        let parts = unet.parts(&[30.0], &told).expect("parts");
        let x = picture("x", [1, 4, 8, 8], &device);
        let kept = run(&parts, x.clone(), &["mid_block"]);
        let towards = kept.seen["mid_block"].ones_like();
        let mut visits = 0;
        let seen = Seen::from([("mid_block".to_owned(), towards)]);
        let gradient = kept.walk_back(&parts, None, seen, &mut |_| {
            visits += 1;
            Ok(())
        });
        let x = x.require_grad();
        let whole = run(&parts, x.clone(), &["mid_block"]).seen["mid_block"].clone().sum().backward();
        let whole = floats(x.grad(&whole).expect("a gradient"));
        assert_close(&whole, &floats(gradient.expect("a walk").expect("a gradient")), 1e-5);
        assert!(visits < parts.segments().len());
    }

    #[test]
    fn a_loss_of_an_activation_has_the_same_gradient_without_the_graph_of_the_network() {
        let device = Device::flex().autodiff();
        let unet = initialize(unet_config().init(&device).expect("a network"), 3).no_grad();
        let prompt = picture("prompt", [1, 1, 5, 8], &device).reshape([1, 5, 8]);
        let told = || Some(prompt.clone());
        let parts = unet.parts(&[30.0], &told).expect("parts");
        for layer in ["mid_block", "no such layer"] {
            let of = |saving: bool| {
                let x = picture("x", [2, 4, 8, 8], &device).require_grad();
                let seen = x.clone().mul_scalar(2.0);
                let loss = |feature: Tensor<4>| feature.powi_scalar(2).sum();
                let loss = loss_of_activation(saving, &parts, seen, layer, loss).expect("a loss");
                let gradient = x.grad(&loss.backward()).expect("a gradient");
                (floats(loss), floats(gradient))
            };
            let (plain, saving) = (of(false), of(true));
            assert_close(&plain.0, &saving.0, 1e-5);
            assert_close(&plain.1, &saving.1, 1e-5);
        }
        let x = picture("x", [1, 4, 8, 8], &device);
        let whole = run(&parts, x.clone(), &["mid_block"]).seen["mid_block"].clone();
        assert_eq!(floats(activation(Saving::Nothing, &parts, x, "mid_block")), floats(whole));
    }

    #[test]
    fn a_unet_one_picture_at_a_time_has_the_output_of_the_batch() {
        let device = Device::flex();
        let unet = initialize(unet_config().init(&device).expect("a network"), 3);
        let prompt = picture("prompt", [1, 1, 5, 8], &device).reshape([1, 5, 8]);
        let told = || Some(prompt.clone());
        let parts = unet.parts(&[30.0], &told).expect("parts");
        // An odd side: skips are cut and joined, too.
        let x = picture("x", [3, 4, 9, 12], &device);
        let [batch, pictures] = [Saving::Parts, Saving::PartsOfPictures].map(|saving| {
            let seen = activation(saving, &parts, x.clone(), "mid_block");
            (floats(output(saving, &parts, x.clone())), floats(seen))
        });
        assert_close(&batch.0, &pictures.0, 1e-5);
        assert_close(&batch.1, &pictures.1, 1e-5);
    }

    #[test]
    fn an_autoencoder_part_by_part_has_the_gradients_of_the_whole() {
        let device = Device::flex().autodiff();
        let config = AutoencoderKlConfig {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            block_out_channels: vec![8, 8, 16],
            layers_per_block: 1,
            norm_num_groups: 4,
            scaling_factor: 1.0,
            shift_factor: None,
            mid_block_add_attention: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            other: Map::new(),
        };
        let network = initialize(config.init(&device).expect("a network"), 3);
        let fixed = network.clone().no_grad();
        let (x, z) = (picture("x", [2, 3, 16, 24], &device), picture("z", [2, 4, 4, 6], &device));
        let moments = fixed.moments(x.clone(), &mut gendr_model::Pass::whole());
        assert_close(&floats(moments), &floats(run(&EncoderParts(&fixed), x.clone(), &[]).output), 1e-6);
        let decoded = fixed.decode(z.clone(), &mut gendr_model::Pass::whole());
        assert_close(&floats(decoded), &floats(run(&DecoderParts(&fixed), z.clone(), &[]).output), 1e-6);
        let gradient = |saving: Saving, decoder: bool| {
            let mut sums = Vec::new();
            let loss = |output: Tensor<4>, _: Seen| Ok(output.powi_scalar(2).sum());
            let mut take = |gradients: &mut Gradients| add_gradients(&mut sums, &network, gradients);
            match decoder {
                true => {
                    let parts = [&DecoderParts(&fixed), &DecoderParts(&network)];
                    learn(saving, parts, z.clone(), &[], loss, &mut take)
                }
                false => {
                    let parts = [&EncoderParts(&fixed), &EncoderParts(&network)];
                    learn(saving, parts, x.clone(), &[], loss, &mut take)
                }
            }
            .expect("gradients");
            sums.into_iter().flatten().flatten().collect::<Vec<f32>>()
        };
        for decoder in [false, true] {
            let plain = gradient(Saving::Nothing, decoder);
            assert_close(&plain, &gradient(Saving::Parts, decoder), 1e-5);
            assert_close(&plain, &gradient(Saving::PartsOfPictures, decoder), 1e-5);
        }
    }
}
