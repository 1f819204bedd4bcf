//! Times a training step of two small networks and compares it with the same step of another program.
//!
//! `train_step FOLDER [--net res,unet] [--steps N]`: FOLDER holds `res.safetensors` and `unet.safetensors` with start weights
//! (`w.*`), inputs (`in.*`), gradients of the first step (`g.*`) and the weights after it (`w1.*`).
#![allow(clippy::print_stdout)]

use std::{error::Error, path::Path, time::Instant};

use burn::{
    module::{Module, Param},
    tensor::{Device, Gradients, Tensor},
};
use gendr_kernels::LargeBlockAllocator;
use gendr_model::{Conv2d, NamedVisitor, Unet, UnetConfig, Weights, for_each_parameter, ops, visit_named};
use gendr_train::{Part, PartConfig};

/// As the command has it.
#[global_allocator]
static ALLOCATOR: LargeBlockAllocator = LargeBlockAllocator::new();

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("train_step FOLDER [--net res,unet] [--steps N]")?;
    let (mut nets, mut steps) = ("res,unet".to_owned(), 10);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--net" => nets = value,
            "--steps" => steps = value.parse()?,
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    let device = Device::flex().autodiff();
    for net in nets.split(',') {
        let known = Weights::open(&Path::new(&folder).join(format!("{net}.safetensors")))?;
        let input = |name: &str| -> Result<Tensor<4>> {
            Ok(Tensor::from_data(known.values(&format!("in.{name}"))?, &device))
        };
        match net {
            "res" => {
                let layers = (0..16).map(|_| Conv2d::new(64, 64, 3, &device)).collect();
                let (x, target) = (input("x")?, input("target")?);
                measure(net, &known, &Res { layers }, steps, |net| {
                    squared(net.forward(x.clone()), target.clone())
                })?;
            }
            _ => {
                let template = UnetConfig::from_json(UNET)?.init(&device)?;
                let (x, target) = (input("x")?, input("target")?);
                let prompt: Tensor<3> = Tensor::from_data(known.values("in.c")?, &device);
                let bytes = known.tensors()["in.t"].bytes().chunks_exact(8);
                let times: Vec<f32> = bytes.map(|t| f32::from(u16::from_le_bytes([t[0], t[1]]))).collect();
                measure(net, &known, &template, steps, |net: &Unet| {
                    let conditioning =
                        net.condition(&times, Some(prompt.clone())).expect("a prompt of this width");
                    squared(net.forward(x.clone(), &conditioning), target.clone())
                })?;
            }
        }
    }
    Ok(())
}

/// x = x + conv(silu(x)), layer by layer.
#[derive(Module, Debug)]
struct Res {
    layers: Vec<Conv2d>,
}

impl Res {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold(x, |x, conv| conv.forward_added(ops::silu(x.clone()), 1.0, x))
    }
}

const UNET: &str = r#"{"sample_size": 32, "in_channels": 16, "out_channels": 16, "block_out_channels": [64, 128, 256],
    "layers_per_block": 1, "cross_attention_dim": 64, "attention_head_dim": [1, 2, 4], "use_linear_projection": true,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]}"#;

fn squared(y: Tensor<4>, target: Tensor<4>) -> Tensor<1> {
    (y - target).powi_scalar(2).mean()
}

fn measure<M: Module>(
    name: &str,
    known: &Weights,
    template: &M,
    steps: usize,
    loss: impl Fn(&M) -> Tensor<1>,
) -> Result<()> {
    let network = known.part("w.").load(template.clone())?;
    let config = PartConfig { learning_rate: 1e-4, max_gradient_norm: 1e30, ..PartConfig::default() };
    let mut part = Part::new(name, &network, config)?;
    let mut times = Vec::new();
    // Two steps to warm up.
    for step in 0..steps + 2 {
        let start = Instant::now();
        let network = part.load(template.clone())?;
        let loss = loss(&network);
        let value: f32 = loss.clone().into_scalar();
        let forward = start.elapsed();
        let mut gradients = loss.backward();
        if step == 0 {
            let mut gap = GradientGap { known, gradients: &gradients, largest: 0.0 };
            visit_named(&network, &mut gap);
            println!(
                "{name}: largest difference of gradients, in units of the largest of each: {:.2e}",
                gap.largest
            );
        }
        part.add_gradients(&network, &mut gradients, 1.0)?;
        let backward = start.elapsed();
        part.update(1.0)?;
        let whole = start.elapsed();
        if step == 0 {
            let mut largest: f32 = 0.0;
            for_each_parameter(&part.load(template.clone())?, &mut |name, data| {
                let want = known.values(&format!("w1.{name}"))?;
                let pairs = data
                    .as_slice::<f32>()
                    .into_iter()
                    .flatten()
                    .zip(want.as_slice::<f32>().into_iter().flatten());
                largest = pairs.fold(largest, |largest, (a, b)| largest.max((a - b).abs()));
                Ok(())
            })?;
            println!("{name}: largest difference of the weights after a step of 1e-4: {largest:.2e}");
        }
        if step >= 2 {
            times.push([whole, forward, backward - forward, whole - backward].map(|time| time.as_secs_f64()));
        } else {
            println!("{name}: loss {value:.7}");
        }
    }
    let median = |part: usize| {
        let mut times: Vec<f64> = times.iter().map(|times| times[part]).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    println!(
        "{name}: step {:.4} s, forward {:.4}, backward {:.4}, update {:.4}",
        median(0),
        median(1),
        median(2),
        median(3)
    );
    Ok(())
}

/// The largest difference between gradients, in units of each tensor's largest.
struct GradientGap<'a> {
    known: &'a Weights,
    gradients: &'a Gradients,
    largest: f32,
}

impl NamedVisitor for GradientGap<'_> {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
        let (Some(found), Ok(want)) =
            (param.val().grad(self.gradients), self.known.values(&format!("g.{name}")))
        else {
            println!("no gradient of {name}");
            return;
        };
        let want = Tensor::<D>::from_data(want, &found.device());
        let scale: f32 = want.clone().abs().max().into_scalar();
        let gap: f32 = (found - want).abs().max().into_scalar();
        self.largest = self.largest.max(gap / scale);
    }
}
