use gendr_image::{
    ColorFix, Depth, EncodeOptions, Limits, OutputFormat, Picture, Planes, StripReader, encode, read,
};
use gendr_model::{Description, Family, Precision, initialize_model};

use super::StreamedJob;
use crate::{
    CancelFlag, Compute, FileOptions, Input, Job, ModelSource, Output, RestoreOptions, Restorer, Silent,
    TargetSize, Tiling,
};

fn picture(width: usize, height: usize) -> Picture {
    let value = |index: usize| {
        let (channel, y, x) = (index / (width * height), index / width % height, index % width);
        let edge = if (x / 9 + y / 7) % 2 == 0 { 0.2 } else { 0.0 };
        0.3 + edge + 0.2 * ((x + 3 * channel) as f32 * 0.21).sin() * (y as f32 * 0.13).cos()
    };
    Picture::from_color(
        Planes::from_vec(3, height, width, (0..3 * width * height).map(value).collect()).unwrap(),
    )
}

fn built_in() -> Restorer {
    Restorer::open(&ModelSource::BuiltIn, Compute::default()).unwrap()
}

/// Tiles so small that there are rows and columns of them.
fn options(size: TargetSize, color_fix: ColorFix) -> RestoreOptions {
    RestoreOptions {
        size,
        tile: Tiling::Size(64),
        overlap: Some(16),
        color_fix: Some(color_fix),
        fidelity: 0.25,
        ..RestoreOptions::default()
    }
}

/// Restores `input` to `format` from top to bottom and all at once; both files must hold the same samples.
fn check(restorer: &Restorer, input: &Picture, options: &RestoreOptions, format: OutputFormat) {
    let folder = tempfile::tempdir().unwrap();
    let job = Job {
        input: Input::File(folder.path().join("in.png")),
        output: Output::File(folder.path().join("out").with_extension(format.extension())),
        format,
        root: None,
    };
    let file = encode(input, &EncodeOptions::new(OutputFormat::Png)).unwrap();
    std::fs::write(job.input.path().unwrap(), file.bytes).unwrap();
    let files = FileOptions { overwrite: true, consistency: true, ..FileOptions::default() };
    let mut drifts = Vec::new();
    let [streamed, whole] = [true, false].map(|by_rows| {
        let (observer, cancel) = (Silent, CancelFlag::new());
        let result = if by_rows {
            let (Input::File(input), Output::File(output)) = (&job.input, &job.output) else {
                unreachable!()
            };
            let reader = StripReader::open(input, &files.limits).unwrap();
            let plan = restorer.plan_by_rows(&reader, options).unwrap();
            let streamed = StreamedJob { input, output, reader, plan };
            restorer.restore_streamed(&job, streamed, options, &files, &observer, &cancel).unwrap()
        } else {
            let input = job.read(&files).unwrap();
            let restored = restorer.restore(&input, options, &observer, &cancel).unwrap();
            assert!(restored.tiles > 3, "{}", restored.tiles);
            restorer.finish_job(&job, &input, restored, options, &files).unwrap()
        };
        drifts.push(result.drift.unwrap());
        let Output::File(path) = &job.output else { unreachable!() };
        assert_eq!(blake3::hash(&std::fs::read(path).unwrap()).to_string(), result.blake3);
        read(path, &Limits::default()).unwrap()
    });
    assert_eq!((streamed.width(), streamed.height()), (whole.width(), whole.height()));
    assert!(streamed.color == whole.color && streamed.alpha == whole.alpha, "{options:?}");
    assert_eq!((streamed.depth, streamed.grey), (whole.depth, whole.grey));
    assert!((drifts[0].worst - drifts[1].worst).abs() < 1e-4, "{drifts:?}");
}

#[test]
fn every_color_fix_gives_the_pixels_of_the_whole() {
    let restorer = built_in();
    for fix in [ColorFix::None, ColorFix::Ycbcr, ColorFix::Adain, ColorFix::Wavelet, ColorFix::Projection] {
        check(&restorer, &picture(41, 67), &options(TargetSize::Scale(4.0), fix), OutputFormat::Png);
    }
}

#[test]
fn sixteen_bits_grey_opacity_and_tiff_too() {
    let restorer = built_in();
    let mut grey = picture(40, 30);
    let plane = grey.color.plane(0).to_vec();
    (1..3).for_each(|channel| grey.color.plane_mut(channel).copy_from_slice(&plane));
    let mut alpha = Planes::filled(1, 30, 40, 1.0);
    alpha.plane_mut(0)[..300].fill(0.0);
    let grey = Picture { grey: true, depth: Depth::Sixteen, alpha: Some(alpha), ..grey };
    for format in [OutputFormat::Png, OutputFormat::Tiff] {
        check(&restorer, &grey, &options(TargetSize::Scale(4.0), ColorFix::None), format);
    }
}

#[test]
fn a_result_smaller_than_the_network_works_at_is_fitted() {
    let restorer = built_in();
    // The network works at the input's size.
    check(
        &restorer,
        &picture(150, 131),
        &options(TargetSize::Scale(0.6), ColorFix::Wavelet),
        OutputFormat::Png,
    );
}

#[test]
fn networks_with_a_scale_of_their_own_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    initialize_model(&Description::new(Family::Compact), 3, &path, Precision::F32).unwrap();
    let restorer = Restorer::open(&ModelSource::Path(path), Compute::default()).unwrap();
    for scale in [4.0, 2.7] {
        check(
            &restorer,
            &picture(37, 45),
            &options(TargetSize::Scale(scale), ColorFix::Adain),
            OutputFormat::Tiff,
        );
    }
}
