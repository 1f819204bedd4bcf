//! Sharp crops of photographs in one archive, to train where the photographs are not.

use crate::{
    Error, PhotosConfig, Result, files,
    photos::{Photos, Split},
    progress::{Event, Progress},
    tar,
};
use gendr_degrade::Draws;
use gendr_image::{EncodeOptions, OutputFormat, Picture, encode};
use rayon::prelude::*;
use std::{collections::BTreeSet, path::Path};

/// What photographs and places are drawn from.
const STREAM: u64 = 0x7061_636b;
/// Crops in memory at once.
const BLOCK: usize = 256;

/// Cuts `count` crops, fixed by `seed`, and writes them to `archive` as a WebDataset of JPEG files, which
/// [`PhotosConfig::folders`] may name. Photographs that cannot be used are reported once and passed over.
///
/// # Errors
/// Argument errors where there are no photographs or none can be used; I/O errors.
pub fn pack_crops(
    (photos, data): (&PhotosConfig, &Path),
    (seed, count): (u64, usize),
    quality: u8,
    archive: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let list = Photos::list(photos, data, Split::Training)?;
    let options = EncodeOptions { quality: Some(quality), ..EncodeOptions::new(OutputFormat::Jpeg) };
    let mut bytes = Vec::new();
    let mut skipped = BTreeSet::new();
    let mut written = 0;
    for start in (0..count).step_by(BLOCK) {
        let indices: Vec<usize> = (start..count.min(start + BLOCK)).collect();
        let made: Vec<(usize, Result<Vec<u8>>)> = indices
            .par_iter()
            .map(|&index| {
                let mut draws = Draws::new(seed ^ STREAM, index as u64);
                let photo = list.pick(&mut draws);
                let crop = list.read(photo).and_then(|picture| list.cut(&picture, &mut draws));
                let encoded = crop.and_then(|crop| Ok(encode(&Picture::from_color(crop), &options)?.bytes));
                (photo, encoded)
            })
            .collect();
        for (index, (photo, result)) in indices.into_iter().zip(made) {
            match result {
                Ok(crop) => {
                    bytes.extend(tar::file(&format!("{index:07}.jpg"), &crop));
                    written += 1;
                }
                Err(error) if skipped.insert(photo) => {
                    progress.report(Event::Skipped(&list.named(photo, error).to_string()));
                }
                Err(_) => (),
            }
        }
        progress.report(Event::Pairs { done: count.min(start + BLOCK), total: count });
    }
    if written == 0 {
        return Err(Error::argument("none of the photographs can be used"));
    }
    bytes.extend(tar::END);
    files::write_atomically(archive, &bytes)?;
    progress.report(Event::Saved(archive));
    Ok(())
}
