//! A `distill` run from the base model to the one-step restorer.

use super::{
    DistillConfig,
    networks::{Adapted, Head},
};
use crate::{
    Error, NoiseSchedule, Result,
    base::ALIGNED,
    batches::read_both,
    files,
    latents::FrozenAutoencoder,
    pairs::Pairs,
    progress::Progress,
    prompts::Prompts,
    repa::{Projector, ProjectorConfig},
    trainer::{Part, Paths, Plan, Report, Scores, Stage, State, settings_text, train},
    validation::picture_scores,
};
use burn::tensor::{Device, Tensor};
use gendr_model::{
    AutoencoderKl, Description, Family, OneStep, Precision, StoredModel, Unet, Weights, initialize,
};
use std::path::{Path, PathBuf};

pub(super) const GENERATOR: &str = "generator";
pub(super) const REAL: &str = "real";
pub(super) const FAKE: &str = "fake";
pub(super) const HEAD: &str = "head";
pub(super) const PROJECTOR: &str = "projector";

/// Distils a base model into a one-step restorer; the result is a model file of averaged weights, f16.
///
/// # Errors
/// As [`regress::run`](crate::regress::run).
pub fn run(
    config: &DistillConfig,
    paths: &Paths,
    progress: &dyn Progress,
    cancelled: &dyn Fn() -> bool,
) -> Result<Report> {
    let model = StoredModel::open(&paths.data.join(&config.base))?;
    if model.description().family != Family::Latent {
        return Err(Error::argument("only a model on latents can be distilled")
            .with_hint("`gendr train base` makes one"));
    }
    let autoencoder = FrozenAutoencoder::of_model(&model)?;
    config.check(autoencoder.factor())?;
    files::create_folder(&paths.run)?;
    let settings = settings_text(config)?;
    let source = (config.seed, &config.data);
    let (pairs, validation) = read_both(source, config.validation.pairs, paths, progress, cancelled)?;
    let mut stage = Distill::new(config, model, autoencoder, pairs, validation)?;
    stage.state = stage.state.resume(&paths.run, &settings)?;
    let (every, checkpoints) = (config.validation, config.checkpoints);
    let plan = Plan::new(config.training.steps, every, checkpoints, &paths.run, &settings);
    train(&mut stage, &plan, progress, cancelled)
}

/// Networks and data of a run.
pub(super) struct Distill<'a> {
    pub(super) config: &'a DistillConfig,
    pub(super) device: Device,
    model: StoredModel,
    pub(super) autoencoder: FrozenAutoencoder,
    /// The decoder for the pixel anchor.
    pub(super) decoder: Option<AutoencoderKl>,
    pub(super) base: Unet,
    pub(super) prompts: Option<Prompts>,
    pub(super) generator: Adapted,
    /// None where phi is the base model itself.
    pub(super) real: Option<Adapted>,
    pub(super) fake: Adapted,
    pub(super) head: Option<Head>,
    pub(super) projector: Option<Projector>,
    pub(super) one_step: OneStep,
    pub(super) schedule: NoiseSchedule,
    pub(super) state: State,
    pub(super) pairs: Pairs,
    validation: Pairs,
}

impl<'a> Distill<'a> {
    fn new(
        config: &'a DistillConfig,
        model: StoredModel,
        autoencoder: FrozenAutoencoder,
        pairs: Pairs,
        validation: Pairs,
    ) -> Result<Self> {
        let (seed, device) = (config.seed, Device::flex().autodiff());
        let about = model.description();
        let unet = about.unet.clone().ok_or_else(|| Error::argument("a model without UNet"))?;
        let base = model.weights().part("unet.").load(unet.init(&device)?)?;
        let prompts = Prompts::of_model(&model, &device)?;
        if config.loss.guidance != 1.0 && prompts.is_none() {
            return Err(Error::argument("guidance needs a model that looks at embeddings")
                .with_hint("set loss.guidance to 1"));
        }
        let generator = Adapted { name: GENERATOR, lora: config.generator.lora };
        let real = (!config.real.fixed).then_some(Adapted { name: REAL, lora: config.real.lora });
        let fake = Adapted { name: FAKE, lora: config.fake.lora };
        let mut parts = vec![
            generator.part(&base, config.generator.optimization, seed)?,
            fake.part(&base, config.fake.optimization, seed)?,
        ];
        if let Some(real) = &real {
            parts.push(real.part(&base, config.real.optimization, seed)?);
        }
        let deepest = unet.block_out_channels.last().copied().unwrap_or(0);
        let head = Head::new(deepest, unet.norm_num_groups, &device);
        let head = (config.adversarial() > 0.0).then(|| initialize(head, seed));
        if let Some(head) = &head {
            parts.push(Part::new(HEAD, head, config.heads)?);
        }
        let projector = ProjectorConfig {
            channels: unet.block_out_channels[0],
            hidden: config.loss.hidden,
            features: autoencoder.feature_channels(),
        };
        if config.alignment() > 0.0 && unet.levels() < 2 {
            return Err(Error::argument(format!("alignment needs a UNet with a block after {ALIGNED}")));
        }
        let projector = (config.alignment() > 0.0).then(|| initialize(projector.init(&device), seed));
        if let Some(projector) = &projector {
            parts.push(Part::new(PROJECTOR, projector, config.heads)?);
        }
        let decoder = match config.loss.pixel > 0.0 {
            true => Some(autoencoder.differentiable(&device)?),
            false => None,
        };
        let one_step = about.one_step;
        Ok(Self {
            config,
            device,
            model,
            autoencoder,
            decoder,
            base,
            prompts,
            generator,
            real,
            fake,
            head,
            projector,
            one_step,
            schedule: NoiseSchedule::stable_diffusion(),
            state: State::new(parts),
            pairs,
            validation,
        })
    }

    /// The averaged generator on the processor, nothing tracked.
    fn averaged(&mut self) -> Result<Unet> {
        let device = Device::flex();
        let config = self.model.description().unet.clone();
        let config = config.ok_or_else(|| Error::argument("a model without UNet"))?;
        let base = self.model.weights().part("unet.").load(config.init(&device)?)?;
        self.generator.load_average(self.state.part(GENERATOR)?, &base, &device)
    }
}

impl Stage for Distill<'_> {
    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn step(&mut self) -> Result<Scores> {
        self.take_step()
    }

    fn validate(&mut self, run: &Path) -> Result<Scores> {
        let (unet, device) = (self.averaged()?, Device::flex());
        let prompt: Option<Tensor<3>> =
            Prompts::of_model(&self.model, &device)?.map(|prompts| prompts.batch(0, 1));
        let conditioning = unet.condition(&[self.one_step.timestep], prompt)?;
        picture_scores(&self.validation, (run, self.state.step), |pick| {
            let latent = self.autoencoder.encode(self.validation.enlarged(&[pick], &device)?).inner();
            let noise = unet.forward(latent.clone(), &conditioning);
            Ok(self.autoencoder.decode(self.one_step.clean(latent, noise)))
        })
    }

    fn export(&mut self, run: &Path) -> Result<PathBuf> {
        let unet = self.averaged()?;
        let mut weights = Weights::default();
        weights.insert_part("unet.", Weights::from_module(&unet)?);
        weights.insert_part("vae.", self.model.weights().part("vae."));
        weights.insert_part("prompt.", self.model.weights().part("prompt."));
        let description = Description {
            name: run.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            scale: self.config.data.scale,
            origin: format!("gendr train distill, {:?}, {} steps", self.config.method, self.state.step),
            blake3: std::collections::BTreeMap::new(),
            ..self.model.description().clone()
        };
        let path = run.join("model.safetensors");
        StoredModel::new(description, weights)?.save(&path, Precision::F16)?;
        Ok(path)
    }
}
