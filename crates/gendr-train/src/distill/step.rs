//! One step of distillation: the score networks and the discriminator learn first, then the generator.

use super::{
    networks::Head,
    run::{CRITIC, Distill, FAKE, GENERATOR, HEAD, PROJECTOR, REAL},
};
use crate::{
    NoiseLevels, Result, Schedule,
    base::ALIGNED,
    batches::{Pick, picks},
    denoising_loss, discriminator_loss,
    noise::{Stream, diffusion, draws},
    prompts::Prompts,
    trainer::Scores,
};
use burn::{module::Module, tensor::Tensor};
use gendr_model::{Pass, Unet};

/// The layer whose output the discriminator looks at.
const JUDGED: &str = "mid_block";
/// Timesteps that score networks learn at.
const ALL_TIMESTEPS: [usize; 2] = [0, 1000];

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
    /// For the score term and the discriminator.
    pub(super) look: Look,
    /// For the score networks' own learning.
    learn: Look,
}

/// Timesteps with their noise and levels.
pub(super) struct Look {
    pub(super) timesteps: Vec<f32>,
    noise: Tensor<4>,
    pub(super) levels: NoiseLevels,
}

/// A UNet's prediction, and its features for the discriminator.
pub(super) struct Prediction {
    pub(super) noise: Tensor<4>,
    pub(super) judged: Option<Tensor<4>>,
}

/// What `unet` makes of `x` under the positive embedding, or the negative one, and the outputs of named layers.
pub(super) fn observed<const N: usize>(
    unet: &Unet,
    prompts: Option<&Prompts>,
    x: Tensor<4>,
    timesteps: &[f32],
    negative: bool,
    layers: [&str; N],
) -> Result<(Tensor<4>, [Option<Tensor<4>>; N])> {
    let told = prompts.map(|prompts| prompts.batch(usize::from(negative), 1));
    let conditioning = unet.condition(timesteps, told)?;
    let mut found = [const { None }; N];
    let mut observe = |name: &str, x: &Tensor<4>| {
        if let Some(place) = layers.iter().position(|layer| *layer == name) {
            found[place] = Some(x.clone());
        }
    };
    let output = unet.forward_pass(x, &conditioning, &mut Pass::whole().observed(&mut observe));
    Ok((output, found))
}

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
        scores.extend([("critic", 0.0), ("pictures", 0.0), ("anchor", 0.0)]);
        let mut add = |name: &str, value: &Tensor<1>| {
            let value = share * f64::from(value.clone().into_scalar::<f32>());
            scores.iter_mut().filter(|(known, _)| *known == name).for_each(|(_, sum)| *sum += value);
        };
        for batch in &batches {
            self.teach_scores(batch, share, &mut add)?;
        }
        for name in [FAKE, REAL, HEAD, CRITIC] {
            if let Ok(part) = self.state.part(name) {
                part.update(factor)?;
            }
        }
        for batch in &batches {
            self.teach_generator(batch, share, &mut add)?;
        }
        let norm = self.state.part(GENERATOR)?.update(factor)?;
        if let Ok(part) = self.state.part(PROJECTOR) {
            part.update(factor)?;
        }
        scores.push(("gradient_norm", norm));
        Ok(scores)
    }

    fn batches(&mut self) -> Result<Vec<Batch>> {
        let (training, step, seed) = (self.config.training, self.state.step, self.config.seed);
        let picks = picks(seed, step, training.batch * training.accumulation, &self.pairs);
        let mut draws = draws(seed, Stream::Diffusion, step);
        picks.chunks(training.batch).map(|picks| self.batch(picks, &mut draws)).collect()
    }

    fn batch(&self, picks: &[Pick], draws: &mut gendr_degrade::Draws) -> Result<Batch> {
        let low = self.space.encode(self.pairs.enlarged(picks, &self.device)?);
        let picture = self.pairs.sharp(picks, &self.device)?;
        let (sharp, encoded) = self.space.encode_with_features(picture.clone())?;
        let features = match (self.projector.is_some(), encoded) {
            (true, None) => self.own_features(&sharp)?,
            (_, encoded) => encoded,
        };
        let target = match &self.config.anchor {
            None => None,
            Some(anchor) => {
                let share = anchor.teacher.as_ref().map_or(0.0, |teacher| teacher.share);
                Some(self.pairs.targets(picks, share, &self.device)?)
            }
        };
        let mut look = |range| {
            let (timesteps, noise) = diffusion(draws, range, sharp.dims(), &self.device);
            let levels = self.schedule.levels(&timesteps, &sharp);
            Look { timesteps: timesteps.into_iter().map(|t| t as f32).collect(), noise, levels }
        };
        let (look, learn) = (look(self.config.loss.timesteps), look(ALL_TIMESTEPS));
        let picture = self.decoder.is_some().then_some(picture);
        Ok(Batch { low, sharp, features, picture, target, look, learn })
    }

    /// Features of the base model for clean latents: to align with where the space has no encoder.
    fn own_features(&self, sharp: &Tensor<4>) -> Result<Option<Tensor<4>>> {
        let base = self.base.clone().no_grad();
        let (_, [aligned]) = observed(&base, self.prompts.as_ref(), sharp.clone(), &[0.0], false, [ALIGNED])?;
        Ok(aligned.map(Tensor::detach))
    }

    /// What a score network predicts under the positive embedding, or the negative one.
    pub(super) fn predict(
        &self,
        unet: &Unet,
        noisy: Tensor<4>,
        timesteps: &[f32],
        negative: bool,
    ) -> Result<Prediction> {
        let (noise, [judged]) = observed(unet, self.prompts.as_ref(), noisy, timesteps, negative, [JUDGED])?;
        Ok(Prediction { noise, judged })
    }

    /// z_g of z_l, and the generator's features.
    pub(super) fn generate(&self, unet: &Unet, low: &Tensor<4>) -> Result<(Tensor<4>, Option<Tensor<4>>)> {
        self.generator.generate(unet, self.generator.prompts.as_ref(), low)
    }

    /// z_g of the present generator, not tracked.
    pub(super) fn generated(&mut self, batch: &Batch) -> Result<Tensor<4>> {
        let generator = self.generator.clone();
        let generator = generator.adapted.load(self.state.part(GENERATOR)?, &generator.template, false)?;
        Ok(self.generate(&generator.unet, &batch.low)?.0.detach())
    }

    /// Logits of noisy latents from features of `real`, a score network that is not tracked.
    fn judge(&self, head: &Head, real: &Unet, look: &Look, latent: Tensor<4>) -> Result<Tensor<4>> {
        let prediction = self.predict(real, look.noisy(latent), &look.timesteps, false)?;
        let feature = prediction.judged.unwrap_or(prediction.noise);
        Ok(head.forward(feature))
    }

    /// phi as the generator sees it: fixed.
    pub(super) fn fixed_real(&mut self) -> Result<Unet> {
        match self.real.clone() {
            Some(real) => Ok(real.load(self.state.part(REAL)?, &self.base, false)?.unet),
            None => Ok(self.base.clone().no_grad()),
        }
    }

    /// psi learns z_g, phi learns z_h, the discriminator to tell them apart.
    fn teach_scores(
        &mut self,
        batch: &Batch,
        share: f64,
        add: &mut impl FnMut(&str, &Tensor<1>),
    ) -> Result<()> {
        let generated = self.generated(batch)?;
        let mut targets = vec![(Some(self.fake.clone()), FAKE, "fake", generated.clone())];
        targets.push((self.real.clone(), REAL, "real", batch.sharp.clone()));
        for (adapted, part, name, latent) in targets {
            let Some(adapted) = adapted else { continue };
            let network = adapted.load(self.state.part(part)?, &self.base, true)?;
            let learn = &batch.learn;
            let prediction = self.predict(&network.unet, learn.noisy(latent), &learn.timesteps, false)?;
            let loss = denoising_loss(prediction.noise, learn.noise.clone());
            add(name, &loss);
            network.add_gradients(self.state.part(part)?, &mut loss.backward(), share)?;
        }
        if let Some(head) = self.head.clone() {
            let real = self.fixed_real()?;
            let head = self.state.part(HEAD)?.load(head)?;
            let right = self.judge(&head, &real, &batch.look, batch.sharp.clone())?;
            let wrong = self.judge(&head, &real, &batch.look, generated.clone())?;
            let loss = discriminator_loss(right, wrong);
            add("discriminator", &loss);
            self.state.part(HEAD)?.add_gradients(&head, &mut loss.backward(), share)?;
        }
        if let (Some(critic), Some(decoder), Some(picture)) =
            (self.critic.clone(), &self.decoder, batch.picture.clone())
        {
            let made = decoder.decode(generated);
            let critic = self.state.part(CRITIC)?.load(critic)?;
            let loss = discriminator_loss(critic.forward(picture), critic.forward(made));
            add("critic", &loss);
            self.state.part(CRITIC)?.add_gradients(&critic, &mut loss.backward(), share)?;
        }
        Ok(())
    }
}
