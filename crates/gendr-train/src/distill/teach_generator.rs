//! What the generator learns, with the graph of one network at a time if asked.

use super::{
    ScoreTerms,
    run::{CRITIC, Distill, FAKE, GENERATOR, HEAD, PROJECTOR},
    step::{Batch, Prediction},
};
use crate::{Error, Result, alignment_loss, generator_loss, guide, regress::loss as anchored, repa::tokens};
use burn::{
    module::Module,
    tensor::{Gradients, Tensor},
};
use gendr_model::Unet;

/// What the score networks say of z_t.
struct Opinions {
    /// The noise that phi predicts, and its features for the discriminator.
    positive: Tensor<4>,
    judged: Option<Tensor<4>>,
    /// What phi predicts under the negative embedding, where it is guided.
    negative: Option<Tensor<4>>,
    /// The noise that psi predicts.
    fake: Tensor<4>,
}

/// Takes the name and the value of a loss.
pub(super) trait Add: FnMut(&str, &Tensor<1>) {}

impl<F: FnMut(&str, &Tensor<1>)> Add for F {}

impl Distill<'_> {
    /// The generator learns from the score networks as they now are.
    pub(super) fn teach_generator(&mut self, batch: &Batch, share: f64, add: &mut impl Add) -> Result<()> {
        let direction = match self.config.checkpointing {
            false => None,
            true => {
                let generated = self.generated(batch)?;
                let (real, fake) = self.score_networks()?;
                Some(self.direction(batch, generated, &real, &fake, add)?)
            }
        };
        let generator = self.generator.clone();
        let generator = generator.adapted.load(self.state.part(GENERATOR)?, &generator.template, true)?;
        let (generated, aligned) = self.generate(&generator.unet, &batch.low)?;
        let mut total = match direction {
            // Its gradient at z_g is the direction.
            Some(direction) => (generated * direction).sum(),
            None => {
                let (real, fake) = self.score_networks()?;
                let noisy = batch.look.noisy(generated.clone());
                let opinions = self.opinions(batch, &noisy, &real, &fake)?;
                let total = self.loss(batch, &generated, opinions, add)?;
                add("generator", &total);
                total
            }
        };
        let mut projector = None;
        if let (Some(template), Some(feature), Some(sharp)) =
            (self.projector.clone(), aligned, batch.features.clone())
        {
            let loaded = self.state.part(PROJECTOR)?.load(template)?;
            let alignment = alignment_loss(loaded.forward(feature), tokens(sharp));
            add("alignment", &alignment);
            let alignment = alignment * self.config.alignment();
            add("generator", &alignment);
            total = total + alignment;
            projector = Some(loaded);
        }
        let mut gradients = total.backward();
        generator.add_gradients(self.state.part(GENERATOR)?, &mut gradients, share)?;
        if let Some(projector) = projector {
            self.state.part(PROJECTOR)?.add_gradients(&projector, &mut gradients, share)?;
        }
        Ok(())
    }

    /// phi and psi as the generator sees them: fixed.
    fn score_networks(&mut self) -> Result<(Unet, Unet)> {
        let fake = self.fake.clone().load(self.state.part(FAKE)?, &self.base, false)?.unet;
        Ok((self.fixed_real()?, fake))
    }

    fn opinions(&self, batch: &Batch, noisy: &Tensor<4>, real: &Unet, fake: &Unet) -> Result<Opinions> {
        let predict =
            |unet: &Unet, negative: bool| self.predict(unet, noisy.clone(), &batch.look.timesteps, negative);
        let Prediction { noise: positive, judged, .. } = predict(real, false)?;
        let negative = match self.config.loss.guidance == 1.0 {
            true => None,
            false => Some(predict(real, true)?.noise),
        };
        let judged = judged.filter(|_| self.head.is_some());
        Ok(Opinions { positive, judged, negative, fake: predict(fake, false)?.noise })
    }

    /// What the generator minimises, but for the alignment.
    fn loss(
        &mut self,
        batch: &Batch,
        generated: &Tensor<4>,
        opinions: Opinions,
        add: &mut impl Add,
    ) -> Result<Tensor<1>> {
        let (config, loss, look) = (self.config, &self.config.loss, &batch.look);
        let Opinions { positive, judged, negative, fake } = opinions;
        let noisy = look.noisy(generated.clone());
        let clean = |prediction: Tensor<4>| look.levels.clean(noisy.clone(), prediction);
        let plain = clean(positive.clone());
        let guided = match negative {
            None => plain.clone(),
            Some(negative) => clean(guide(negative, positive.clone(), loss.guidance)),
        };
        let terms = ScoreTerms {
            generated: generated.clone(),
            sharp: batch.sharp.clone(),
            real_of_fisher: if loss.guide_fisher { guided.clone() } else { plain },
            real: guided,
            fake: clean(fake),
        };
        let score = config.method.score_loss(loss.xi).value(&terms, loss.weighting);
        add("score", &score);
        let mut total = score * loss.lambda1;
        if let Some(head) = self.head.clone() {
            let head = self.state.part(HEAD)?.load(head)?.no_grad();
            let adversarial = generator_loss(head.forward(judged.unwrap_or(positive)));
            add("adversarial", &adversarial);
            total = total + adversarial * config.adversarial();
        }
        match self.losses_on_pictures(batch, generated, add)? {
            Some(pictures) => Ok(total + pictures),
            None => Ok(total),
        }
    }

    /// The pixel loss, the discriminator on pictures and the anchor, where there are any.
    fn losses_on_pictures(
        &mut self,
        batch: &Batch,
        generated: &Tensor<4>,
        add: &mut impl Add,
    ) -> Result<Option<Tensor<1>>> {
        let config = self.config;
        let (Some(decoder), Some(picture)) = (&self.decoder, &batch.picture) else { return Ok(None) };
        let output = decoder.decode(generated.clone());
        let mut terms = Vec::new();
        if config.loss.pixel > 0.0 {
            terms.push((output.clone() - picture.clone()).powi_scalar(2).mean() * config.loss.pixel);
        }
        if let (Some(anchor), Some(target)) = (&config.anchor, &batch.target) {
            let unit = |picture: &Tensor<4>| picture.clone().add_scalar(1.0).mul_scalar(0.5);
            let value = anchored(&anchor.loss, self.space.factor(), &unit(&output), &unit(target));
            add("anchor", &value);
            terms.push(value);
        }
        if let (Some(critic), Some(judge)) = (self.critic.clone(), config.discriminator) {
            let critic = self.state.part(CRITIC)?.load(critic)?.no_grad();
            let value = generator_loss(critic.forward(output));
            add("pictures", &value);
            terms.push(value * judge.weight);
        }
        Ok(terms.into_iter().reduce(|a, b| a + b))
    }

    /// The gradient of the loss at `generated`, which is not tracked. Networks run once without graph; the loss's gradient at their
    /// outputs then goes back through one of them at a time, run again.
    fn direction(
        &mut self,
        batch: &Batch,
        generated: Tensor<4>,
        real: &Unet,
        fake: &Unet,
        add: &mut impl Add,
    ) -> Result<Tensor<4>> {
        let noisy = batch.look.noisy(generated.clone());
        let said = self.opinions(batch, &noisy, real, fake)?;
        let leaf = |x: Tensor<4>| x.detach().require_grad();
        let leaves = Opinions {
            positive: leaf(said.positive),
            judged: said.judged.map(leaf),
            negative: said.negative.map(leaf),
            fake: leaf(said.fake),
        };
        let generated = leaf(generated);
        let copies = Opinions {
            positive: leaves.positive.clone(),
            judged: leaves.judged.clone(),
            negative: leaves.negative.clone(),
            fake: leaves.fake.clone(),
        };
        let total = self.loss(batch, &generated, copies, add)?;
        add("generator", &total);
        let mut gradients = total.backward();
        let mut at = |x: &Tensor<4>| taken(x, &mut gradients);
        let mut direction = at(&generated).unwrap_or_else(|| generated.zeros_like().detach());
        let negative = leaves.negative.as_ref().and_then(&mut at);
        let back = [
            (real, false, at(&leaves.positive), leaves.judged.as_ref().and_then(&mut at)),
            (real, true, negative, None),
            (fake, false, at(&leaves.fake), None),
        ];
        for (unet, negative, noise, judged) in back {
            if noise.is_none() && judged.is_none() {
                continue;
            }
            let noisy = leaf(noisy.clone());
            let prediction = self.predict(unet, noisy.clone(), &batch.look.timesteps, negative)?;
            let walks = [(Some(prediction.noise), noise), (prediction.judged, judged)];
            let walks = walks.into_iter().filter_map(|(output, towards)| Some((output? * towards?).sum()));
            let walk = walks.reduce(|a, b| a + b).ok_or_else(|| Error::argument("features are missing"))?;
            if let Some(gradient) = taken(&noisy, &mut walk.backward()) {
                direction = direction + gradient * batch.look.levels.signal.clone();
            }
        }
        Ok(direction)
    }
}

/// The gradient of a leaf as a constant on its device; none where nothing depends on it.
fn taken(leaf: &Tensor<4>, gradients: &mut Gradients) -> Option<Tensor<4>> {
    Some(leaf.grad_remove(gradients)?.autodiff())
}
