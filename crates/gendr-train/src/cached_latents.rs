//! Latents and features of training pairs, computed once and kept beside the pairs.
//!
//! A step then runs neither the autoencoder nor the network whose features are aligned with. Pairs are not turned.

use crate::{
    Error, Result,
    batches::{Pick, upcoming},
    latent_space::LatentSpace,
    pairs::{BLOCK, Pairs, write_tensors},
    progress::{Event, Progress},
    read_ahead::{Column, ReadAhead},
    repa::AlignmentTarget,
};
use burn::tensor::{Device, Tensor, TensorData};

/// z_l, z_h and the features, by the names of their tensors.
const NAMES: [&str; 3] = ["low", "high", "features"];

/// What a step needs of pairs.
pub(crate) struct Latents {
    /// z_l, `[n, c, h, w]`.
    pub(crate) low: Tensor<4>,
    /// z_h.
    pub(crate) sharp: Tensor<4>,
    /// What features of the sharp picture are aligned with, if anything makes them.
    pub(crate) features: Option<Tensor<4>>,
}

/// The latents of a set of pairs on disk.
#[derive(Debug)]
pub(crate) struct CachedLatents {
    records: ReadAhead,
    /// Channels, height and width of each.
    shapes: Vec<[usize; 3]>,
    count: usize,
}

/// Computes the latents of pairs.
pub(crate) fn encode(
    pairs: &Pairs,
    picks: &[Pick],
    space: &LatentSpace,
    target: &AlignmentTarget,
    device: &Device,
) -> Result<Latents> {
    let low = space.encode(pairs.enlarged(picks, device)?);
    let (sharp, features) = target.encode(space, pairs.sharp(picks, device)?)?;
    Ok(Latents { low, sharp, features })
}

impl CachedLatents {
    /// Opens the latents of all pairs, making those that are missing; at most `memory` bytes of them are in memory.
    ///
    /// # Errors
    /// I/O errors; those of the networks.
    pub(crate) fn open_or_make(
        pairs: &Pairs,
        space: &LatentSpace,
        target: &AlignmentTarget,
        (device, memory): (&Device, u64),
        progress: &dyn Progress,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self> {
        let key = key(pairs, space, target)?;
        let blocks = pairs.count.div_ceil(BLOCK);
        let first = encode(pairs, &[Pick { pair: 0, turn: 0 }], space, target, device)?.tensors();
        let shapes: Vec<_> = first.iter().map(|x| [x.dims()[1], x.dims()[2], x.dims()[3]]).collect();
        let column = |(&tensor, shape): (&&'static str, &[usize; 3])| Column {
            files: Vec::with_capacity(blocks),
            tensor,
            bytes: 4 * shape.iter().product::<usize>(),
        };
        let mut columns: Vec<Column> = NAMES.iter().zip(&shapes).map(column).collect();
        for block in 0..blocks {
            let path = pairs.folder.join(format!("latents-{key}-{block:05}.safetensors"));
            if !path.exists() {
                let mut values = vec![Vec::new(); shapes.len()];
                // A block is whole even where fewer pairs are wanted, so that the set can grow.
                for pair in block * BLOCK..(block + 1) * BLOCK {
                    let latents = encode(pairs, &[Pick { pair, turn: 0 }], space, target, device)?;
                    for (values, tensor) in values.iter_mut().zip(latents.tensors()) {
                        values.extend(floats(tensor)?.iter().flat_map(|value| value.to_le_bytes()));
                    }
                    if cancelled() {
                        return Err(Error::cancelled());
                    }
                }
                let named = NAMES.iter().zip(&values).zip(&shapes);
                let tensors: Vec<(&str, &[u8], Vec<usize>)> = named
                    .map(|((&name, values), &[c, h, w])| (name, values.as_slice(), vec![BLOCK, c, h, w]))
                    .collect();
                write_tensors(&path, safetensors::Dtype::F32, &tensors)?;
            }
            columns.iter_mut().for_each(|column| column.files.push(path.clone()));
            progress
                .report(Event::Pairs { done: ((block + 1) * BLOCK).min(pairs.count), total: pairs.count });
        }
        let records = ReadAhead::open(&columns, BLOCK, pairs.count, memory)?;
        Ok(Self { records, shapes, count: pairs.count })
    }

    /// The `count` picks of a step, none of them turned. Those of the next steps are read ahead.
    pub(crate) fn picks(&self, seed: u64, step: u64, count: usize) -> Vec<Pick> {
        self.records.want(&upcoming(seed, step, count, self.count, self.records.capacity()));
        upcoming(seed, step, count, self.count, count)
            .into_iter()
            .map(|pair| Pick { pair, turn: 0 })
            .collect()
    }

    /// Those of some pairs, on a device with gradients.
    pub(crate) fn read(&self, picks: &[Pick], device: &Device) -> Result<Latents> {
        let mut values = vec![Vec::new(); self.shapes.len()];
        for pick in picks {
            let record = self.records.get(pick.pair)?;
            for (column, values) in values.iter_mut().enumerate() {
                let bytes = record[self.records.range(column)].as_chunks::<4>().0;
                values.extend(bytes.iter().map(|&bytes| f32::from_le_bytes(bytes)));
            }
        }
        let mut tensors = values.into_iter().zip(&self.shapes).map(|(values, &[c, h, w])| {
            Tensor::<4>::from_data(TensorData::new(values, [picks.len(), c, h, w]), device)
        });
        match (tensors.next(), tensors.next()) {
            (Some(low), Some(sharp)) => Ok(Latents { low, sharp, features: tensors.next() }),
            _ => Err(Error::input("latents on disk that are not whole")),
        }
    }
}

impl Latents {
    /// In the order of their names.
    fn tensors(self) -> Vec<Tensor<4>> {
        [Some(self.low), Some(self.sharp), self.features].into_iter().flatten().collect()
    }
}

/// Tells apart latents of different networks and inputs.
fn key(pairs: &Pairs, space: &LatentSpace, target: &AlignmentTarget) -> Result<String> {
    let mut hash = blake3::Hasher::new();
    let (about, weights) = space.describe();
    let about = serde_json::to_vec(&(&about, pairs.same_size.as_deref()))
        .map_err(|error| Error::argument("a configuration that cannot be stored").with_source(error))?;
    hash.update(&about);
    for (name, tensor) in weights.tensors() {
        hash.update(name.as_bytes()).update(tensor.bytes());
    }
    if let Some(file) = &target.file {
        hash.update(&crate::files::read(file)?);
    }
    Ok(hash.finalize().to_hex()[..12].to_owned())
}

fn floats(tensor: Tensor<4>) -> Result<Vec<f32>> {
    let values = tensor.into_data().try_to_vec();
    values.map_err(|error| Error::argument(format!("latents that are not f32: {error:?}")))
}
