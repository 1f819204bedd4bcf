//! How many crops a second one core degrades, 160 x 160 to 40 x 40, for every preset.

use gendr_degrade::{DegradationConfig, Recipe};
use gendr_image::Planes;
use std::time::Instant;

#[allow(clippy::print_stdout)]
fn main() -> gendr_degrade::Result<()> {
    const COUNT: u64 = 200;
    let data = (0..3 * 160 * 160).map(|i| ((i * 7919) % 256) as f32 / 255.0).collect();
    let picture = Planes::from_vec(3, 160, 160, data)?;
    for preset in DegradationConfig::PRESETS {
        let config = DegradationConfig::preset(preset, 4)?;
        let start = Instant::now();
        for index in 0..COUNT {
            Recipe::draw(&config, 0, index, 160, 160)?.apply(&picture)?;
        }
        println!("{preset}: {:.0} crops a second", COUNT as f64 / start.elapsed().as_secs_f64());
    }
    Ok(())
}
