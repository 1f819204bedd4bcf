//! One network of a training run: its weights, their average and the optimiser's memory.

use super::resident::{Lists, Resident};
use crate::{
    AdamW, AdamWConfig, Error, Result,
    adamw::clipping,
    clip_gradients, gradient_norm,
    lora::{Lora, LoraConfig},
    parameters::{Parameters, gradients_of},
    update_average, warm_decay,
};
use burn::{
    module::Module,
    tensor::{Device, Gradients, TensorData},
};
use serde::{Deserialize, Serialize};

/// How one network is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartConfig {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Largest joint norm of the gradients.
    pub max_gradient_norm: f64,
    /// Decay of the average of the weights; without one no average is kept.
    pub average_decay: Option<f64>,
    /// The optimiser.
    pub optimizer: AdamWConfig,
}

impl Default for PartConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-5,
            max_gradient_norm: 1.0,
            average_decay: None,
            optimizer: AdamWConfig::default(),
        }
    }
}

impl PartConfig {
    /// Whether all numbers make sense.
    pub(crate) fn is_sound(&self) -> bool {
        let from_zero = |value: f64| value.is_finite() && value >= 0.0;
        let share = |value: f64| (0.0..1.0).contains(&value);
        let AdamWConfig { betas, epsilon, weight_decay } = self.optimizer;
        from_zero(self.learning_rate)
            && from_zero(self.max_gradient_norm)
            && self.average_decay.is_none_or(share)
            && betas.into_iter().all(share)
            && from_zero(epsilon)
            && from_zero(weight_decay)
    }
}

/// A network being trained, as plain values: modules are made from them for each step.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub(crate) name: String,
    pub(crate) config: PartConfig,
    pub(crate) weights: Parameters,
    pub(crate) average: Option<Vec<Vec<f32>>>,
    pub(crate) optimizer: AdamW,
    /// Gradients of the step under way; empty where there is none yet.
    pending: Option<Vec<Vec<f32>>>,
    /// Where the numbers are while a GPU trains them; the lists above are then those of the last call of [`Part::settle`].
    resident: Option<Resident>,
    /// Whether the numbers stay in memory in any case.
    in_memory: bool,
}

impl Part {
    /// A network before its first step, with the weights that `module` has.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn new<M: Module>(name: &str, module: &M, config: PartConfig) -> Result<Self> {
        Ok(Self::of(name, Parameters::of(module)?, config))
    }

    /// The same from a list of parameters.
    pub(crate) fn of(name: &str, weights: Parameters, config: PartConfig) -> Self {
        let optimizer = AdamW::new(config.optimizer, weights.values.iter().map(Vec::len));
        let average = config.average_decay.map(|_| weights.values.clone());
        Self {
            name: name.to_owned(),
            config,
            weights,
            average,
            optimizer,
            pending: None,
            resident: None,
            in_memory: false,
        }
    }

    /// The same, whose numbers stay in memory whatever device trains them.
    pub(crate) fn in_memory(self) -> Self {
        Self { in_memory: true, ..self }
    }

    /// Moves the numbers to a device, one without gradients.
    pub(crate) fn reside_on(&mut self, device: &Device) {
        if !self.in_memory {
            self.resident = Some(Resident::new(&self.lists_in_memory(), device));
        }
    }

    /// Copies the numbers back to memory, where they are saved from.
    ///
    /// # Errors
    /// A resource error where the device cannot be read.
    pub(crate) fn settle(&mut self) -> Result<()> {
        match self.resident.take() {
            Some(resident) => {
                let result = resident.settle(self.lists_in_memory());
                self.resident = Some(resident);
                result
            }
            None => Ok(()),
        }
    }

    fn lists_in_memory(&mut self) -> Lists<'_> {
        let Self { weights, average, optimizer, .. } = self;
        Lists { weights: &mut weights.values, average: average.as_mut(), optimizer }
    }

    /// `module` with the present weights, on its own device.
    ///
    /// # Errors
    /// Where it is another network.
    pub fn load<M: Module>(&self, module: M) -> Result<M> {
        match &self.resident {
            Some(resident) => resident.load(false, module),
            None => self.weights.load_into(&self.weights.values, module),
        }
    }

    /// `module` with the averaged weights, or the present ones where no average is kept.
    ///
    /// # Errors
    /// Where it is another network.
    pub fn load_average<M: Module>(&self, module: M) -> Result<M> {
        match &self.resident {
            Some(resident) => resident.load(true, module),
            None => self.weights.load_into(self.average.as_ref().unwrap_or(&self.weights.values), module),
        }
    }

    /// The adaptation whose matrices are this part's present weights, or the averaged ones.
    ///
    /// # Errors
    /// Where this part is none.
    pub(crate) fn lora(&self, config: &LoraConfig, device: &Device, averaged: bool) -> Result<Lora> {
        let values = self.average.as_ref().filter(|_| averaged).unwrap_or(&self.weights.values);
        let named = self.weights.names.iter().zip(&self.weights.shapes).zip(values);
        let tensors = named
            .map(|((name, shape), values)| (name.clone(), TensorData::new(values.clone(), shape.clone())));
        Lora::new(config, tensors.collect(), device)
    }

    /// Takes the gradients of `module`, made by [`Part::load`], out of `gradients` and adds `share` of them to those of the
    /// step under way.
    ///
    /// # Errors
    /// A resource error where they cannot be read.
    pub fn add_gradients<M: Module>(
        &mut self,
        module: &M,
        gradients: &mut Gradients,
        share: f64,
    ) -> Result<()> {
        if let Some(resident) = &mut self.resident {
            resident.add_gradients(module, gradients, share);
            return Ok(());
        }
        let found = gradients_of(module, gradients)?;
        found.into_iter().enumerate().for_each(|(index, found)| self.add(index, found, share));
        Ok(())
    }

    /// The same for low-rank matrices on `module`, made by [`Part::lora`] and [`Lora::adapt_tracked`].
    pub(crate) fn add_lora_gradients<M: Module>(
        &mut self,
        lora: &Lora,
        module: &M,
        gradients: &mut Gradients,
        share: f64,
    ) -> Result<()> {
        let mut found = lora.gradients(module, gradients)?;
        for index in 0..self.weights.names.len() {
            let found = found.remove(&self.weights.names[index]);
            self.add(index, found, share);
        }
        Ok(())
    }

    /// Adds to the gradient of one parameter.
    fn add(&mut self, index: usize, found: Option<Vec<f32>>, share: f64) {
        let Some(mut found) = found else { return };
        if share != 1.0 {
            found.iter_mut().for_each(|value| *value *= share as f32);
        }
        let pending = self.pending.get_or_insert_with(|| vec![Vec::new(); self.weights.names.len()]);
        let sum = &mut pending[index];
        if sum.is_empty() {
            *sum = found;
        } else {
            sum.iter_mut().zip(found).for_each(|(sum, value)| *sum += value);
        }
    }

    /// Moves the weights against the gradients of the step, clipped, with `factor` of the learning rate; returns the
    /// gradients' norm before clipping.
    ///
    /// # Errors
    /// An input error where a gradient is not finite: the weights are left as they were.
    pub fn update(&mut self, factor: f64) -> Result<f64> {
        let rate = self.config.learning_rate * factor;
        if let Some(resident) = &mut self.resident {
            let Some((gradients, norm)) = resident.take_gradients()? else { return Ok(0.0) };
            if !norm.is_finite() {
                return Err(diverged(&self.name));
            }
            let gradients = match clipping(norm, self.config.max_gradient_norm) {
                Some(scale) => gradients.mul_scalar(scale),
                None => gradients,
            };
            let decay = self.config.average_decay.map(|decay| warm_decay(decay, self.optimizer.steps + 1));
            resident.step(&mut self.optimizer, rate, gradients, decay);
            return Ok(norm);
        }
        let Some(mut gradients) = self.pending.take() else { return Ok(0.0) };
        for (gradient, weights) in gradients.iter_mut().zip(&self.weights.values) {
            gradient.resize(weights.len(), 0.0);
        }
        let norm = gradient_norm(&gradients);
        if !norm.is_finite() {
            return Err(diverged(&self.name));
        }
        clip_gradients(&mut gradients, self.config.max_gradient_norm);
        self.optimizer.step(rate, self.weights.values.iter_mut(), &gradients);
        if let (Some(average), Some(decay)) = (&mut self.average, self.config.average_decay) {
            let decay = warm_decay(decay, self.optimizer.steps);
            update_average(average, self.weights.values.iter(), decay);
        }
        Ok(norm)
    }
}

fn diverged(name: &str) -> Error {
    Error::diverged(format!("gradients of {name} that are not finite"))
}
