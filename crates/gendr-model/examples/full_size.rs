//! Times a latent model of diffusers folders and compares it with outputs that another program computed.
//!
//! `full_size WEIGHTS [--io FILE] [--size N] [--runs N] [--stage enc,unet,dec] [--precision f32|bf16]`: WEIGHTS holds `unet/`, `vae/` and
//! `prompt.safetensors`; FILE holds `enc.in0`, `enc.out`, `unet.in0`, `unet.out`, `dec.in0` and `dec.out`, each stage's input
//! being the output of the one before. Every run goes through encoder, UNet and decoder; the peak of memory is that of the runs.
#![allow(clippy::print_stdout)]

use std::{error::Error, fs, path::Path, time::Instant};

use burn::tensor::{Device, Tensor, TensorData};
use gendr_kernels::{Factors, LargeBlockAllocator};
use gendr_model::{
    AutoencoderKl, AutoencoderKlConfig, GuidedPass, LatentModel, OneStep, Pass, PromptedUnet, Unet,
    UnetConfig, Weights,
};

/// As the command has it.
#[global_allocator]
static ALLOCATOR: LargeBlockAllocator = LargeBlockAllocator::new();

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder =
        arguments.next().ok_or("full_size WEIGHTS [--io FILE] [--size N] [--runs N] [--stage LIST]")?;
    let (mut io, mut size, mut runs, mut stages) = (None, 512, 3, "enc,unet,dec".to_owned());
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--io" => io = Some(Weights::open(Path::new(&value))?),
            "--size" => size = value.parse()?,
            "--runs" => runs = value.parse()?,
            "--stage" => stages = value,
            "--precision" if value == "bf16" => Factors::Bf16.use_on_thread(),
            "--precision" if value == "f32" => {}
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    let device = Device::flex();
    let model = open(Path::new(&folder), &device)?;
    let given = |name: &str, size: [usize; 4]| -> Result<Tensor<4>> {
        Ok(match &io {
            Some(io) => Tensor::from_data(io.values(name)?, &device),
            None => Tensor::from_data(made_up(size), &device),
        })
    };
    let latent = [1, 16, size / 8, size / 8];
    let inputs =
        [given("enc.in0", [1, 3, size, size])?, given("unet.in0", latent)?, given("dec.in0", latent)?];
    reset_peak();
    let mut times = vec![Vec::new(); 3];
    for run in 0..=runs {
        for (stage, name) in
            ["enc", "unet", "dec"].into_iter().enumerate().filter(|(_, name)| stages.contains(name))
        {
            let x = inputs[stage].clone();
            let start = Instant::now();
            let y = match stage {
                0 => model.encode(x, &mut Pass::whole()),
                1 => model.restore_latent(x, 1.0, &mut GuidedPass::whole())?,
                _ => model.decode(x, &mut Pass::whole()).clamp(-1.0, 1.0).mul_scalar(0.5).add_scalar(0.5),
            };
            times[stage].push(start.elapsed().as_secs_f64());
            if let (0, Some(io)) = (run, &io) {
                let want: Tensor<4> = Tensor::from_data(io.values(&format!("{name}.out"))?, &device);
                let difference = (y - want).abs();
                let largest: f32 = difference.clone().max().into_scalar();
                let rms: f32 = difference.square().mean().sqrt().into_scalar();
                println!("{name}: largest difference {largest:.2e}, rms {rms:.2e}");
            }
        }
    }
    let mut sum = 0.0;
    for (name, times) in
        ["enc", "unet", "dec"].into_iter().zip(&mut times).filter(|(_, times)| !times.is_empty())
    {
        // The first run is a warm-up.
        let times = &mut times[1..];
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        sum += median;
        println!("{name}: {median:.3} s");
    }
    println!("sum: {sum:.3} s, peak of the runs {}", status("VmHWM:"));
    Ok(())
}

fn open(folder: &Path, device: &Device) -> Result<LatentModel> {
    let weights = |kind: &str| -> Result<Weights> {
        let stem = folder.join(kind).join("diffusion_pytorch_model");
        let index = stem.with_extension("safetensors.index.json");
        Ok(Weights::open(&if index.is_file() { index } else { stem.with_extension("safetensors") })?)
    };
    let config = |kind: &str| fs::read_to_string(folder.join(kind).join("config.json"));
    let unet: Unet = weights("unet")?.load(UnetConfig::from_json(&config("unet")?)?.init(device)?)?;
    let autoencoder: AutoencoderKl =
        weights("vae")?.load(AutoencoderKlConfig::from_json(&config("vae")?)?.init(device)?)?;
    let prompt: Tensor<2> =
        Tensor::from_data(Weights::open(&folder.join("prompt.safetensors"))?.values("positive")?, device);
    let one_step = OneStep::default();
    let unet = PromptedUnet::new(unet, one_step.timestep, Some(prompt.unsqueeze()), None)?;
    Ok(LatentModel { autoencoder, unet, one_step })
}

fn made_up(size: [usize; 4]) -> TensorData {
    let values = (0..size.iter().product::<usize>()).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
    TensorData::new(values, size)
}

/// Lets the peak of resident memory start anew (Linux).
fn reset_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status(field: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("unknown").trim().to_owned()
}
