//! The parameters of a network by name: listing, loading, drawing and handing out.
//!
//! The path of a parameter inside its network is its name in a weight file (`down_blocks.0.resnets.1.conv1.weight`):
//! the layers name their fields after the diffusers and torch keys, so no table of names exists anywhere.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{DType, Tensor, TensorData},
};

use crate::error::{Error, ErrorKind, Result};

/// Where the values of a network's parameters come from: a weight file, another network, a generator.
pub trait TensorSource {
    /// The values of the parameter `name`, exactly of `shape`, in f32, f16 or bf16 (kept in that type; the networks
    /// widen half precision where they use it).
    ///
    /// The bytes may be shared, for instance with a mapped file: nothing copies them until they are written to.
    ///
    /// # Errors
    /// When there is no such tensor, or it has another shape.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<TensorData>;
}

/// Sees every parameter of a network with its name.
pub trait NamedVisitor {
    /// Called once a parameter, in the order of the network. Reading the value creates it;
    /// [`Param::lazy_shape`] does not.
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>);
}

/// Replaces every parameter of a network, knowing its name.
pub trait NamedMapper {
    /// Called once a parameter, in the order of the network.
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>>;
}

/// Shows every parameter of `module` to `visitor`.
pub fn visit_named<M: Module>(module: &M, visitor: &mut impl NamedVisitor) {
    module.visit(&mut Walk { path: Path::default(), inner: visitor });
}

/// Lets `mapper` replace every parameter of `module`.
pub fn map_named<M: Module>(module: M, mapper: &mut impl NamedMapper) -> M {
    module.map(&mut Walk { path: Path::default(), inner: mapper })
}

/// Names and shapes of all parameters in the order of the network, without creating any of them.
pub fn names_and_shapes<M: Module>(module: &M) -> Vec<(String, Vec<usize>)> {
    let mut list = List(Vec::new());
    visit_named(module, &mut list);
    list.0
}

/// Number of parameter values, without creating any of them.
pub fn parameter_count<M: Module>(module: &M) -> usize {
    module.num_params()
}

/// Bytes that the parameters take in memory, in the number types that they were loaded in.
pub fn parameter_bytes<M: Module>(module: &M) -> u64 {
    let mut sum = Bytes(0);
    visit_named(module, &mut sum);
    sum.0
}

/// Fills every parameter of `module` from `source`.
///
/// # Errors
/// The first error of `source`; [`ErrorKind::Input`] when it hands out another shape than asked for or something
/// that is not floating point.
pub fn load_into<M: Module>(module: M, source: &mut dyn TensorSource) -> Result<M> {
    let mut load = Load { source, result: Ok(()) };
    let module = map_named(module, &mut load);
    load.result.map(|()| module)
}

/// Draws every matrix and kernel of `module` from the uniform distribution on ±1/√(fan in), the start that PyTorch
/// gives its layers; vectors keep the constant their layer starts with (norm weights 1, biases 0).
///
/// The values depend on the seed and the parameter's name alone.
pub fn initialize<M: Module>(module: M, seed: u64) -> M {
    map_named(module, &mut Draw { seed })
}

/// Hands every parameter to `sink` in the order of the network.
///
/// # Errors
/// The first error of `sink`; [`ErrorKind::Resource`] when a device cannot be read.
pub fn for_each_parameter<M: Module>(
    module: &M,
    sink: &mut dyn FnMut(&str, TensorData) -> Result<()>,
) -> Result<()> {
    let mut read = Read { sink, result: Ok(()) };
    visit_named(module, &mut read);
    read.result
}

/// The values [`initialize`] gives a parameter of two or more dimensions.
pub fn draw(seed: u64, name: &str, shape: &[usize]) -> Vec<f32> {
    let fan_in: usize = shape[1..].iter().product();
    let bound = 1.0 / (fan_in as f32).sqrt();
    let key = name.bytes().fold(mix(seed), |key, byte| mix(key ^ u64::from(byte)));
    let count: usize = shape.iter().product();
    (0..count as u64)
        .map(|index| {
            // 24 bits fill the mantissa: the value lies in [-1, 1).
            let unit = (mix(key.wrapping_add(index)) >> 40) as f32 / (1 << 23) as f32 - 1.0;
            unit * bound
        })
        .collect()
}

/// SplitMix64: one step of its counter, then its output function.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Where in the network a visitor stands. The variants of an enum are no part of a name.
#[derive(Default)]
struct Path(Vec<Option<String>>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.push((!container.starts_with("Enum:")).then(|| name.to_owned()));
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn name(&self) -> String {
        self.0.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

/// Tells a named visitor or mapper where in the network it stands.
struct Walk<'a, T> {
    path: Path,
    inner: &'a mut T,
}

impl<T: NamedVisitor> ModuleVisitor for Walk<'_, T> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.inner.visit(&self.path.name(), param);
    }
}

impl<T: NamedMapper> ModuleMapper for Walk<'_, T> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.inner.map(&self.path.name(), param)
    }
}

struct Bytes(u64);

impl NamedVisitor for Bytes {
    fn visit<const D: usize>(&mut self, _: &str, param: &Param<Tensor<D>>) {
        let value = if param.is_initialized() { param.val().dtype().size() } else { size_of::<f32>() };
        self.0 += (param.lazy_shape().num_elements() * value) as u64;
    }
}

struct List(Vec<(String, Vec<usize>)>);

impl NamedVisitor for List {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
        self.0.push((name.to_owned(), param.lazy_shape().to_vec()));
    }
}

struct Load<'a> {
    source: &'a mut dyn TensorSource,
    result: Result<()>,
}

impl Load<'_> {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<TensorData> {
        let data = self.source.tensor(name, shape)?;
        if data.shape().as_slice() != shape {
            let found = data.shape().as_slice();
            return Err(Error::input(format!(
                "tensor {name} has shape {found:?}, the network needs {shape:?}"
            )));
        }
        if !matches!(data.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            let dtype = data.dtype().name();
            return Err(Error::input(format!(
                "tensor {name} holds {dtype}, the network needs floating point"
            )));
        }
        Ok(data)
    }
}

impl NamedMapper for Load<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.result.is_err() {
            return param;
        }
        match self.values(name, &param.lazy_shape()) {
            Ok(data) => fill(param, data),
            Err(error) => {
                self.result = Err(error);
                param
            }
        }
    }
}

struct Draw {
    seed: u64,
}

impl NamedMapper for Draw {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D < 2 {
            return param;
        }
        let shape = param.lazy_shape();
        fill(param, TensorData::new(draw(self.seed, name, &shape), shape))
    }
}

/// Gives `param` its values on the device it belongs to, in the type of `data`.
pub(crate) fn fill<const D: usize>(param: Param<Tensor<D>>, data: TensorData) -> Param<Tensor<D>> {
    let dtype = data.dtype();
    let tensor = Tensor::from_data(data, (&param.lazy_device(), dtype));
    let id = param.id;
    param.transform_for_load(tensor, id)
}

struct Read<'a> {
    sink: &'a mut dyn FnMut(&str, TensorData) -> Result<()>,
    result: Result<()>,
}

impl NamedVisitor for Read<'_> {
    fn visit<const D: usize>(&mut self, name: &str, param: &Param<Tensor<D>>) {
        if self.result.is_err() {
            return;
        }
        self.result = match param.val().try_into_data() {
            Ok(data) => (self.sink)(name, data),
            Err(error) => Err(Error::new(ErrorKind::Resource, format!("cannot read parameter {name}"))
                .with_hint(error.to_string())),
        };
    }
}
