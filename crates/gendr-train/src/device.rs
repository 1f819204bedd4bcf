//! What computes, by name.

use crate::{Error, Result};
use burn::tensor::Device;

/// The device called `cpu`, `vulkan`, `vulkan:N`, `cuda`, `cuda:N` (the N-th GPU from 0) or `libtorch` (LibTorch on the processor).
///
/// # Errors
/// An argument error for another name; an unsupported one for a device whose feature is not in the build, a resource error
/// where there is no such GPU.
pub fn device(name: &str) -> Result<Device> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, index.parse::<usize>().ok()),
        None => (name, Some(0)),
    };
    match (kind, index) {
        ("cpu", Some(_)) if kind == name => Ok(Device::flex()),
        ("vulkan", Some(index)) => vulkan(index, kind != name),
        ("cuda", Some(index)) => libtorch(Some(index)),
        ("libtorch", Some(_)) if kind == name => libtorch(None),
        _ => Err(Error::argument(format!("no device `{name}`"))
            .with_hint("there are cpu, vulkan, vulkan:N, cuda, cuda:N and libtorch")),
    }
}

#[cfg(feature = "vulkan")]
fn vulkan(index: usize, chosen: bool) -> Result<Device> {
    use burn::tensor::DeviceKind;

    // Without a number the driver's own choice, which may be a software renderer.
    let kind = if chosen { DeviceKind::DiscreteGpu(index) } else { DeviceKind::DefaultDevice };
    let device = Device::wgpu(kind);
    answering(
        device,
        "no GPU with a Vulkan driver is to be had",
        "`vulkaninfo --summary` lists those that the system knows",
    )
}

#[cfg(not(feature = "vulkan"))]
fn vulkan(_index: usize, _chosen: bool) -> Result<Device> {
    Err(Error::unsupported("this program was built without Vulkan")
        .with_hint("build with `--features vulkan`"))
}

// As for the operations in gendr-model.
#[allow(deprecated)]
#[cfg(feature = "libtorch")]
fn libtorch(gpu: Option<usize>) -> Result<Device> {
    let device = gpu.map_or_else(Device::libtorch, Device::libtorch_cuda);
    // All steps have the same shapes: the fastest of cuDNN's algorithms is found once.
    tch::Cuda::cudnn_set_benchmark(true);
    answering(
        device,
        "LibTorch finds no such GPU",
        "`nvidia-smi` lists them; LibTorch itself must be a build with CUDA",
    )
}

#[cfg(not(feature = "libtorch"))]
fn libtorch(_gpu: Option<usize>) -> Result<Device> {
    Err(Error::unsupported("this program was built without LibTorch")
        .with_hint("build with `--features libtorch`"))
}

/// The device, after it has made its first tensor: the back ends panic where there is no such GPU, and not before.
#[cfg(any(feature = "vulkan", feature = "libtorch"))]
fn answering(device: Device, missing: &str, hint: &str) -> Result<Device> {
    let first = || burn::tensor::Tensor::<1>::zeros([1], &device).try_into_data();
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(first)) {
        Ok(Ok(_)) => Ok(device),
        _ => Err(Error::new(crate::ErrorKind::Resource, missing).with_hint(hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        assert_eq!(device("cpu").expect("there"), Device::flex());
        for name in ["", "gpu", "cpu:1", "vulkan:", "vulkan:x", "cuda:", "libtorch:0"] {
            assert_eq!(device(name).expect_err("no device").kind(), crate::ErrorKind::Argument, "{name}");
        }
        for (name, built) in [("vulkan", cfg!(feature = "vulkan")), ("cuda", cfg!(feature = "libtorch"))] {
            if !built {
                assert_eq!(
                    device(name).expect_err("not built").kind(),
                    crate::ErrorKind::Unsupported,
                    "{name}"
                );
            }
        }
    }
}
