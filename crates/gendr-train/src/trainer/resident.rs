//! A network's numbers in the memory of the device that trains it, each list one long tensor. The processor works on vectors
//! in memory; a GPU would wait for every one of them, twice a step.

use crate::{AdamW, AdamWConfig, Error, ErrorKind, Result, parameters::read};
use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Gradients, Tensor, TensorData},
};

/// Weights, their average, the optimiser's memory and the gradients of the step under way, of the same length.
#[derive(Clone, Debug)]
pub(super) struct Resident {
    weights: Tensor<1>,
    average: Option<Tensor<1>>,
    first_moments: Tensor<1>,
    second_moments: Tensor<1>,
    pending: Option<Tensor<1>>,
}

/// The lists of a part that are kept in memory.
pub(super) struct Lists<'a> {
    pub(super) weights: &'a mut [Vec<f32>],
    pub(super) average: Option<&'a mut Vec<Vec<f32>>>,
    pub(super) optimizer: &'a mut AdamW,
}

impl PartialEq for Resident {
    fn eq(&self, other: &Self) -> bool {
        let lists = |one: &Self| {
            let average = one.average.clone().map(read);
            [Some(&one.weights), Some(&one.first_moments), Some(&one.second_moments), one.pending.as_ref()]
                .map(|list| list.cloned().map(read))
                .into_iter()
                .chain([average])
                .collect::<Vec<_>>()
        };
        lists(self) == lists(other)
    }
}

impl Resident {
    /// Copies of `lists` on `device`, which has no gradients.
    pub(super) fn new(lists: &Lists<'_>, device: &Device) -> Self {
        let long = |list: &[Vec<f32>]| {
            let values = list.concat();
            Tensor::from_data(TensorData::new(values.clone(), [values.len()]), device)
        };
        Self {
            weights: long(lists.weights),
            average: lists.average.as_ref().map(|average| long(average)),
            first_moments: long(&lists.optimizer.first_moments),
            second_moments: long(&lists.optimizer.second_moments),
            pending: None,
        }
    }

    /// Writes everything but gradients back.
    ///
    /// # Errors
    /// A resource error where the device cannot be read.
    pub(super) fn settle(&self, lists: Lists<'_>) -> Result<()> {
        let back = |from: &Tensor<1>, to: &mut [Vec<f32>]| {
            let values = read(from.clone()).ok_or_else(|| unreadable("weights"))?;
            let mut rest = values.as_slice();
            for list in to {
                let (here, after) = rest.split_at_checked(list.len()).ok_or_else(|| unreadable("weights"))?;
                list.copy_from_slice(here);
                rest = after;
            }
            Ok(())
        };
        back(&self.weights, lists.weights)?;
        if let (Some(from), Some(to)) = (&self.average, lists.average) {
            back(from, to)?;
        }
        back(&self.first_moments, &mut lists.optimizer.first_moments)?;
        back(&self.second_moments, &mut lists.optimizer.second_moments)
    }

    /// `module` with the weights, or with their average where it is asked for and kept.
    ///
    /// # Errors
    /// An argument error where it has other parameters.
    pub(super) fn load<M: Module>(&self, averaged: bool, module: M) -> Result<M> {
        let list = self.average.as_ref().filter(|_| averaged).unwrap_or(&self.weights);
        let mut slices = Slices { list, next: 0 };
        let module = module.map(&mut slices);
        match slices.next == list.dims()[0] {
            true => Ok(module),
            false => Err(Error::argument("a network with other parameters than its part of the run")),
        }
    }

    /// Takes the gradients of `module` out of `gradients` and adds `share` of them to those of the step under way.
    pub(super) fn add_gradients<M: Module>(&mut self, module: &M, gradients: &mut Gradients, share: f64) {
        let mut collect = Collect { gradients, found: Vec::new(), any: false };
        module.visit(&mut collect);
        if !collect.any {
            return;
        }
        let mut sum = Tensor::cat(collect.found, 0);
        if share != 1.0 {
            sum = sum.mul_scalar(share);
        }
        self.pending = Some(match self.pending.take() {
            Some(pending) => pending + sum,
            None => sum,
        });
    }

    /// The norm of the gradients of the step under way, which are given up; none where there are none.
    ///
    /// # Errors
    /// A resource error where the device cannot be read.
    pub(super) fn take_gradients(&mut self) -> Result<Option<(Tensor<1>, f64)>> {
        let Some(gradients) = self.pending.take() else { return Ok(None) };
        let square = read(gradients.clone().square().sum()).ok_or_else(|| unreadable("gradients"))?;
        Ok(Some((gradients, f64::from(square[0]).sqrt())))
    }

    /// [`AdamW::step`] and the update of the average, which is given the weight `1 - decay`.
    pub(super) fn step(
        &mut self,
        optimizer: &mut AdamW,
        rate: f64,
        gradients: Tensor<1>,
        decay: Option<f64>,
    ) {
        optimizer.steps += 1;
        let AdamWConfig { betas: [beta1, beta2], epsilon, weight_decay } = optimizer.config;
        let time = optimizer.steps as f64;
        let step_size = rate / (1.0 - beta1.powf(time));
        let second_scale = 1.0 / (1.0 - beta2.powf(time)).sqrt();
        let square = gradients.clone().square().mul_scalar(1.0 - beta2);
        let first = self.first_moments.clone().mul_scalar(beta1) + gradients.mul_scalar(1.0 - beta1);
        let second = self.second_moments.clone().mul_scalar(beta2) + square;
        let denominator = second.clone().sqrt().mul_scalar(second_scale).add_scalar(epsilon);
        let weights = self.weights.clone().mul_scalar(1.0 - rate * weight_decay);
        self.weights = weights - first.clone().mul_scalar(step_size) / denominator;
        (self.first_moments, self.second_moments) = (first, second);
        if let (Some(average), Some(decay)) = (self.average.take(), decay) {
            self.average = Some(average.mul_scalar(decay) + self.weights.clone().mul_scalar(1.0 - decay));
        }
    }
}

fn unreadable(what: &str) -> Error {
    Error::new(ErrorKind::Resource, format!("{what} cannot be read from the device"))
}

/// Gives parameters their slices of a list, in the order of the network.
struct Slices<'a> {
    list: &'a Tensor<1>,
    next: usize,
}

impl ModuleMapper for Slices<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let (start, length) = (self.next, shape.num_elements());
        self.next += length;
        if self.next > self.list.dims()[0] {
            return param;
        }
        let slice = self.list.clone().narrow(0, start, length).reshape::<D, _>(shape);
        let slice = if param.lazy_device().is_autodiff() { slice.autodiff() } else { slice };
        let id = param.id;
        param.transform_for_load(slice, id)
    }
}

struct Collect<'a> {
    gradients: &'a mut Gradients,
    found: Vec<Tensor<1>>,
    any: bool,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let length = value.shape().num_elements();
        let gradient = value.grad_remove(self.gradients);
        self.any |= gradient.is_some();
        self.found.push(match gradient {
            Some(gradient) => gradient.reshape([length]),
            None => Tensor::zeros([length], &value.device().without_autodiff()),
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::{AdamWConfig, Part, PartConfig, discriminator::PatchDiscriminator};
    use burn::tensor::{Device, Distribution, Tensor};
    use gendr_model::initialize;

    /// Three steps of two batches each.
    fn train(mut part: Part, network: &PatchDiscriminator, pictures: &[Tensor<4>]) -> Part {
        for step in 0..3 {
            for picture in pictures {
                let network = part.load(network.clone()).expect("the same network");
                let loss = network.forward(picture.clone()).square().mean();
                part.add_gradients(&network, &mut loss.backward(), 0.5).expect("readable");
            }
            let norm = part.update(1.0 / f64::from(step + 1)).expect("finite");
            assert!(norm > part.config.max_gradient_norm, "clipped: {norm}");
        }
        part.settle().expect("readable");
        part
    }

    #[test]
    fn a_device_trains_as_memory_does() {
        let device = Device::flex().autodiff();
        let network = initialize(PatchDiscriminator::new(3, &device), 1);
        let picture = || Tensor::random([2, 3, 16, 16], Distribution::Uniform(-1.0, 1.0), &device);
        let pictures = [picture(), picture()];
        let config = PartConfig {
            learning_rate: 1e-2,
            max_gradient_norm: 1e-3,
            average_decay: Some(0.9),
            optimizer: AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() },
        };
        let part = Part::new("critic", &network, config).expect("readable");
        let mut resident = part.clone();
        resident.reside_on(&Device::flex());
        let [want, found] = [part.clone(), resident].map(|part| train(part, &network, &pictures));
        let lists = |part: &Part| {
            let (weights, average) =
                (part.weights.values.concat(), part.average.clone().expect("kept").concat());
            [weights, average, part.optimizer.first_moments.concat()]
        };
        assert_eq!(found.optimizer.steps, want.optimizer.steps);
        for ((found, want), before) in lists(&found).iter().zip(lists(&want)).zip(lists(&part)) {
            assert_ne!(want, before);
            let away = found.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(away < 1e-5, "{away}");
        }
        let other = PatchDiscriminator::new(1, &device);
        assert!(found.load(other.clone()).is_err(), "another network");
        assert!(want.load(other).is_err());
    }
}
