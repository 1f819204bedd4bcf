//! One restoration from picture to picture: enlarge, encode, one pass of the network, decode, colours, size.

use std::{cell::Cell, slice, time::Instant};

use burn::tensor::Tensor;
use gendr_image::{Notice, Picture, Planes, Resampling, apply_color_fix, pad_reflect_to, resize, upscale};
use gendr_model::{
    AutoencoderKl, Counted, GuidedPass, LatentModel, Pass, RestorationModel, RrdbNet, TileWindow, join_tiles,
};

use crate::{
    CancelFlag, Cutting, Error, Observer, Progress, RestoreOptions, Restorer, Result, Stage, Timings,
    fast_vae::FastVae,
    pixels::{Range, to_planes, to_tensor},
    plan::{ATTENTION_WINDOW, NetworkPass, Plan, VaePass},
    retry::with_smaller_tiles,
};

/// A restored picture.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The picture, in the depth, colour space and with the metadata of the source.
    pub picture: Picture,
    /// What could not be kept.
    pub notices: Vec<Notice>,
    /// How long it took.
    pub timings: Timings,
    /// Tiles the network worked on.
    pub tiles: usize,
    /// How the picture was cut.
    pub cutting: Cutting,
}

impl Restorer {
    /// Restores `picture` as `options` ask; `observer` is told how far the work is, `cancel` stops it after a tile.
    ///
    /// The result depends on the picture, the model and the options alone, not on the number of threads.
    ///
    /// # Errors
    /// Argument errors as [`Restorer::check`]; a limit error, with the number of bytes needed, where the memory does not
    /// suffice; a cancelled error.
    pub fn restore(
        &self,
        picture: &Picture,
        options: &RestoreOptions,
        observer: &dyn Observer,
        cancel: &CancelFlag,
    ) -> Result<Restored> {
        self.check(options)?;
        let memory = self.memory(options);
        let plan = |options: &RestoreOptions| {
            Plan::new(&self.model, (picture.width(), picture.height()), options, memory)
        };
        let (mut restored, notice) = with_smaller_tiles(options, plan(options)?.tile_side(), |options| {
            let plan = plan(options)?;
            let run = Run { restorer: self, plan, options, observer, cancel, timings: Timings::default() };
            self.on_threads(|| run.restore(picture))
        })?;
        restored.notices.extend(notice);
        Ok(restored)
    }
}

/// A restoration under way.
struct Run<'a> {
    restorer: &'a Restorer,
    plan: Plan,
    options: &'a RestoreOptions,
    observer: &'a dyn Observer,
    cancel: &'a CancelFlag,
    timings: Timings,
}

impl Run<'_> {
    fn restore(mut self, picture: &Picture) -> Result<Restored> {
        let start = Instant::now();
        let space = picture.color_space();
        let mut source = visible_color(picture);
        if let Some(space) = &space {
            space.to_srgb(&mut source);
        }
        // Networks know sRGB alone; what lies outside is enlarged plainly and added to what they make.
        let beyond = source.split_beyond();
        let size = (source.width(), source.height());
        let enlarged = upscale(&source, self.plan.working.0, self.plan.working.1)?;
        let (target, fidelity) = (self.plan.target, self.options.fidelity);
        let differs = fidelity > 0.0 && self.plan.working != target;
        let plain = differs.then(|| upscale(&source, target.0, target.1)).transpose()?;
        let generated = self.generate(source, &enlarged)?;
        let fix = self.options.color_fix.unwrap_or(self.restorer.color_fix);
        let fixed = apply_color_fix(fix, &generated, &enlarged, size)?;
        let plain = (fidelity > 0.0).then(|| plain.as_ref().unwrap_or(&enlarged));
        let mut color = mix(fit(fixed, target)?, plain, fidelity);
        if let Some(beyond) = beyond {
            color.add(&upscale(&beyond, target.0, target.1)?);
        }
        if let Some(space) = &space {
            space.from_srgb(&mut color);
        }
        if picture.grey {
            make_grey(&mut color);
        }
        let alpha = picture.alpha.as_ref().map(|alpha| enlarge_alpha(alpha, target)).transpose()?;
        self.timings.total = start.elapsed();
        Ok(Restored {
            picture: Picture {
                color,
                alpha,
                grey: picture.grey,
                depth: picture.depth,
                format: picture.format,
                metadata: picture.metadata.clone(),
                notices: Vec::new(),
            },
            notices: picture.notices.clone(),
            timings: self.timings,
            tiles: self.plan.tiles.count(),
            cutting: self.plan.cutting(self.restorer.has_autoencoder()),
        })
    }

    /// What the networks make of the picture, at the working size, in `[0, 1]`.
    fn generate(&mut self, source: Planes, enlarged: &Planes) -> Result<Planes> {
        let guidance = f64::from(self.options.guidance);
        let (tensor, range) = match &self.restorer.model.networks {
            RestorationModel::Latent(model) => {
                let picture = self.padded(enlarged)?;
                let latent = self.stage(Stage::Encode, |run| run.encode(model, picture))?;
                let clean = self.stage(Stage::Network, |run| {
                    run.through_network(|tiles, pass| {
                        Ok(model.restore_latent(cut(tiles, &latent, 1), guidance, pass)?)
                    })
                })?;
                let pixels = self.stage(Stage::Decode, |run| run.decode(&model.autoencoder, clean))?;
                (pixels, Range::Signed)
            }
            RestorationModel::Adc(model) => {
                let (picture, patch) = (self.padded(enlarged)?, model.pix.patch);
                let clean = self.stage(Stage::Network, |run| {
                    run.through_network(|tiles, pass| {
                        Ok(model.restore_latent(cut(tiles, &picture, patch), guidance, pass)?)
                    })
                })?;
                let pixels = self.stage(Stage::Decode, |run| run.decode(&model.autoencoder, clean))?;
                (pixels, Range::Signed)
            }
            RestorationModel::Pix(model) => {
                let picture = self.padded(enlarged)?;
                let pixels = self.stage(Stage::Network, |run| {
                    run.through_network(|tiles, pass| {
                        Ok(model.restore(cut(tiles, &picture, 1), guidance, pass)?)
                    })
                })?;
                (pixels, Range::Signed)
            }
            RestorationModel::Rrdb(network) => {
                (self.upscale(source, RrdbNet::SCALE, |part| network.forward(part))?, Range::Unit)
            }
            RestorationModel::Compact(network) => {
                (self.upscale(source, network.scale(), |part| network.forward(part))?, Range::Unit)
            }
        };
        to_planes(tensor, range, self.plan.working)
    }

    /// The enlarged picture as networks take it: padded by reflection to whole steps, in `[-1, 1]`.
    fn padded(&self, enlarged: &Planes) -> Result<Tensor<4>> {
        let (width, height) = self.plan.padded;
        Ok(to_tensor(pad_reflect_to(enlarged, width, height)?, Range::Signed, &self.restorer.tensors))
    }

    fn encode(&self, model: &LatentModel, picture: Tensor<4>) -> Result<Tensor<4>> {
        let watch = self.watch(Stage::Encode);
        Ok(match self.plan.vae {
            VaePass::Whole => model.encode(picture, &mut Pass::whole().watched(&watch)),
            VaePass::Layers(tile) => model.encode(picture, &mut Pass::tiled(tile).watched(&watch)),
            VaePass::Fast(tile) => FastVae { autoencoder: &model.autoencoder, tile }
                .encode(&picture, |done, total| self.part_done(Stage::Encode, done, total))?,
        })
    }

    fn decode(&self, autoencoder: &AutoencoderKl, latent: Tensor<4>) -> Result<Tensor<4>> {
        let latent = autoencoder.unscale(latent);
        let watch = self.watch(Stage::Decode);
        Ok(match self.plan.vae {
            VaePass::Whole => autoencoder.decode(latent, &mut Pass::whole().watched(&watch)),
            VaePass::Layers(tile) => autoencoder.decode(latent, &mut Pass::tiled(tile).watched(&watch)),
            VaePass::Fast(tile) => FastVae { autoencoder, tile }
                .decode(latent, |done, total| self.part_done(Stage::Decode, done, total))?,
        })
    }

    /// The picture made `scale` times as large by a network that does so itself.
    fn upscale(
        &mut self,
        source: Planes,
        scale: usize,
        network: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> Result<Tensor<4>> {
        let picture = to_tensor(source, Range::Unit, &self.restorer.tensors);
        self.stage(Stage::Network, |run| run.in_tiles(|tile| Ok(network(tile.cut_reduced(&picture, scale)))))
    }

    /// Runs `network` on every tile and joins what it gives.
    fn in_tiles(&self, mut network: impl FnMut(&TileWindow) -> Result<Tensor<4>>) -> Result<Tensor<4>> {
        let (total, mut done) = (self.plan.tiles.count(), 0);
        let size = [self.plan.padded.1 / self.plan.grid, self.plan.padded.0 / self.plan.grid];
        let joined = join_tiles(size, self.plan.windows(), |tile| -> Result<_> {
            self.cancel.check()?;
            let result = network(tile)?;
            done += 1;
            self.tell(Stage::Network, done, total);
            Ok::<_, Error>(result)
        })?;
        joined.ok_or_else(|| Error::argument("a picture without pixels"))
    }

    /// Runs a UNet over the picture, as planned.
    fn through_network(
        &self,
        network: impl Fn(&[TileWindow], &mut GuidedPass) -> Result<Tensor<4>>,
    ) -> Result<Tensor<4>> {
        let watch = self.watch(Stage::Network);
        let pass = match self.plan.network {
            NetworkPass::Whole => GuidedPass::whole(),
            NetworkPass::Layers(tile) => GuidedPass::tiled(tile, ATTENTION_WINDOW),
            NetworkPass::Tiles => return self.in_normed_tiles(network),
        };
        let result = network(&[self.plan.whole()], &mut pass.watched(&watch))?;
        let tiles = self.plan.tiles.count();
        self.part_done(Stage::Network, tiles, tiles)?;
        Ok(result)
    }

    /// Runs `network` on every tile, with the norm statistics of tiles from all over the picture, and joins what it gives:
    /// so neighbours are normalised alike, and as a picture that is not cut.
    fn in_normed_tiles(
        &self,
        network: impl Fn(&[TileWindow], &mut GuidedPass) -> Result<Tensor<4>>,
    ) -> Result<Tensor<4>> {
        let mut pass = GuidedPass::recording(Counted::all());
        network(&self.plan.samples(), &mut pass)?;
        let statistics = pass.into_statistics();
        self.in_tiles(|tile| network(slice::from_ref(tile), &mut GuidedPass::given(&statistics)))
    }

    /// Runs one part of the work: counts its time and tells of its start and end.
    fn stage<T>(&mut self, stage: Stage, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.cancel.check()?;
        self.tell(stage, 0, 1);
        let start = Instant::now();
        let result = work(self)?;
        // Layers that a cancelled pass left out make no result.
        self.cancel.check()?;
        self.timings.add(stage, start.elapsed());
        self.tell(stage, 1, 1);
        Ok(result)
    }

    /// Tells of a finished part and stops where the work was cancelled.
    fn part_done(&self, stage: Stage, done: usize, total: usize) -> Result<()> {
        self.tell(stage, done, total);
        self.cancel.check()
    }

    fn tell(&self, stage: Stage, done: usize, total: usize) {
        let fraction = self.plan.fraction(stage, done as f64 / total.max(1) as f64);
        self.observer.progress(Progress { stage, done, total, fraction });
    }

    /// Tells how far a pass that goes layer by layer is, and whether it is to go on. What is done of each layer counts as
    /// tiles done.
    fn watch(&self, stage: Stage) -> impl Fn(u64) -> bool {
        let (work, tiles) = (self.plan.work(stage).max(1) as f64, self.plan.tiles.count());
        let finished = Cell::new(0);
        move |multiply_adds| {
            finished.set(finished.get() + multiply_adds);
            let share = (finished.get() as f64 / work).min(1.0);
            let (done, fraction) = ((share * tiles as f64) as usize, self.plan.fraction(stage, share));
            self.observer.progress(Progress { stage, done, total: tiles, fraction });
            !self.cancel.is_cancelled()
        }
    }
}

/// The parts of `x`, which is `factor` times as large as the grid of the tiles, one after the other in the batch.
fn cut(tiles: &[TileWindow], x: &Tensor<4>, factor: usize) -> Tensor<4> {
    Tensor::cat(tiles.iter().map(|tile| tile.cut_enlarged(x, factor)).collect(), 0)
}

/// Colour without what lies hidden under full transparency.
pub(crate) fn visible_color(picture: &Picture) -> Planes {
    if picture.alpha.is_none() {
        return picture.color.clone();
    }
    let mut visible = picture.clone();
    visible.fill_hidden_color();
    visible.color
}

/// `(1 - fidelity) * restored + fidelity * enlarged`, clamped to `[0, 1]`; restored alone where there is nothing to mix in.
pub(crate) fn mix(mut restored: Planes, enlarged: Option<&Planes>, fidelity: f32) -> Planes {
    if let Some(enlarged) = enlarged {
        let values = restored.data_mut().iter_mut().zip(enlarged.data());
        values.for_each(|(value, plain)| *value += fidelity * (plain - *value));
    }
    restored.map_in_place(|value| value.clamp(0.0, 1.0));
    restored
}

/// Brings the working size to the size asked for.
fn fit(picture: Planes, (width, height): (usize, usize)) -> Result<Planes> {
    if (picture.width(), picture.height()) == (width, height) {
        return Ok(picture);
    }
    let mut fitted = resize(&picture, width, height, Resampling::PILLOW_BICUBIC)?;
    fitted.map_in_place(|value| value.clamp(0.0, 1.0));
    Ok(fitted)
}

/// Opacity is enlarged on its own: networks would see edges where there are none.
fn enlarge_alpha(alpha: &Planes, target: (usize, usize)) -> Result<Planes> {
    let mut enlarged = resize(alpha, target.0, target.1, Resampling::PILLOW_BICUBIC)?;
    enlarged.map_in_place(|value| value.clamp(0.0, 1.0));
    Ok(enlarged)
}

/// Three equal planes of luma (Rec. 601).
pub(crate) fn make_grey(color: &mut Planes) {
    let luma: Vec<f32> = (0..color.width() * color.height())
        .map(|i| 0.299 * color.plane(0)[i] + 0.587 * color.plane(1)[i] + 0.114 * color.plane(2)[i])
        .collect();
    for channel in 0..3 {
        color.plane_mut(channel).copy_from_slice(&luma);
    }
}
