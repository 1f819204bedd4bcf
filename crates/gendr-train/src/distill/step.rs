//! One step of distillation: the score networks and the discriminator learn first, then the generator.

use super::{
    DiscriminatorConfig, RealPicture,
    generator::Generator,
    networks::Head,
    run::{CRITIC, Distill, FAKE, GENERATOR, HEAD, PROJECTOR, REAL},
};
use crate::{
    NoiseLevels, Result, Schedule,
    base::ALIGNED,
    batches::{Pick, picks},
    cached_latents::{Latents, encode},
    denoising_loss, discriminator_loss,
    noise::{Stream, diffusion, draws},
    recompute::{self, Saving},
    regress::luma,
    trainer::{Scores, State},
};
use burn::{
    module::Module,
    tensor::{Gradients, Tensor},
};
use gendr_degrade::Draws;
use gendr_model::Unet;

/// Timesteps that score networks learn at.
const ALL_TIMESTEPS: [usize; 2] = [0, 1000];

/// What was added to the input is small beside it: shown so much larger, the discriminator learns from it several times as fast.
const ADDED_GAIN: f64 = 4.0;

/// One batch: latents, and where on the path to noise they are looked at.
pub(super) struct Batch {
    /// z_l.
    pub(super) low: Tensor<4>,
    /// z_h.
    pub(super) sharp: Tensor<4>,
    /// Features of the sharp picture to align with.
    pub(super) features: Option<Tensor<4>>,
    /// The sharp picture, for losses on pictures.
    pub(super) picture: Option<Tensor<4>>,
    /// What the anchor leads to.
    pub(super) target: Option<Tensor<4>>,
    /// The enlarged input as the discriminator on pictures sees it, where it does.
    enlarged: Option<Tensor<4>>,
    /// For the score term and the discriminator.
    pub(super) look: Look,
    /// For the score networks' own learning.
    learn: Look,
}

impl DiscriminatorConfig {
    /// What it sees of one picture.
    fn seen(&self, picture: Tensor<4>) -> Tensor<4> {
        if self.luma { luma(&picture) } else { picture }
    }

    /// All that it gets to see with `picture`, the result for `batch` or what it takes for real: where it sees the input, what was
    /// added to it, and it.
    pub(super) fn shown(&self, picture: Tensor<4>, batch: &Batch) -> Tensor<4> {
        let picture = self.seen(picture);
        match &batch.enlarged {
            Some(enlarged) => {
                let added = (picture - enlarged.clone()).mul_scalar(ADDED_GAIN);
                Tensor::cat(vec![added, enlarged.clone()], 1)
            }
            None => picture,
        }
    }
}

/// Timesteps with their noise and levels.
pub(super) struct Look {
    pub(super) timesteps: Vec<f32>,
    noise: Tensor<4>,
    pub(super) levels: NoiseLevels,
}

/// Takes the name and the value of a loss.
pub(super) trait Add: FnMut(&str, &Tensor<1>) {}

impl<F: FnMut(&str, &Tensor<1>)> Add for F {}

impl Look {
    pub(super) fn noisy(&self, latent: Tensor<4>) -> Tensor<4> {
        self.levels.add_noise(latent, self.noise.clone())
    }
}

impl Distill<'_> {
    /// The losses before the step, the generator's first.
    pub(super) fn take_step(&mut self) -> Result<Scores> {
        let (training, step) = (self.config.training, self.state.step);
        let share = 1.0 / training.accumulation as f64;
        let batches = self.batches()?;
        let factor = Schedule::Cosine { warmup: training.warmup, steps: training.steps }.factor(step);
        let mut scores = vec![("generator", 0.0), ("score", 0.0), ("adversarial", 0.0), ("alignment", 0.0)];
        scores.extend([("fake", 0.0), ("real", 0.0), ("discriminator", 0.0)]);
        scores.extend([("critic", 0.0), ("pictures", 0.0), ("anchor", 0.0), ("perceptual", 0.0)]);
        let mut add = |name: &str, value: &Tensor<1>| {
            let value = share * f64::from(value.clone().into_scalar::<f32>());
            scores.iter_mut().filter(|(known, _)| *known == name).for_each(|(_, sum)| *sum += value);
        };
        self.with_state(|this, state| {
            batches.iter().try_for_each(|batch| this.teach_scores(state, batch, share, &mut add))
        })?;
        for name in [FAKE, REAL, HEAD, CRITIC] {
            if let Ok(part) = self.state.part(name) {
                part.update(factor)?;
            }
        }
        self.with_state(|this, state| {
            batches.iter().try_for_each(|batch| this.teach_generator(state, batch, share, &mut add))
        })?;
        let norm = self.state.part(GENERATOR)?.update(factor)?;
        if let Ok(part) = self.state.part(PROJECTOR) {
            part.update(factor)?;
        }
        scores.push(("gradient_norm", norm));
        Ok(scores)
    }

    /// Lets `work` change the state while it looks at everything else.
    fn with_state<T>(&mut self, work: impl FnOnce(&Self, &mut State) -> Result<T>) -> Result<T> {
        let mut state = std::mem::take(&mut self.state);
        let result = work(self, &mut state);
        self.state = state;
        result
    }

    fn batches(&mut self) -> Result<Vec<Batch>> {
        let (training, step, seed) = (self.config.training, self.state.step, self.config.seed);
        let count = training.batch * training.accumulation;
        let picks = match &self.cached {
            Some(cached) => cached.picks(seed, step, count),
            None => picks(seed, step, count, &self.pairs),
        };
        let mut draws = [Stream::Diffusion, Stream::Learning].map(|stream| draws(seed, stream, step));
        picks.chunks(training.batch).map(|picks| self.batch(picks, &mut draws)).collect()
    }

    fn batch(&self, picks: &[Pick], [of_look, of_learn]: &mut [Draws; 2]) -> Result<Batch> {
        let latents = match &self.cached {
            Some(cached) => cached.read(picks, &self.device)?,
            None => encode(&self.pairs, picks, &self.space, &self.target, &self.device)?,
        };
        let Latents { low, sharp, features: encoded } = latents;
        let features = match (self.projector.is_some(), encoded) {
            (true, None) => Some(self.own_features(&sharp)?),
            (_, encoded) => encoded,
        };
        let target = match &self.config.anchor {
            None => None,
            Some(anchor) => Some(self.pairs.targets(picks, anchor.teacher.as_ref(), &self.device)?),
        };
        let look = |draws: &mut Draws, range| {
            let (timesteps, noise) = diffusion(draws, range, sharp.dims(), &self.device);
            let levels = self.schedule.levels(&timesteps, &sharp);
            Look { timesteps: timesteps.into_iter().map(|t| t as f32).collect(), noise, levels }
        };
        let (look, learn) = (look(of_look, self.config.loss.timesteps), look(of_learn, ALL_TIMESTEPS));
        let picture = match self.decoder.is_some() {
            true => Some(self.pairs.sharp(picks, &self.device)?),
            false => None,
        };
        let seeing = self.config.discriminator.filter(|judge| judge.sees_input).zip(self.decoder.as_ref());
        let enlarged = seeing.map(|(judge, decoder)| judge.seen(decoder.decode(low.clone()).detach()));
        Ok(Batch { low, sharp, features, picture, target, enlarged, look, learn })
    }

    /// Features of the base model for clean latents: to align with where the space has no encoder.
    fn own_features(&self, sharp: &Tensor<4>) -> Result<Tensor<4>> {
        let base = self.base.clone().no_grad();
        let told = || self.told(false);
        Ok(recompute::activation(Saving::Nothing, &base.parts(&[0.0], &told)?, sharp.clone(), ALIGNED)
            .detach())
    }

    /// What score networks are told: the positive embedding, or the negative one.
    pub(super) fn told(&self, negative: bool) -> Option<Tensor<3>> {
        self.prompts.as_ref().map(|prompts| prompts.batch(usize::from(negative), 1))
    }

    /// z_g of the present generator, not tracked.
    fn generated(&self, state: &mut State, batch: &Batch) -> Result<Tensor<4>> {
        let Generator { adapted, template, prompts, .. } = &self.generator;
        let unet = adapted.load(state.part(GENERATOR)?, template, &self.device)?.fixed;
        Ok(self.generator.generate(&unet, prompts.as_ref(), &batch.low)?.detach())
    }

    /// Logits of noisy latents from features of `real`, a score network that is not tracked.
    fn judge(&self, head: &Head, real: &Unet, look: &Look, latent: Tensor<4>) -> Result<Tensor<4>> {
        head.judge(Saving::Nothing, real, &|| self.told(false), &look.timesteps, look.noisy(latent))
    }

    /// phi as the generator sees it: fixed.
    pub(super) fn fixed_real(&self, state: &mut State) -> Result<Unet> {
        match &self.real {
            Some(real) => Ok(real.load(state.part(REAL)?, &self.base, &self.device)?.fixed),
            None => Ok(self.base.clone().no_grad()),
        }
    }

    /// What the discriminator on pictures takes for real.
    fn real_picture(&self, batch: &Batch) -> Option<Tensor<4>> {
        match self.config.discriminator?.real {
            RealPicture::Sharp => batch.picture.clone(),
            RealPicture::Target => batch.target.clone(),
        }
    }

    /// psi learns z_g, phi learns z_h, the discriminators to tell them apart.
    fn teach_scores(&self, state: &mut State, batch: &Batch, share: f64, add: &mut impl Add) -> Result<()> {
        let generated = self.generated(state, batch)?;
        let targets = [
            (Some(&self.fake), FAKE, "fake", generated.clone()),
            (self.real.as_ref(), REAL, "real", batch.sharp.clone()),
        ];
        for (adapted, part, name, latent) in targets {
            let Some(adapted) = adapted else { continue };
            let network = adapted.load(state.part(part)?, &self.base, &self.device)?;
            let (learn, told) = (&batch.learn, || self.told(false));
            let loss = |noise: Tensor<4>, _| {
                let loss = denoising_loss(noise, learn.noise.clone());
                add(name, &loss);
                Ok(loss)
            };
            let mut take =
                |gradients: &mut Gradients| network.add_gradients(state.part(part)?, gradients, share);
            let parts = [
                &network.fixed.parts(&learn.timesteps, &told)?,
                &network.unet.parts(&learn.timesteps, &told)?,
            ];
            let (saving, noisy) = (Saving::parts(self.config.checkpointing), learn.noisy(latent));
            recompute::learn(saving, parts, noisy, &[], loss, &mut take)?;
        }
        if let Some(head) = self.head.clone() {
            let real = self.fixed_real(state)?;
            let head = state.part(HEAD)?.load(head)?;
            let right = self.judge(&head, &real, &batch.look, batch.sharp.clone())?;
            let wrong = self.judge(&head, &real, &batch.look, generated.clone())?;
            let loss = discriminator_loss(right, wrong);
            add("discriminator", &loss);
            state.part(HEAD)?.add_gradients(&head, &mut loss.backward(), share)?;
        }
        if let (Some(critic), Some(judge), Some(decoder), Some(real)) =
            (self.critic.clone(), self.config.discriminator, &self.decoder, self.real_picture(batch))
        {
            let made = decoder.decode(generated);
            let critic = state.part(CRITIC)?.load(critic)?;
            let logits = |picture| critic.forward(judge.shown(picture, batch));
            let loss = discriminator_loss(logits(real), logits(made));
            add("critic", &loss);
            state.part(CRITIC)?.add_gradients(&critic, &mut loss.backward(), share)?;
        }
        Ok(())
    }
}
