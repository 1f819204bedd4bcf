//! The reference numbers of the degradation folder.

#[path = "fixtures/support.rs"]
mod support;

use gendr_degrade::{
    BlurKernel, InterpolationMode, JpegTables, Kernel, KernelShape, SharpenConfig, Step, Subsampling,
    add_gaussian_noise, add_poisson_noise, blur, interpolate, jpeg, luma, poisson_levels, sharpen,
};
use gendr_image::Planes;
use serde_json::Value;
use support::{Fixture, fixtures};

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {value}"))
}

fn side(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a whole number")).expect("small")
}

#[test]
fn fixtures_degradation_kernels() {
    for fixture in fixtures("kernels") {
        let kernels = fixture.json["params"]["kernels"].as_object().expect("a list of kernels");
        assert!(!kernels.is_empty());
        for (name, parameters) in kernels {
            let sigma = || [number(parameters, "sigma_x"), number(parameters, "sigma_y")];
            let theta = || number(parameters, "theta");
            let beta = || number(parameters, "beta");
            let shape = match parameters["kind"].as_str().expect("a kind") {
                "iso" | "aniso" => KernelShape::Gaussian { sigma: sigma(), theta: theta() },
                "generalized_iso" | "generalized_aniso" => {
                    KernelShape::GeneralizedGaussian { sigma: sigma(), theta: theta(), beta: beta() }
                }
                "plateau_iso" | "plateau_aniso" => {
                    KernelShape::Plateau { sigma: sigma(), theta: theta(), beta: beta() }
                }
                "sinc" => KernelShape::Sinc { cutoff: number(parameters, "cutoff") },
                other => panic!("unknown kernel {other}"),
            };
            let kernel = Kernel::new(&BlurKernel { shape, size: side(&parameters["size"]) }).expect("valid");
            let padded = match parameters.get("pad_to") {
                Some(size) => kernel.padded_to(side(size)).expect("larger"),
                None => kernel,
            };
            fixture.check(name, padded.weights());
        }
    }
}

fn kernels_of(fixture: &Fixture, name: &str) -> Vec<Kernel> {
    let size = *fixture.shape(name).last().expect("a square");
    let weights = fixture.f32(name);
    weights
        .chunks_exact(size * size)
        .map(|kernel| Kernel::from_weights(size, kernel.to_vec()).expect("odd"))
        .collect()
}

#[test]
fn fixtures_degradation_filters() {
    for fixture in fixtures("filters") {
        let pictures = fixture.pictures("image");
        let kernels = kernels_of(&fixture, "filter.kernels");
        let filtered: Vec<Planes> =
            pictures.iter().zip(&kernels).map(|(picture, kernel)| blur(picture, kernel)).collect();
        fixture.check_pictures("filter.out", &filtered);
        let shared: Vec<Planes> = pictures.iter().map(|picture| blur(picture, &kernels[0])).collect();
        fixture.check_pictures("filter.shared", &shared);
    }
}

#[test]
fn fixtures_degradation_noise() {
    for fixture in fixtures("filters") {
        let pictures = fixture.pictures("image");
        let noisy = |fields: &str,
                     strengths: &str,
                     add: fn(&mut Planes, &Planes, f32) -> gendr_degrade::Result<()>| {
            let fields = fixture.pictures(fields);
            let strengths = fixture.f32(strengths);
            let noisy = pictures.iter().zip(&fields).zip(strengths).map(|((picture, field), strength)| {
                let mut picture = picture.clone();
                add(&mut picture, field, strength).expect("sizes agree");
                picture
            });
            noisy.collect::<Vec<_>>()
        };
        fixture.check_pictures("gauss.colour", &noisy("gauss.field", "gauss.sigma", add_gaussian_noise));
        fixture.check_pictures("gauss.grey", &noisy("gauss.grey_field", "gauss.sigma", add_gaussian_noise));
        fixture
            .check_pictures("poisson.colour", &noisy("poisson.counts", "poisson.scale", add_poisson_noise));
        fixture.check_pictures(
            "poisson.grey",
            &noisy("poisson.grey_counts", "poisson.scale", add_poisson_noise),
        );
        let levels: Vec<f32> = pictures.iter().map(poisson_levels).collect();
        fixture.check("poisson.vals", &levels);
        let grey_levels: Vec<f32> = pictures.iter().map(|picture| poisson_levels(&luma(picture))).collect();
        fixture.check("poisson.grey_vals", &grey_levels);
    }
}

#[test]
fn fixtures_degradation_sharpening() {
    for fixture in fixtures("filters") {
        let parameters = &fixture.json["params"]["usm"];
        let config = SharpenConfig {
            weight: number(parameters, "weight") as f32,
            kernel: side(&parameters["kernel"]),
            sigma: number(parameters, "sigma"),
            threshold: number(parameters, "threshold") as f32,
        };
        let pictures = fixture.pictures("usm.image");
        let sharp: Vec<Planes> =
            pictures.iter().map(|picture| sharpen(picture, &config).expect("valid")).collect();
        fixture.check_pictures("usm.out", &sharp);
        let shape = KernelShape::Gaussian { sigma: [config.sigma; 2], theta: 0.0 };
        let kernel = Kernel::new(&BlurKernel { shape, size: config.kernel }).expect("odd");
        let blurred: Vec<Planes> = pictures.iter().map(|picture| blur(picture, &kernel)).collect();
        fixture.check_pictures("usm.blur", &blurred);
    }
}

#[test]
fn fixtures_degradation_jpeg_formula() {
    for fixture in fixtures("jpeg") {
        for case in fixture.cases(".image").into_iter().filter(|case| case.starts_with("formula.")) {
            let quality = case.rsplit_once('q').expect("a quality in the name").1.parse().expect("a number");
            let tables = JpegTables::training(quality).expect("in range");
            let pictures = fixture.pictures(&format!("{case}.image"));
            let out: Vec<Planes> =
                pictures.iter().map(|picture| jpeg(picture, &tables).expect("colour")).collect();
            fixture.check_pictures(&format!("{case}.out"), &out);
        }
    }
}

#[test]
fn fixtures_degradation_jpeg_libjpeg() {
    for fixture in fixtures("jpeg") {
        let mut picture = fixture.pictures("libjpeg.image").remove(0);
        picture.map_in_place(|level| level / 255.0);
        for case in fixture.cases(".tables") {
            let name = case.rsplit_once('q').expect("a quality in the name").1;
            let (quality, subsampling) = name.split_once('_').expect("quality and subsampling");
            let subsampling = match subsampling {
                "444" => Subsampling::Full,
                "422" => Subsampling::HalfWidth,
                "420" => Subsampling::Quarter,
                other => panic!("unknown subsampling {other}"),
            };
            let tables =
                JpegTables::libjpeg(quality.parse().expect("a number"), subsampling).expect("in range");
            fixture.check(&format!("{case}.tables"), &[*tables.luma(), *tables.chroma()].concat());
            let out = jpeg(&picture, &tables).expect("colour");
            let errors = out
                .data()
                .iter()
                .zip(picture.data())
                .map(|(got, want)| ((got * 255.0).round() - want * 255.0).powi(2));
            let mean = errors.sum::<f32>() / picture.data().len() as f32;
            fixture.check(&format!("{case}.psnr"), &[10.0 * (255.0_f32 * 255.0 / mean).log10()]);
        }
    }
}

fn mode_of(name: &Value) -> InterpolationMode {
    serde_json::from_value(name.clone()).expect("a known mode")
}

fn resized(picture: &Planes, parameters: &Value) -> Planes {
    let mode = mode_of(&parameters["mode"]);
    if let Some(factor) = parameters["scale_factor"].as_f64() {
        let size = [picture.height(), picture.width()].map(|side| (side as f64 * factor) as usize);
        return interpolate(picture, size, Some(factor), mode).expect("positive");
    }
    let size = &parameters["size"];
    interpolate(picture, [side(&size[0]), side(&size[1])], None, mode).expect("positive")
}

#[test]
fn fixtures_degradation_chain() {
    for fixture in fixtures("chain") {
        let kernel = |name: &str| kernels_of(&fixture, name).remove(0);
        let (first, second, sinc) = (kernel("kernel1"), kernel("kernel2"), kernel("sinc"));
        let cases = fixture.json["params"].as_object().expect("cases");
        assert!(!cases.is_empty());
        for (case, parameters) in cases {
            let mut picture = fixture.pictures("gt").remove(0);
            let mut step = |name: &str, apply: &dyn Fn(&Planes) -> Planes| {
                picture = apply(&picture);
                fixture.check(&format!("{case}.{name}"), picture.data());
            };
            let noise = |order: usize| {
                let field = fixture.pictures(&format!("{case}.noise{order}")).remove(0);
                let sigma = number(&parameters[format!("gauss{order}")], "sigma") as f32;
                move |picture: &Planes| {
                    let mut noisy = picture.clone();
                    add_gaussian_noise(&mut noisy, &field, sigma).expect("sizes agree");
                    noisy
                }
            };
            let compress = |name: &str| {
                let tables = JpegTables::training(number(parameters, name)).expect("in range");
                move |picture: &Planes| jpeg(picture, &tables).expect("colour")
            };
            step("blur1", &|picture| blur(picture, &first));
            step("resize1", &|picture| resized(picture, &parameters["resize1"]));
            step("after_noise1", &noise(1));
            step("jpeg1", &compress("jpeg1"));
            step("blur2", &|picture| blur(picture, &second));
            step("resize2", &|picture| resized(picture, &parameters["resize2"]));
            step("after_noise2", &noise(2));
            let shrink = |picture: &Planes| blur(&resized(picture, &parameters["final_resize"]), &sinc);
            match parameters["order"].as_str().expect("an order") {
                "resize, sinc, JPEG" => {
                    step("sinc", &shrink);
                    step("jpeg2", &compress("jpeg2"));
                }
                "JPEG, resize, sinc" => {
                    step("jpeg2", &compress("jpeg2"));
                    step("sinc", &shrink);
                }
                other => panic!("unknown order {other}"),
            }
            step("lq", &|picture| Step::Quantise.apply(picture.clone()).expect("always possible"));
        }
    }
}
