//! What computes, by name.

use crate::{Error, Result};
use burn::tensor::Device;

/// The device called `cpu`, `vulkan` or `vulkan:N`, the N-th GPU from 0.
///
/// # Errors
/// An argument error for another name; an unsupported one for `vulkan` in a build without the feature.
pub fn device(name: &str) -> Result<Device> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, index.parse::<usize>().ok()),
        None => (name, Some(0)),
    };
    match (kind, index) {
        ("cpu", Some(_)) if kind == name => Ok(Device::flex()),
        ("vulkan", Some(index)) => vulkan(index, kind != name),
        _ => {
            Err(Error::argument(format!("no device `{name}`"))
                .with_hint("there are cpu, vulkan and vulkan:N"))
        }
    }
}

#[cfg(feature = "vulkan")]
fn vulkan(index: usize, chosen: bool) -> Result<Device> {
    use crate::ErrorKind;
    use burn::tensor::{DeviceKind, Tensor};

    // Without a number the driver's own choice, which may be a software renderer.
    let kind = if chosen { DeviceKind::DiscreteGpu(index) } else { DeviceKind::DefaultDevice };
    let device = Device::vulkan(kind);
    // The back end panics where there is no such GPU, and not before it is first used.
    let first = || Tensor::<1>::zeros([1], &device).try_into_data();
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(first)) {
        Ok(Ok(_)) => Ok(device),
        _ => Err(Error::new(ErrorKind::Resource, "no GPU with a Vulkan driver is to be had")
            .with_hint("`vulkaninfo --summary` lists those that the system knows")),
    }
}

#[cfg(not(feature = "vulkan"))]
fn vulkan(_index: usize, _chosen: bool) -> Result<Device> {
    Err(Error::unsupported("this program was built without Vulkan")
        .with_hint("build with `--features vulkan`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        assert_eq!(device("cpu").expect("there"), Device::flex());
        for name in ["", "gpu", "cpu:1", "vulkan:", "vulkan:x"] {
            assert_eq!(device(name).expect_err("no device").kind(), crate::ErrorKind::Argument, "{name}");
        }
        if cfg!(not(feature = "vulkan")) {
            assert_eq!(device("vulkan").expect_err("not built").kind(), crate::ErrorKind::Unsupported);
        }
    }
}
