//! Scores of restored pictures against the sharp ones.

use crate::{Error, Result, batches::Pick, files, pairs::Pairs, trainer::Scores};
use burn::tensor::Tensor;
use gendr_image::{EncodeOptions, OutputFormat, Picture, Planes, encode};
use gendr_metrics::{detail_scores, psnr_y};
use std::path::Path;

/// Pictures written at each validation.
const PICTURES: usize = 4;

/// Mean PSNR of luma and mean detail score D of `restore`, which makes the picture of a pair in `[-1, 1]`, against the sharp
/// crops, rounded to 8 bits. The first few are written to `validation/` in the folder of the run.
pub(crate) fn picture_scores(
    pairs: &Pairs,
    (run, step): (&Path, u64),
    restore: impl Fn(Pick) -> Result<Tensor<4>>,
) -> Result<Scores> {
    let (mut psnr, mut detail) = (0.0, 0.0);
    for pair in 0..pairs.count {
        let output = restore(Pick { pair, turn: 0 })?;
        let (output, reference) = (to_picture(output)?, pairs.high(pair)?);
        if pair < PICTURES {
            let folder = run.join("validation");
            files::create_folder(&folder)?;
            let picture = Picture::from_color(output.clone());
            let encoded = encode(&picture, &EncodeOptions::new(OutputFormat::Png))?;
            let path = folder.join(format!("{pair}-{step:08}.png"));
            files::write_atomically(&path, &encoded.bytes)?;
        }
        psnr += psnr_y(&output, &reference)?;
        detail += detail_scores(&output, &reference)?.d;
    }
    let count = pairs.count as f64;
    Ok(vec![("psnr_y", psnr / count), ("d", detail / count)])
}

/// A network's picture `[1, 3, h, w]` in `[-1, 1]` with 8 bits a value, in `[0, 1]`.
pub(crate) fn to_picture(output: Tensor<4>) -> Result<Planes> {
    let [_, channels, height, width] = output.dims();
    let levels = output.add_scalar(1.0).mul_scalar(127.5).clamp(0.0, 255.0).round().div_scalar(255.0);
    let values = levels
        .into_data()
        .try_to_vec()
        .map_err(|error| Error::argument(format!("a result that is not f32: {error:?}")))?;
    Ok(Planes::from_vec(channels, height, width, values)?)
}
