//! Folders of pictures, well-formed and not.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

use std::{fs, ops::ControlFlow, path::Path};

use gendr_image::{Depth, EncodeOptions, OutputFormat, Picture, Planes, encode};
use gendr_metrics::{
    EvaluateOptions, Evaluation, Metric, Row, built_in_metric, built_in_metrics, evaluate, pair_by_name,
};

fn waves(width: usize, height: usize, phase: f32) -> Planes {
    let value = |index: usize| {
        let (x, y) = ((index % width) as f32, (index / width % height) as f32);
        0.5 + 0.4 * (0.31 * x + phase + 0.2 * (y * 0.13).sin()).sin() * (0.17 * y).cos()
    };
    Planes::from_vec(3, height, width, (0..3 * width * height).map(value).collect()).unwrap()
}

fn write(folder: &Path, name: &str, picture: &Picture) {
    let depth = Some(picture.depth);
    let options = EncodeOptions { depth, ..EncodeOptions::new(OutputFormat::Png) };
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), encode(picture, &options).unwrap().bytes).unwrap();
}

fn color(planes: Planes) -> Picture {
    Picture::from_color(planes)
}

fn all_metrics() -> Vec<Box<dyn Metric>> {
    built_in_metrics().iter().map(|info| built_in_metric(info.id).unwrap()).collect()
}

/// Scores `root/output` against `root/reference` and `root/input`.
fn score(root: &Path, border: usize) -> Evaluation {
    let [output, reference, input] = ["output", "reference", "input"].map(|name| root.join(name));
    let pairing = pair_by_name(&output, Some(&reference), Some(&input)).unwrap();
    assert!(pairing.unmatched_outputs.is_empty());
    let options = EvaluateOptions { border, ..EvaluateOptions::default() };
    evaluate(&pairing.pairs, &all_metrics(), &options, |_| ControlFlow::Continue(()))
}

fn row<'a>(evaluation: &'a Evaluation, name: &str) -> &'a Row {
    evaluation.rows.iter().find(|row| row.name == name).unwrap()
}

#[test]
fn every_picture_has_scores_or_a_reason() {
    let root = tempfile::tempdir().unwrap();
    let [output, reference, input] = ["output", "reference", "input"].map(|name| root.path().join(name));
    let add = |name: &str, of: [Picture; 2]| {
        write(&output, name, &of[0]);
        write(&reference, name, &of[1]);
        write(&input, name, &color(waves(16, 12, 0.0)));
    };
    let sharp = |phase| color(waves(200, 300, phase));
    add("equal.png", [sharp(0.0), sharp(0.0)]);
    add("good.png", [sharp(0.05), sharp(0.0)]);
    add(
        "deep.png",
        [Picture { depth: Depth::Sixteen, ..sharp(0.05) }, Picture { depth: Depth::Sixteen, ..sharp(0.0) }],
    );
    add("grey.png", [Picture { grey: true, ..sharp(0.0) }, sharp(0.0)]);
    add("flat.png", [color(Planes::filled(3, 200, 200, 0.5)), color(Planes::filled(3, 200, 200, 0.6))]);
    add("point.png", [color(Planes::filled(3, 1, 1, 0.5)), color(Planes::filled(3, 1, 1, 0.5))]);
    add("tiny.png", [color(waves(9, 12, 0.0)), color(waves(9, 12, 0.1))]);
    add("cut.png", [color(waves(200, 196, 0.0)), color(waves(203, 199, 0.0))]);
    add("other.png", [color(waves(200, 196, 0.0)), color(waves(100, 98, 0.0))]);
    let opacity = Some(Planes::filled(1, 300, 200, 0.5));
    add("clear.png", [Picture { alpha: opacity, ..sharp(0.05) }, sharp(0.0)]);
    fs::write(output.join("broken.png"), b"\x89PNG\r\n\x1a\nno more").unwrap();
    write(&reference, "broken.png", &sharp(0.0));
    write(&input, "broken.png", &sharp(0.0));

    let evaluation = score(root.path(), 0);
    assert_eq!(evaluation.rows.len(), 11);
    for row in &evaluation.rows {
        let missing = evaluation.metrics.iter().filter(|info| row.metrics.get(info.id).is_none());
        for info in missing {
            let said = row.notes.iter().any(|note| note.starts_with(info.id)) || row.metrics.is_empty();
            assert!(said, "{} has no {} and no reason: {:?}", row.name, info.id, row.notes);
        }
        assert!(!row.metrics.is_empty() || !row.notes.is_empty());
        assert!(row.metrics.iter().all(|(_, score)| score.is_finite()), "{row:?}");
    }
    let equal = row(&evaluation, "equal");
    for (id, score) in
        [("psnr", 100.0), ("ssim-y", 1.0), ("ms-ssim", 1.0), ("ssimulacra2", 100.0), ("derr", 0.0)]
    {
        assert_eq!(equal.metrics.get(id), Some(score), "{id}");
    }
    assert!(equal.notes.is_empty() && (equal.metrics.get("d").unwrap() - 1.0).abs() < 1e-6);
    let [good, deep] = ["good", "deep"].map(|name| row(&evaluation, name).metrics.get("psnr-y").unwrap());
    assert!(good < deep && deep < good + 0.2 && good < 50.0, "{good} {deep}");
    assert!(row(&evaluation, "flat").metrics.get("niqe").is_none());
    assert_eq!(row(&evaluation, "point").metrics.get("psnr"), Some(100.0));
    assert!(row(&evaluation, "cut").notes[0].contains("203x199"));
    assert!(row(&evaluation, "cut").metrics.get("psnr").is_some());
    assert!(row(&evaluation, "other").metrics.is_empty());
    assert!(row(&evaluation, "clear").notes[0].contains("opacity"));
    assert_eq!(row(&evaluation, "clear").metrics.get("psnr"), row(&evaluation, "good").metrics.get("psnr"));
    assert!(row(&evaluation, "broken").notes[0].contains("broken.png"));
}

#[test]
fn scores_do_not_depend_on_threads_and_a_border_is_cut() {
    let root = tempfile::tempdir().unwrap();
    for index in 0..5_u8 {
        let name = format!("{index}.png");
        write(&root.path().join("output"), &name, &color(waves(200, 180, f32::from(index) * 0.1)));
        write(&root.path().join("reference"), &name, &color(waves(200, 180, 0.0)));
        write(&root.path().join("input"), &name, &color(waves(50, 45, 0.0)));
    }
    let with_threads = |threads, border| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| score(root.path(), border)).rows
    };
    assert_eq!(with_threads(1, 4), with_threads(3, 4));
    let [whole, cut] = [0, 4].map(|border| with_threads(2, border));
    assert_ne!(whole[1].metrics.get("psnr"), cut[1].metrics.get("psnr"));
    assert_eq!(whole[1].metrics.get("lr-psnr"), cut[1].metrics.get("lr-psnr"));
}

#[test]
fn an_evaluation_can_be_stopped() {
    let root = tempfile::tempdir().unwrap();
    for index in 0..9 {
        write(root.path(), &format!("{index}.png"), &color(waves(20, 20, 0.0)));
    }
    let pairs = pair_by_name(root.path(), Some(root.path()), None).unwrap().pairs;
    let metrics = [built_in_metric("psnr").unwrap()];
    let mut seen = Vec::new();
    let evaluation = evaluate(&pairs, &metrics, &EvaluateOptions::default(), |row| {
        seen.push(row.name.clone());
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(seen, ["0", "1", "2"]);
    assert_eq!(evaluation.rows.len(), 3);
    assert_eq!(evaluation.summary("psnr").unwrap().mean, 100.0);
}
