//! What the generator learns, with the graph of one part of one network at a time if asked.

use super::{
    RealPicture, ScoreTerms,
    networks::{Head, JUDGED},
    run::{CRITIC, Distill, FAKE, GENERATOR, HEAD, PROJECTOR},
    step::{Add, Batch, Look},
};
use crate::{
    Result, alignment_loss,
    base::ALIGNED,
    discriminator::PatchDiscriminator,
    generator_loss, guide,
    latent_space::Decoder,
    recompute::{self, Run, Saving, Seen, leaf},
    regress::loss as anchored,
    repa::tokens,
    trainer::State,
};
use burn::{
    module::Module,
    tensor::{Gradients, Tensor},
};
use gendr_model::{DecoderParts, Unet};

/// What the score networks say of z_t.
#[derive(Clone)]
struct Opinions {
    /// The noise that phi predicts, and its features for the discriminator.
    positive: Tensor<4>,
    judged: Option<Tensor<4>>,
    /// What phi predicts under the negative embedding, where it is guided.
    negative: Option<Tensor<4>>,
    /// The noise that psi predicts.
    fake: Tensor<4>,
}

/// The networks that the generator learns from, all fixed.
struct Judges {
    real: Unet,
    fake: Unet,
    head: Option<Head>,
    critic: Option<PatchDiscriminator>,
}

impl Distill<'_> {
    /// The generator learns from the score networks as they now are.
    pub(super) fn teach_generator(
        &self,
        state: &mut State,
        batch: &Batch,
        share: f64,
        add: &mut impl Add,
    ) -> Result<()> {
        let (saving, setting) = (self.config.checkpointing, &self.generator);
        let judges = self.judges(state)?;
        let generator = setting.adapted.load(state.part(GENERATOR)?, &setting.template, &self.device)?;
        let projector = match &self.projector {
            Some(template) => Some(state.part(PROJECTOR)?.load(template.clone())?),
            None => None,
        };
        let loss = |output: Tensor<4>, mut seen: Seen| {
            let generated = setting.completed(&batch.low, output);
            let mut total = match saving {
                // Its gradient at z_g is the direction.
                true => (generated.clone() * self.direction(batch, generated.detach(), &judges, add)?).sum(),
                false => {
                    let total = self.loss(batch, &generated, &judges, add)?;
                    add("generator", &total);
                    total
                }
            };
            if let (Some(projector), Some(sharp)) = (&projector, batch.features.clone()) {
                let feature = recompute::found(&mut seen, ALIGNED)?;
                let alignment = alignment_loss(projector.forward(feature), tokens(sharp));
                add("alignment", &alignment);
                let alignment = alignment * self.config.alignment();
                add("generator", &alignment);
                total = total + alignment;
            }
            Ok(total)
        };
        let mut take = |gradients: &mut Gradients| {
            generator.add_gradients(state.part(GENERATOR)?, gradients, share)?;
            match &projector {
                Some(projector) => state.part(PROJECTOR)?.add_gradients(projector, gradients, share),
                None => Ok(()),
            }
        };
        let timesteps = [setting.timestep()];
        let told = || setting.prompts.as_ref().map(|prompts| prompts.batch(0, 1));
        let parts = [&generator.fixed.parts(&timesteps, &told)?, &generator.unet.parts(&timesteps, &told)?];
        recompute::learn(Saving::parts(saving), parts, setting.input(&batch.low), &[ALIGNED], loss, &mut take)
    }

    fn judges(&self, state: &mut State) -> Result<Judges> {
        let head = match &self.head {
            Some(head) => Some(state.part(HEAD)?.load(head.clone())?.no_grad()),
            None => None,
        };
        let critic = match &self.critic {
            Some(critic) => Some(state.part(CRITIC)?.load(critic.clone())?.no_grad()),
            None => None,
        };
        let fake = self.fake.load(state.part(FAKE)?, &self.base, &self.device)?.fixed;
        Ok(Judges { real: self.fixed_real(state)?, fake, head, critic })
    }

    /// What the generator minimises, but for the alignment, in one graph.
    fn loss(
        &self,
        batch: &Batch,
        generated: &Tensor<4>,
        judges: &Judges,
        add: &mut impl Add,
    ) -> Result<Tensor<1>> {
        let noisy = batch.look.noisy(generated.clone());
        let run = |unet: &Unet, negative: bool| self.run(unet, &batch.look, noisy.clone(), negative);
        let positive = run(&judges.real, false)?;
        let opinions = Opinions {
            judged: positive.seen.get(JUDGED).cloned(),
            positive: positive.output,
            negative: if self.guided() { Some(run(&judges.real, true)?.output) } else { None },
            fake: run(&judges.fake, false)?.output,
        };
        let mut total = self.scores(batch, generated, opinions, judges, add);
        if let Some(decoder) = &self.decoder {
            let pictures = self.losses_on_pictures(batch, decoder.decode(generated.clone()), judges, add)?;
            total = pictures.into_iter().fold(total, |total, value| total + value);
        }
        Ok(total)
    }

    /// The score term and the adversarial term.
    fn scores(
        &self,
        batch: &Batch,
        generated: &Tensor<4>,
        opinions: Opinions,
        judges: &Judges,
        add: &mut impl Add,
    ) -> Tensor<1> {
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
        if let Some(head) = &judges.head {
            let adversarial = generator_loss(head.forward(judged.unwrap_or(positive)));
            add("adversarial", &adversarial);
            total = total + adversarial * config.adversarial();
        }
        total
    }

    /// The pixel loss, the perceptual term, the discriminator on pictures and the anchor, where there are any.
    fn losses_on_pictures(
        &self,
        batch: &Batch,
        output: Tensor<4>,
        judges: &Judges,
        add: &mut impl Add,
    ) -> Result<Option<Tensor<1>>> {
        let config = self.config;
        let (Some(decoder), Some(picture)) = (&self.decoder, &batch.picture) else { return Ok(None) };
        let mut terms = Vec::new();
        if config.loss.pixel > 0.0 {
            terms.push((output.clone() - picture.clone()).powi_scalar(2).mean() * config.loss.pixel);
        }
        if let Some(perceptual) = &self.perceptual {
            let value = perceptual.distance(decoder.autoencoder(), output.clone(), picture.clone())?;
            add("perceptual", &value);
            terms.push(value * perceptual.weight);
        }
        if let (Some(anchor), Some(target)) = (&config.anchor, &batch.target) {
            let unit = |picture: &Tensor<4>| picture.clone().add_scalar(1.0).mul_scalar(0.5);
            let value = anchor.losses().into_iter().map(|(loss, led_by)| {
                let target = if led_by == RealPicture::Sharp { picture } else { target };
                anchored(&loss, self.space.factor(), &unit(&output), &unit(target))
            });
            let value = value.reduce(|a, b| a + b).expect("an anchor has losses");
            add("anchor", &value);
            terms.push(value);
        }
        if let (Some(critic), Some(judge)) = (&judges.critic, config.discriminator) {
            let value = generator_loss(critic.forward(judge.shown(output, batch)));
            add("pictures", &value);
            terms.push(value * judge.weight);
        }
        Ok(terms.into_iter().reduce(|a, b| a + b))
    }

    /// The gradient of the loss at `generated`, which is not tracked. Networks run without graph first; the loss's gradient at
    /// their outputs then goes back through one part of one of them at a time.
    fn direction(
        &self,
        batch: &Batch,
        generated: Tensor<4>,
        judges: &Judges,
        add: &mut impl Add,
    ) -> Result<Tensor<4>> {
        let noisy = batch.look.noisy(generated.clone());
        let run = |unet: &Unet, negative: bool| self.run(unet, &batch.look, noisy.clone(), negative);
        let positive = run(&judges.real, false)?;
        let negative = if self.guided() { Some(run(&judges.real, true)?) } else { None };
        let fake = run(&judges.fake, false)?;
        let judged = positive.seen.get(JUDGED).filter(|_| judges.head.is_some());
        let leaves = Opinions {
            judged: judged.cloned().map(leaf),
            positive: leaf(positive.output.clone()),
            negative: negative.as_ref().map(|negative| leaf(negative.output.clone())),
            fake: leaf(fake.output.clone()),
        };
        let generated = leaf(generated);
        let total = self.scores(batch, &generated, leaves.clone(), judges, add);
        let mut value = total.clone().detach();
        let mut gradients = total.backward();
        let mut at = |x: &Tensor<4>| taken(x, &mut gradients);
        let mut direction = at(&generated).unwrap_or_else(|| generated.zeros_like().detach());
        let judged = leaves.judged.as_ref().and_then(&mut at);
        let negative = negative.zip(leaves.negative.as_ref().and_then(&mut at));
        let walks = [
            (Some((positive, at(&leaves.positive))), &judges.real, false, judged),
            (negative.map(|(run, gradient)| (run, Some(gradient))), &judges.real, true, None),
            (Some((fake, at(&leaves.fake))), &judges.fake, false, None),
        ];
        for (run, unet, negative, judged) in walks {
            let Some((run, gradient)) = run else { continue };
            let seen = judged.into_iter().map(|judged| (JUDGED.to_owned(), judged)).collect();
            let told = || self.told(negative);
            let parts = unet.parts(&batch.look.timesteps, &told)?;
            if let Some(gradient) = run.walk_back(&parts, gradient, seen, &mut |_| Ok(()))? {
                direction = direction + gradient.autodiff() * batch.look.levels.signal.clone();
            }
        }
        if let Some(decoder) = &self.decoder {
            let (losses, gradient) = self.direction_of_pictures(decoder, batch, generated, judges, add)?;
            value = losses.into_iter().fold(value, |value, losses| value + losses);
            direction = gradient.into_iter().fold(direction, |direction, gradient| direction + gradient);
        }
        add("generator", &value);
        Ok(direction)
    }

    /// The value of the losses on pictures, and its gradient at `generated`.
    fn direction_of_pictures(
        &self,
        decoder: &Decoder,
        batch: &Batch,
        generated: Tensor<4>,
        judges: &Judges,
        add: &mut impl Add,
    ) -> Result<(Option<Tensor<1>>, Option<Tensor<4>>)> {
        let generated = leaf(generated);
        let (latent, run) = match decoder {
            Decoder::Patches(patches) => (patches.decode(generated.clone()), None),
            Decoder::Autoencoder(network) => {
                let latent = network.unscale(generated.clone());
                let run = recompute::run(&DecoderParts(network), latent.clone().detach(), &[]);
                (latent, Some((network, run)))
            }
        };
        let output = leaf(run.as_ref().map_or_else(|| latent.clone(), |(_, run)| run.output.clone()));
        let Some(losses) = self.losses_on_pictures(batch, output.clone(), judges, add)? else {
            return Ok((None, None));
        };
        let value = losses.clone().detach();
        let at_output = taken(&output, &mut losses.backward());
        let at_latent = match run {
            None => at_output,
            Some((network, run)) => {
                run.walk_back(&DecoderParts(network), at_output, Seen::new(), &mut |_| Ok(()))?
            }
        };
        let gradient = match at_latent {
            Some(towards) => taken(&generated, &mut (latent * towards.autodiff()).sum().backward()),
            None => None,
        };
        Ok((Some(value), gradient))
    }

    /// Whether phi runs under the negative embedding, too.
    fn guided(&self) -> bool {
        self.config.loss.guidance != 1.0
    }

    /// Runs a score network on z_t.
    fn run(&self, unet: &Unet, look: &Look, noisy: Tensor<4>, negative: bool) -> Result<Run> {
        let told = || self.told(negative);
        Ok(recompute::run(&unet.parts(&look.timesteps, &told)?, noisy, &[JUDGED]))
    }
}

/// The gradient of a leaf as a constant on its device; none where nothing depends on it.
fn taken(leaf: &Tensor<4>, gradients: &mut Gradients) -> Option<Tensor<4>> {
    Some(leaf.grad_remove(gradients)?.autodiff())
}
