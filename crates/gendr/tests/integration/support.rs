//! Models and pictures that the tests share.

use std::{num::NonZeroUsize, path::PathBuf};

use gendr::{
    CancelFlag, ColorFix, Compute, ModelSource, Picture, Planes, RestoreOptions, Restored, Restorer, Silent,
    TargetSize,
};
use gendr_model::{
    AutoencoderKlConfig, Description, Family, PixConfig, Precision, UnetConfig, initialize_model,
};

/// Where the reference numbers lie.
pub(crate) fn fixtures() -> PathBuf {
    std::env::var_os("GENDR_FIXTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures"), PathBuf::from)
}

pub(crate) fn threads(count: usize) -> Compute {
    Compute { threads: NonZeroUsize::new(count), ..Compute::default() }
}

pub(crate) fn built_in() -> Restorer {
    Restorer::open(&ModelSource::BuiltIn, threads(2)).unwrap()
}

/// A model of GenDR's own family with random weights, small enough for tests.
pub(crate) fn latent_description() -> Description {
    let unet = r#"{
        "in_channels": 4, "out_channels": 4, "block_out_channels": [16, 32], "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "attention_head_dim": [2, 4], "cross_attention_dim": 8, "use_linear_projection": true, "norm_num_groups": 4
    }"#;
    let vae = r#"{
        "in_channels": 3, "out_channels": 3, "latent_channels": 4, "block_out_channels": [8, 8, 16, 16],
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
        "layers_per_block": 1, "norm_num_groups": 4, "scaling_factor": 0.3
    }"#;
    Description {
        unet: Some(UnetConfig::from_json(unet).unwrap()),
        vae: Some(AutoencoderKlConfig::from_json(vae).unwrap()),
        ..Description::new(Family::Latent)
    }
}

/// The same with a UNet of as many levels, and as much attention, as the full one.
pub(crate) fn four_levels() -> Description {
    let unet = r#"{
        "in_channels": 4, "out_channels": 4, "block_out_channels": [16, 24, 32, 32], "layers_per_block": 2,
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        "attention_head_dim": [2, 3, 4, 4], "cross_attention_dim": 40, "use_linear_projection": true,
        "norm_num_groups": 8
    }"#;
    Description { unet: Some(UnetConfig::from_json(unet).unwrap()), ..latent_description() }
}

/// The same with a UNet of one level without attention, whose view is about the overlap of small tiles.
pub(crate) fn short_sighted() -> Description {
    let unet = r#"{
        "in_channels": 4, "out_channels": 4, "block_out_channels": [16], "layers_per_block": 1,
        "down_block_types": ["DownBlock2D"], "mid_block_type": null, "up_block_types": ["UpBlock2D"],
        "attention_head_dim": 4, "cross_attention_dim": 8, "norm_num_groups": 4
    }"#;
    Description { unet: Some(UnetConfig::from_json(unet).unwrap()), ..latent_description() }
}

/// A model of the family without autoencoder.
pub(crate) fn pixels() -> Description {
    let unet = r#"{
        "in_channels": 48, "out_channels": 48, "block_out_channels": [32], "layers_per_block": 1,
        "down_block_types": ["DownBlock2D"], "mid_block_type": null, "up_block_types": ["UpBlock2D"],
        "attention_head_dim": 4, "cross_attention_dim": 8, "norm_num_groups": 4
    }"#;
    let pix = PixConfig { patch: 4, ..PixConfig::default() };
    Description { unet: Some(UnetConfig::from_json(unet).unwrap()), pix, ..Description::new(Family::Pix) }
}

/// Writes `description` with random weights into a folder that lives as long as the first value, and opens it.
pub(crate) fn random(description: &Description) -> (tempfile::TempDir, Restorer) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    initialize_model(description, 7, &path, Precision::F32).unwrap();
    let restorer = Restorer::open(&ModelSource::Path(path), threads(2)).unwrap();
    (folder, restorer)
}

/// A colour picture with edges, slopes and texture; every size is a cut-out of the same endless one.
pub(crate) fn picture(width: usize, height: usize) -> Picture {
    let mut planes = Planes::filled(3, height, width, 0.0);
    for channel in 0..3 {
        for (index, value) in planes.plane_mut(channel).iter_mut().enumerate() {
            let (x, y) = ((index % width) as f32, (index / width) as f32);
            let slope = 0.5 + 0.25 * (x / 37.0 + channel as f32).sin() * (y / 53.0).cos();
            let edge =
                if ((x - 40.0).hypot(y - 50.0) as usize / 24).is_multiple_of(2) { 0.12 } else { -0.12 };
            let texture = 0.05 * (x * 1.7 + y * 0.9).sin();
            *value = (slope + edge + texture).clamp(0.0, 1.0);
        }
    }
    Picture::from_color(planes)
}

pub(crate) fn restore(restorer: &Restorer, picture: &Picture, options: &RestoreOptions) -> Restored {
    restorer.restore(picture, options, &Silent, &CancelFlag::new()).unwrap()
}

/// Options that change nothing after the network.
pub(crate) fn plain() -> RestoreOptions {
    RestoreOptions { color_fix: Some(ColorFix::None), ..RestoreOptions::default() }
}

pub(crate) fn scaled(scale: f64) -> RestoreOptions {
    RestoreOptions { size: TargetSize::Scale(scale), ..RestoreOptions::default() }
}

/// Mean absolute difference.
pub(crate) fn mean_difference(a: &Planes, b: &Planes) -> f64 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let sum: f64 = a.data().iter().zip(b.data()).map(|(a, b)| f64::from((a - b).abs())).sum();
    sum / a.data().len() as f64
}
