//! A `distill` run from the base model to the one-step restorer.

use super::{
    DistillConfig,
    generator::Generator,
    networks::{Adapted, Head},
};
use crate::{
    Error, NoiseSchedule, Result,
    base::ALIGNED,
    batches::read_taught,
    cached_latents::CachedLatents,
    discriminator::PatchDiscriminator,
    files,
    latent_space::{Decoder, LatentSpace},
    pairs::Pairs,
    perceptual::Perceptual,
    progress::Progress,
    prompts::Prompts,
    repa::{AlignmentTarget, Projector, ProjectorConfig},
    trainer::{Part, Paths, Plan, Report, Scores, Stage, State, settings_text, train},
    validation::picture_scores,
};
use burn::tensor::Device;
use gendr_model::{Description, Precision, StoredModel, Unet, Weights, initialize};
use std::path::{Path, PathBuf};

pub(super) const GENERATOR: &str = "generator";
pub(super) const REAL: &str = "real";
pub(super) const FAKE: &str = "fake";
pub(super) const HEAD: &str = "head";
pub(super) const PROJECTOR: &str = "projector";
pub(super) const CRITIC: &str = "critic";

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
    let base = StoredModel::open(&paths.data.join(&config.base))?;
    let space = LatentSpace::of_model(&base, &paths.device)?;
    config.check(space.factor())?;
    files::create_folder(&paths.run)?;
    let settings = settings_text(config)?;
    let source = (config.seed, &config.data);
    let teacher = config.anchor.as_ref().and_then(|anchor| anchor.teacher.as_ref());
    let held_out = config.validation.pairs;
    let (pairs, validation) = read_taught(source, held_out, teacher, paths, progress, cancelled)?;
    let start = match &config.start {
        Some(start) => Some(StoredModel::open(&paths.data.join(start))?),
        None => None,
    };
    let mut stage = Distill::new((config, paths), (base, start), space, [pairs, validation], progress)?;
    if config.data.cache_latents {
        let setting = (&stage.device, config.data.memory());
        let cached = CachedLatents::open_or_make(
            &stage.pairs,
            &stage.space,
            &stage.target,
            setting,
            progress,
            cancelled,
        )?;
        stage.cached = Some(cached);
    }
    stage.state = stage.state.resume(&paths.run, &settings)?;
    let (every, checkpoints) = (config.validation, config.checkpoints);
    let plan = Plan::new(config.training.steps, every, checkpoints, paths, &settings);
    train(&mut stage, &plan, progress, cancelled)
}

/// Networks and data of a run.
pub(super) struct Distill<'a> {
    pub(super) config: &'a DistillConfig,
    pub(super) device: Device,
    pub(super) space: LatentSpace,
    /// The way to pictures, for losses on them.
    pub(super) decoder: Option<Decoder>,
    pub(super) perceptual: Option<Perceptual>,
    /// What the generator's features are aligned with.
    pub(super) target: AlignmentTarget,
    /// The discriminator on pictures.
    pub(super) critic: Option<PatchDiscriminator>,
    pub(super) base: Unet,
    pub(super) prompts: Option<Prompts>,
    pub(super) generator: Generator,
    /// None where phi is the base model itself.
    pub(super) real: Option<Adapted>,
    pub(super) fake: Adapted,
    pub(super) head: Option<Head>,
    pub(super) projector: Option<Projector>,
    pub(super) schedule: NoiseSchedule,
    pub(super) state: State,
    pub(super) pairs: Pairs,
    /// The latents of the pairs, where they are kept.
    pub(super) cached: Option<CachedLatents>,
    validation: Pairs,
}

impl<'a> Distill<'a> {
    fn new(
        (config, paths): (&'a DistillConfig, &Paths),
        (model, start): (StoredModel, Option<StoredModel>),
        space: LatentSpace,
        [pairs, validation]: [Pairs; 2],
        progress: &dyn Progress,
    ) -> Result<Self> {
        let (seed, device) = (config.seed, paths.device.clone().autodiff());
        let unet = model.description().unet.clone();
        let unet = unet.ok_or_else(|| Error::argument("a model without UNet"))?;
        let base = model.weights().part("unet.").load(unet.init(&device)?)?;
        let prompts = Prompts::of_model(&model, &device)?;
        if config.loss.guidance != 1.0 && prompts.is_none() {
            return Err(Error::argument("guidance needs a model that looks at embeddings")
                .with_hint("set loss.guidance to 1"));
        }
        let start = match start {
            Some(start) => (start, None),
            None => (model, Some(base.clone())),
        };
        let (generator, part) = Generator::new(start, &space, &config.generator, seed, &device)?;
        let real = (!config.real.fixed).then_some(Adapted { name: REAL, lora: config.real.lora });
        let fake = Adapted { name: FAKE, lora: config.fake.lora };
        let mut parts = vec![part, fake.part(&base, config.fake.optimization, seed)?];
        if let Some(real) = &real {
            parts.push(real.part(&base, config.real.optimization, seed)?);
        }
        let deepest = unet.block_out_channels.last().copied().unwrap_or(0);
        let head = Head::new(deepest, unet.norm_num_groups, &device);
        let head = (config.adversarial() > 0.0).then(|| initialize(head, seed));
        if let Some(head) = &head {
            parts.push(Part::new(HEAD, head, config.heads)?);
        }
        let generated = &generator.config;
        let target = match config.alignment() > 0.0 {
            true => AlignmentTarget::open(config.dinov2.as_deref(), &paths.data, &paths.device, progress)?,
            false => AlignmentTarget::default(),
        };
        let projector = ProjectorConfig {
            channels: generated.block_out_channels[0],
            hidden: config.loss.hidden,
            features: target.channels(&space).unwrap_or(unet.block_out_channels[0]),
        };
        if config.alignment() > 0.0 && unet.levels().min(generated.levels()) < 2 {
            return Err(Error::argument(format!("alignment needs UNets with a block after {ALIGNED}")));
        }
        let projector = (config.alignment() > 0.0).then(|| initialize(projector.init(&device), seed));
        if let Some(projector) = &projector {
            parts.push(Part::new(PROJECTOR, projector, config.heads)?);
        }
        let critic = config.discriminator.map(|judge| {
            let pictures = 1 + usize::from(judge.sees_input);
            let channels = if judge.luma { 1 } else { 3 };
            initialize(PatchDiscriminator::new(channels * pictures, &device), seed)
        });
        if let (Some(critic), Some(judge)) = (&critic, config.discriminator) {
            parts.push(Part::new(CRITIC, critic, judge.optimization)?);
        }
        let perceptual = config.perceptual.open(&paths.data, &device, progress)?;
        let decoder = match config.looks_at_pictures() {
            true => Some(space.decoder(&device)?),
            false => None,
        };
        Ok(Self {
            config,
            device,
            space,
            decoder,
            perceptual,
            target,
            critic,
            base,
            prompts,
            generator,
            real,
            fake,
            head,
            projector,
            schedule: NoiseSchedule::stable_diffusion(),
            state: State::new(parts),
            pairs,
            cached: None,
            validation,
        })
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
        let device = self.device.clone().without_autodiff();
        let generator = self.generator.clone();
        let unet = generator.averaged(self.state.part(GENERATOR)?, &device)?;
        let prompts = Prompts::of_model(&generator.model, &device)?;
        picture_scores(&self.validation, (run, self.state.step), |pick| {
            let latent = self.space.encode(self.validation.enlarged(&[pick], &device)?.autodiff()).inner();
            let latent = generator.generate(&unet, prompts.as_ref(), &latent)?;
            Ok(self.space.decode(latent.autodiff()))
        })
    }

    fn export(&mut self, run: &Path) -> Result<PathBuf> {
        let generator = self.generator.clone();
        let unet =
            generator.averaged(self.state.part(GENERATOR)?, &self.device.clone().without_autodiff())?;
        let mut weights = Weights::default();
        weights.insert_part("unet.", Weights::from_module(&unet)?);
        weights.insert_part("vae.", generator.model.weights().part("vae."));
        weights.insert_part("prompt.", generator.model.weights().part("prompt."));
        let description = Description {
            name: run.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            scale: self.config.data.scale,
            origin: format!("gendr train distill, {:?}, {} steps", self.config.method, self.state.step),
            blake3: std::collections::BTreeMap::new(),
            ..generator.model.description().clone()
        };
        let path = run.join("model.safetensors");
        StoredModel::new(description, weights)?.save(&path, Precision::F16)?;
        Ok(path)
    }
}
