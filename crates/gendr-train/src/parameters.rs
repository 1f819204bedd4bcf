//! A network's parameters as plain vectors: where the optimiser, the average and the checkpoints work on them.

use crate::{Error, ErrorKind, Result};
use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Gradients, Tensor, TensorData},
};
use gendr_kernels::{copy, overwritten};
use gendr_model::{TensorSource, for_each_parameter, load_into};

/// Names, shapes and values of all parameters, in the order of the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) names: Vec<String>,
    pub(crate) shapes: Vec<Vec<usize>>,
    pub(crate) values: Vec<Vec<f32>>,
}

impl Parameters {
    /// Copies the parameters of `module`.
    pub(crate) fn of<M: Module>(module: &M) -> Result<Self> {
        let mut parameters = Self::default();
        for_each_parameter(module, &mut |name, data| {
            let shape = data.shape().as_slice().to_vec();
            let values = data.convert::<f32>().try_to_vec().map_err(|error| {
                gendr_model::Error::input(format!("parameter {name} is not floating point: {error:?}"))
            })?;
            parameters.push(name.to_owned(), shape, values);
            Ok(())
        })?;
        Ok(parameters)
    }

    /// Adds one.
    pub(crate) fn push(&mut self, name: String, shape: Vec<usize>, values: Vec<f32>) {
        self.names.push(name);
        self.shapes.push(shape);
        self.values.push(values);
    }

    /// Gives `module` the values, which come in the order of this list.
    pub(crate) fn load_into<M: Module>(&self, values: &[Vec<f32>], module: M) -> Result<M> {
        let source = &mut InOrder { parameters: self, values, next: 0 };
        Ok(load_into(module, source)?)
    }
}

/// Hands values out in the order in which networks ask for them.
struct InOrder<'a> {
    parameters: &'a Parameters,
    values: &'a [Vec<f32>],
    next: usize,
}

impl TensorSource for InOrder<'_> {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> gendr_model::Result<TensorData> {
        let i = self.next;
        self.next += 1;
        let fits = |known: &String| known == name && self.parameters.shapes[i] == shape;
        if !self.parameters.names.get(i).is_some_and(fits) {
            return Err(gendr_model::Error::argument(format!("{name} is not parameter {i} of this network")));
        }
        let values = &self.values[i];
        Ok(TensorData::new(overwritten(values.len(), |to| copy(values, to)), shape.to_vec()))
    }
}

/// The gradients of all parameters, in the order of the network; none where the loss does not depend on one.
pub(crate) fn gradients_of<M: Module>(
    module: &M,
    gradients: &mut Gradients,
) -> Result<Vec<Option<Vec<f32>>>> {
    let mut collect = Collect { gradients, found: Vec::new(), failed: false };
    module.visit(&mut collect);
    if collect.failed {
        return Err(Error::new(ErrorKind::Resource, "gradients cannot be read from the device"));
    }
    Ok(collect.found)
}

struct Collect<'a> {
    gradients: &'a mut Gradients,
    found: Vec<Option<Vec<f32>>>,
    failed: bool,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad_remove(self.gradients);
        let values = gradient.map(read);
        self.failed |= values == Some(None);
        self.found.push(values.flatten());
    }
}

/// The values of a tensor, if its device can be read; not copied where nothing else has them.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Option<Vec<f32>> {
    tensor.try_into_data().ok()?.try_into_vec::<f32>().ok()
}
