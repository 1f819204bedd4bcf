//! Networks and weights of the GenDR family.
//!
//! Every network is defined once, in Burn, for inference and training on every device. Its configuration is a plain
//! struct read from the `config.json` of a diffusers folder, `Config::init` makes the network without creating any
//! weight, and [`load_into`] fills it from a [`TensorSource`].

mod autoencoder_kl;
mod compact;
mod config;
mod error;
mod guided_pass;
mod layers;
mod model_folder;
mod one_step;
pub mod ops;
mod parameters;
mod pass;
mod pix;
mod resnet;
mod rrdb;
mod segments;
mod tiles;
mod unet;
mod weights;

pub use autoencoder_kl::{
    AutoencoderKl, AutoencoderKlConfig, DecoderParts, EncoderParts, Posterior, old_attention_name,
};
pub use compact::{CompactConfig, SrvggNetCompact};
pub use error::{Error, ErrorKind, Result};
pub use gendr_weights::{ElementType, Safetensors, StoredTensor};
pub use guided_pass::{GuidedPass, GuidedStatistics};
pub use layers::{Conv2d, GroupNorm, LayerNorm, Linear, PRelu};
pub use model_folder::{
    DESCRIPTION, Description, Family, Model, ModelInfo, PartInfo, StoredModel, Verified, initialize_model,
    verify_model,
};
pub use one_step::{AdcModel, LatentModel, OneStep, PixModel, PromptedUnet, RestorationModel};
pub use parameters::{
    NamedMapper, NamedVisitor, TensorSource, draw as draw_parameter, for_each_parameter, initialize,
    load_into, map_named, names_and_shapes, parameter_bytes, parameter_count, visit_named,
};
pub use pass::{Counted, NormStatistics, Observer, Pass, Watch};
pub use pix::{PadGuidance, PixConfig, PixOutput};
pub use rrdb::{RrdbConfig, RrdbNet};
pub use segments::{Segment, Segmented, Skip};
pub use tiles::{TileWindow, join_tiles};
pub use unet::{Conditioning, PerLevel, Unet, UnetConfig, UnetParts};
pub use weights::{Lora, Precision, SafetensorsWriter, ToTensorData, Weights, save_parameters};
