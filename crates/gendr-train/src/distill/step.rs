//! One step of distillation: the score networks and the discriminator learn first, then the generator.

use super::{
    ScoreTerms,
    networks::Head,
    run::{Distill, FAKE, GENERATOR, HEAD, PROJECTOR, REAL},
};
use crate::{
    NoiseLevels, Result, Schedule, alignment_loss,
    base::ALIGNED,
    batches::{Pick, picks},
    denoising_loss, discriminator_loss, generator_loss, guide,
    noise::{Stream, diffusion, draws},
    repa::tokens,
    trainer::Scores,
};
use burn::{module::Module, tensor::Tensor};
use gendr_model::{Pass, Unet};

/// The layer whose output the discriminator looks at.
const JUDGED: &str = "mid_block";
/// Timesteps that score networks learn at.
const ALL_TIMESTEPS: [usize; 2] = [0, 1000];

/// One batch: latents, and where on the path to noise they are looked at.
struct Batch {
    /// z_l.
    low: Tensor<4>,
    /// z_h.
    sharp: Tensor<4>,
    /// The encoder's features of the sharp picture.
    features: Tensor<4>,
    /// The sharp picture, for the pixel anchor.
    picture: Option<Tensor<4>>,
    /// For the score term and the discriminator.
    look: Look,
    /// For the score networks' own learning.
    learn: Look,
}

/// Timesteps with their noise and levels.
struct Look {
    timesteps: Vec<f32>,
    noise: Tensor<4>,
    levels: NoiseLevels,
}

/// A UNet's prediction and features of it.
struct Prediction {
    noise: Tensor<4>,
    judged: Option<Tensor<4>>,
    aligned: Option<Tensor<4>>,
}

impl Look {
    fn noisy(&self, latent: Tensor<4>) -> Tensor<4> {
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
        let mut add = |name: &str, value: &Tensor<1>| {
            let value = share * f64::from(value.clone().into_scalar::<f32>());
            scores.iter_mut().filter(|(known, _)| *known == name).for_each(|(_, sum)| *sum += value);
        };
        for batch in &batches {
            self.teach_scores(batch, share, &mut add)?;
        }
        for name in [FAKE, REAL, HEAD] {
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
        let low = self.autoencoder.encode(self.pairs.enlarged(picks, &self.device)?);
        let picture = self.pairs.sharp(picks, &self.device)?;
        let (sharp, features) = self.autoencoder.encode_with_features(picture.clone())?;
        let mut look = |range| {
            let (timesteps, noise) = diffusion(draws, range, sharp.dims(), &self.device);
            let levels = self.schedule.levels(&timesteps, &sharp);
            Look { timesteps: timesteps.into_iter().map(|t| t as f32).collect(), noise, levels }
        };
        let (look, learn) = (look(self.config.loss.timesteps), look(ALL_TIMESTEPS));
        let picture = self.decoder.is_some().then_some(picture);
        Ok(Batch { low, sharp, features, picture, look, learn })
    }

    /// What `unet` predicts under the positive embedding, or the negative one.
    fn predict(
        &self,
        unet: &Unet,
        noisy: Tensor<4>,
        timesteps: &[f32],
        negative: bool,
    ) -> Result<Prediction> {
        let told = self.prompts.as_ref().map(|prompts| prompts.batch(usize::from(negative), 1));
        let conditioning = unet.condition(timesteps, told)?;
        let (mut judged, mut aligned) = (None, None);
        let mut observe = |name: &str, x: &Tensor<4>| match name {
            JUDGED => judged = Some(x.clone()),
            ALIGNED => aligned = Some(x.clone()),
            _ => (),
        };
        let noise = unet.forward_observed(noisy, &conditioning, Some(&mut observe));
        Ok(Prediction { noise, judged, aligned })
    }

    /// z_g, and the generator's features.
    fn generate(&self, unet: &Unet, low: &Tensor<4>) -> Result<(Tensor<4>, Prediction)> {
        let prediction = self.predict(unet, low.clone(), &[self.one_step.timestep], false)?;
        Ok((self.one_step.clean(low.clone(), prediction.noise.clone()), prediction))
    }

    /// Logits of noisy latents from features of `real`, a score network that is not tracked.
    fn judge(&self, head: &Head, real: &Unet, look: &Look, latent: Tensor<4>) -> Result<Tensor<4>> {
        let prediction = self.predict(real, look.noisy(latent), &look.timesteps, false)?;
        let feature = prediction.judged.unwrap_or(prediction.noise);
        Ok(head.forward(feature))
    }

    /// phi as the generator sees it: fixed.
    fn fixed_real(&mut self) -> Result<Unet> {
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
        let generator = self.generator.clone();
        let generator = generator.load(self.state.part(GENERATOR)?, &self.base, false)?;
        let generated = self.generate(&generator.unet, &batch.low)?.0.detach();
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
            let wrong = self.judge(&head, &real, &batch.look, generated)?;
            let loss = discriminator_loss(right, wrong);
            add("discriminator", &loss);
            self.state.part(HEAD)?.add_gradients(&head, &mut loss.backward(), share)?;
        }
        Ok(())
    }

    /// The generator learns from the score networks as they now are.
    fn teach_generator(
        &mut self,
        batch: &Batch,
        share: f64,
        add: &mut impl FnMut(&str, &Tensor<1>),
    ) -> Result<()> {
        let (config, loss) = (self.config, &self.config.loss);
        let real = self.fixed_real()?;
        let fake = self.fake.clone().load(self.state.part(FAKE)?, &self.base, false)?.unet;
        let adapted = self.generator.clone();
        let generator = adapted.load(self.state.part(GENERATOR)?, &self.base, true)?;
        let (generated, own) = self.generate(&generator.unet, &batch.low)?;

        let look = &batch.look;
        let noisy = look.noisy(generated.clone());
        let predict =
            |unet: &Unet, negative: bool| self.predict(unet, noisy.clone(), &look.timesteps, negative);
        let clean = |prediction: Tensor<4>| look.levels.clean(noisy.clone(), prediction);
        let positive = predict(&real, false)?;
        let plain = clean(positive.noise.clone());
        let guided = match loss.guidance == 1.0 {
            true => plain.clone(),
            false => clean(guide(predict(&real, true)?.noise, positive.noise.clone(), loss.guidance)),
        };
        let terms = ScoreTerms {
            generated: generated.clone(),
            sharp: batch.sharp.clone(),
            real_of_fisher: if loss.guide_fisher { guided.clone() } else { plain },
            real: guided,
            fake: clean(predict(&fake, false)?.noise),
        };
        let score = config.method.score_loss(loss.xi).value(&terms, loss.weighting);
        add("score", &score);
        let mut total = score * loss.lambda1;
        if let Some(head) = self.head.clone() {
            let head = self.state.part(HEAD)?.load(head)?.no_grad();
            let feature = positive.judged.unwrap_or(positive.noise);
            let adversarial = generator_loss(head.forward(feature));
            add("adversarial", &adversarial);
            total = total + adversarial * config.adversarial();
        }
        let mut projector = None;
        if let (Some(template), Some(feature)) = (self.projector.clone(), own.aligned) {
            let loaded = self.state.part(PROJECTOR)?.load(template)?;
            let alignment = alignment_loss(loaded.forward(feature), tokens(batch.features.clone()));
            add("alignment", &alignment);
            total = total + alignment * config.alignment();
            projector = Some(loaded);
        }
        if let (Some(decoder), Some(picture)) = (&self.decoder, &batch.picture) {
            let output = decoder.decode(decoder.unscale(generated), &mut Pass::whole());
            total = total + (output - picture.clone()).powi_scalar(2).mean() * loss.pixel;
        }
        add("generator", &total);
        let mut gradients = total.backward();
        generator.add_gradients(self.state.part(GENERATOR)?, &mut gradients, share)?;
        if let Some(projector) = projector {
            self.state.part(PROJECTOR)?.add_gradients(&projector, &mut gradients, share)?;
        }
        Ok(())
    }
}
