//! A model, ready to restore pictures.

use std::{num::NonZeroUsize, path::PathBuf};

use burn::tensor::Device;
use bytes::Bytes;
use gendr_image::ColorFix;
use gendr_kernels::Factors;
use gendr_model::{Description, Model, Precision, RestorationModel, StoredModel, parameter_bytes};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{DeviceChoice, Error, ErrorKind, RestoreOptions, Result, available_memory};

/// The name of the built-in model.
pub const BUILT_IN: &str = "gendr-tiny";

/// The built-in model, a single model file.
pub fn built_in_file() -> &'static [u8] {
    BUILT_IN_FILE
}

/// The one place that includes it.
static BUILT_IN_FILE: &[u8] = include_bytes!("../models/gendr-tiny.safetensors");

/// Where a model comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ModelSource {
    /// The one inside this library.
    #[default]
    BuiltIn,
    /// A model folder or file.
    Path(PathBuf),
}

impl ModelSource {
    /// The model as it is stored: description and tensors, without its networks.
    ///
    /// # Errors
    /// As [`Restorer::open`].
    pub fn stored(&self) -> Result<StoredModel> {
        self.check_exists()?;
        match self {
            Self::BuiltIn => Ok(StoredModel::parse(&Bytes::from_static(BUILT_IN_FILE))?),
            Self::Path(path) => Ok(StoredModel::open(path)?),
        }
    }

    /// Refuses a path where there is nothing.
    ///
    /// # Errors
    /// An I/O error.
    pub fn check_exists(&self) -> Result<()> {
        match self {
            Self::Path(path) if !path.exists() => Err(Error::new(ErrorKind::Io, "no such model")
                .with_hint(format!("give a model folder or file, or the built-in `{BUILT_IN}`"))
                .with_path(path)),
            _ => Ok(()),
        }
    }
}

impl From<&str> for ModelSource {
    /// The built-in model by its name, anything else as a path.
    fn from(name: &str) -> Self {
        if name == BUILT_IN { Self::BuiltIn } else { Self::Path(name.into()) }
    }
}

/// Where and with how many threads networks run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compute {
    /// The device.
    pub device: DeviceChoice,
    /// Threads on the processor; `None` is one per core. The result does not depend on it.
    pub threads: Option<NonZeroUsize>,
    /// What networks compute in, however weights are stored. With `Bf16`, factors of plain products (linear layers, attention, 1x1
    /// convolutions) are rounded to bf16 where the processor has instructions for that; elsewhere they stay f32, which is no
    /// slower there. [`Restorer::precision`] tells which it is.
    pub precision: Precision,
}

impl Compute {
    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// An unsupported error for a precision that the device has not, an argument error for too many threads.
    pub fn validate(&self) -> Result<()> {
        if self.precision == Precision::F16 {
            return Err(Error::unsupported("the processor computes in f32 or bf16, not f16")
                .with_hint("weights may be stored in half the size: `gendr model convert --precision f16`"));
        }
        match self.threads {
            Some(threads) if threads.get() > MAX_THREADS => {
                Err(Error::argument(format!("at most {MAX_THREADS} threads are possible, not {threads}")))
            }
            _ => Ok(()),
        }
    }
}

/// More threads than any machine has: each takes memory of its own.
const MAX_THREADS: usize = 1024;

/// A model on a device. It holds no state between pictures: one restorer serves many, from any thread.
#[derive(Debug)]
pub struct Restorer {
    pub(crate) model: Model,
    /// Where tensors lie.
    pub(crate) tensors: Device,
    pub(crate) color_fix: ColorFix,
    /// BLAKE3 of the model.
    model_hash: String,
    /// Size of the weights in the form in which networks use them.
    weight_bytes: u64,
    precision: Precision,
    threads: ThreadPool,
}

impl Restorer {
    /// Opens a model.
    ///
    /// # Errors
    /// As [`Compute::validate`]; an I/O error where it cannot be read, an input error where it is damaged or incomplete, a
    /// resource error where the threads are not to be had.
    pub fn open(source: &ModelSource, compute: Compute) -> Result<Self> {
        compute.validate()?;
        let (precision, factors) = match compute.precision {
            Precision::Bf16 if Factors::Bf16.are_native() => (Precision::Bf16, Factors::Bf16),
            _ => (Precision::F32, Factors::F32),
        };
        let threads = ThreadPoolBuilder::new()
            .num_threads(compute.threads.map_or(0, NonZeroUsize::get))
            .start_handler(move |_| factors.use_on_thread())
            .build()
            .map_err(|error| Error::new(ErrorKind::Resource, "cannot start threads").with_source(error))?;
        let device = Device::flex();
        let (model, model_hash) = threads.install(|| {
            let stored = source.stored()?;
            Ok::<_, Error>((stored.load(&device)?, stored.content_hash()?))
        })?;
        let color_fix = model_color_fix(&model.description)?;
        let weight_bytes = weight_bytes(&model.networks);
        Ok(Self { model, tensors: device, color_fix, model_hash, weight_bytes, precision, threads })
    }

    /// Checks that the options make sense for this model.
    ///
    /// # Errors
    /// As [`RestoreOptions::validate`]; an argument error for what this model cannot do.
    pub fn check(&self, options: &RestoreOptions) -> Result<()> {
        options.validate()?;
        let guided = options.guidance != 1.0;
        let unet = match &self.model.networks {
            RestorationModel::Latent(model) => Some(&model.unet),
            RestorationModel::Adc(model) => Some(&model.unet),
            RestorationModel::Pix(model) => Some(&model.unet),
            RestorationModel::Rrdb(_) | RestorationModel::Compact(_) => None,
        };
        if guided && unet.is_none_or(|unet| !unet.has_negative()) {
            return Err(Error::argument("guidance needs a model with a negative prompt")
                .with_hint("leave `--guidance` at 1 for this model"));
        }
        Ok(())
    }

    /// What the model says of itself.
    pub fn description(&self) -> &Description {
        &self.model.description
    }

    /// BLAKE3, in hexadecimal, of all that decides what the model makes of a picture.
    pub fn model_hash(&self) -> &str {
        &self.model_hash
    }

    /// The device that networks run on.
    pub fn device(&self) -> DeviceChoice {
        DeviceChoice::Cpu
    }

    /// What networks compute in: `F32`, or `Bf16` where that was asked for and the processor has it.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Number of threads that networks run on.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Whether the model has an autoencoder.
    pub(crate) fn has_autoencoder(&self) -> bool {
        matches!(self.model.networks, RestorationModel::Latent(_) | RestorationModel::Adc(_))
    }

    /// Bytes that a restoration may take beside the weights.
    pub(crate) fn memory(&self, options: &RestoreOptions) -> u64 {
        match options.memory {
            Some(memory) => memory.saturating_sub(self.weight_bytes),
            None => available_memory(),
        }
    }

    /// The same options with an equal share of the memory for each of `jobs` pictures that are restored at once.
    pub(crate) fn share_memory(&self, options: &RestoreOptions, spared: u64, jobs: usize) -> RestoreOptions {
        let each = self.memory(options).saturating_sub(spared) / jobs.max(1) as u64;
        RestoreOptions { memory: Some(each.saturating_add(self.weight_bytes)), ..options.clone() }
    }

    /// Runs `work` on this restorer's threads.
    pub(crate) fn on_threads<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.threads.install(work)
    }
}

fn weight_bytes(networks: &RestorationModel) -> u64 {
    match networks {
        RestorationModel::Latent(model) => {
            parameter_bytes(model.unet.unet()) + parameter_bytes(&model.autoencoder)
        }
        RestorationModel::Adc(model) => {
            parameter_bytes(model.unet.unet()) + parameter_bytes(&model.autoencoder)
        }
        RestorationModel::Pix(model) => parameter_bytes(model.unet.unet()),
        RestorationModel::Rrdb(network) => parameter_bytes(network.as_ref()),
        RestorationModel::Compact(network) => parameter_bytes(network.as_ref()),
    }
}

fn model_color_fix(description: &Description) -> Result<ColorFix> {
    let name = &description.color_fix;
    ColorFix::from_name(name)
        .ok_or_else(|| Error::input(format!("the model asks for an unknown colour fix `{name}`")))
}
