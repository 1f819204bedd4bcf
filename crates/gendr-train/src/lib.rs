//! The training stages of GenDR.

mod adamw;
mod ema;
mod schedule;

pub use adamw::{AdamW, AdamWConfig, clip_gradients, gradient_norm};
pub use ema::{half_life_decay, update_average, warm_decay};
pub use schedule::Schedule;
